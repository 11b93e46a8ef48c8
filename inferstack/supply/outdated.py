"""Pins with newer versions in their registries, queried with the ordinary client of each registry."""

from __future__ import annotations

import enum
import json
import re
import subprocess
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import yaml

from inferstack.supply.images import Image
from inferstack.supply.modules import Module

SECONDS = 90.0
"""Timeout per query."""
_AT_ONCE = 4
_PARTS = re.compile(r"(?P<head>\D*)(?P<numbers>\d+(?:\.\d+)*)(?P<tail>.*)")


class State(enum.StrEnum):
    """The state of a pin."""

    CURRENT = "current"
    BEHIND = "behind"
    UNKNOWN = "unknown"
    """The query failed or returned no comparable version."""
    OURS = "ours"
    """The image is built by the installer; there is no registry."""


@dataclass(frozen=True)
class Row:
    """One pin."""

    kind: str
    name: str
    pinned: str
    newest: str
    """Empty if unknown."""
    state: State
    note: str = ""


@dataclass(frozen=True)
class Query:
    """A query for the available versions of one pin."""

    kind: str
    name: str
    pinned: str
    command: tuple[str, ...]
    read: Callable[[str], list[str]]
    """Parses the versions from the output of the command."""


Run = Callable[[Sequence[str]], tuple[int, str, str]]
"""Runs a command and returns exit status, stdout and stderr."""


def call(command: Sequence[str]) -> tuple[int, str, str]:
    """Run a command for at most `SECONDS`."""
    try:
        completed = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return 124, "", f"timeout after {SECONDS:.0f} s"
    except FileNotFoundError:
        return 127, "", "not installed"
    return completed.returncode, completed.stdout, completed.stderr


def ask(queries: Iterable[Query], run: Run = call) -> list[Row]:
    """Run all queries, a few at a time, and return a row for each, in the same order."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(lambda query: answer(query, run), queries))


def answer(query: Query, run: Run) -> Row:
    """Run one query."""
    code, out, err = run(query.command)
    if code:
        reason = (err.strip().splitlines() or ["no reason given"])[-1]
        return _row(query, "", State.UNKNOWN, f"{query.command[0].rpartition('/')[2]} could not tell: {reason}")
    latest = newest(query.pinned, query.read(out))
    if latest is None:
        return _row(query, "", State.UNKNOWN, "no version of the same form is offered")
    return _row(query, latest, State.CURRENT if latest == query.pinned else State.BEHIND)


def newest(pinned: str, offered: Iterable[str]) -> str | None:
    """Return the newest version in the same format as the pin; the pin itself if none is newer.

    Versions have the same format if they have the same text around the same number of numeric parts: a release is not
    compared with a release candidate, nor ``3.12-slim`` with ``3.12-alpine``. A leading v is ignored.

    Returns:
        None if no offered version has the format, not even the pin.
    """
    own = _form(pinned)
    if own is None:
        return None
    same = {form[1]: version for version in offered if (form := _form(version)) and form[0] == own[0]}
    if not same:
        return None
    latest = max(same)
    return same[latest] if latest > own[1] else pinned


def _form(version: str) -> tuple[tuple[str, str, int], tuple[int, ...]] | None:
    parts = _PARTS.fullmatch(version.strip())
    if parts is None:
        return None
    numbers = tuple(int(number) for number in parts["numbers"].split("."))
    return (parts["head"].removesuffix("v"), parts["tail"], len(numbers)), numbers


def of_package(name: str, version: str, python: str) -> Query:
    """Return the query of pip's index for a Python package."""
    command = (python, "-m", "pip", "--disable-pip-version-check", "index", "versions", name)
    return Query("python", name, version, command, _pip)


def of_module(tool: str, module: Module, go: str) -> Query:
    """Return the query of Go's proxy for a module. A new major version has another path and is not found."""
    command = (go, "list", "-m", "-versions", "-json", f"{module.path}@{module.version}")
    return Query("go", f"{tool}: {module.path}", module.version, command, _go)


def of_chart(name: str, chart: dict[str, str], helm: str) -> Query:
    """Return the query of a chart's repository for its newest version."""
    oci = chart["repo"].startswith("oci://")
    where = [f"{chart['repo']}/{chart['chart']}"] if oci else [chart["chart"], "--repo", chart["repo"]]
    return Query("chart", name, chart["version"], (helm, "show", "chart", *where), _helm)


def of_image(image: Image, crane: str) -> Query:
    """Return the query of a registry for an image's tags."""
    return Query("image", image.repository, image.tag, (crane, "ls", image.repository), str.split)


def without_registry(image: Image) -> Row:
    """Return the row of an image that the installer builds."""
    return Row("image", image.repository, image.tag, "", State.OURS, "built from the Containerfile")


def _row(query: Query, latest: str, state: State, note: str = "") -> Row:
    return Row(query.kind, query.name, query.pinned, latest, state, note)


def _pip(text: str) -> list[str]:
    lines = [line.partition(":")[2] for line in text.splitlines() if line.startswith("Available versions:")]
    return [version.strip() for line in lines for version in line.split(",")]


def _go(text: str) -> list[str]:
    content: dict[str, Any] = json.loads(text)
    return [*content.get("Versions", []), content["Version"]]


def _helm(text: str) -> list[str]:
    return [str(yaml.safe_load(text)["version"])]
