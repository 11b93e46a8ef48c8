"""Which pins are behind what their registries offer, asked through the ordinary client of each."""

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
"""For one question."""
_AT_ONCE = 4
_PARTS = re.compile(r"(?P<head>\D*)(?P<numbers>\d+(?:\.\d+)*)(?P<tail>.*)")


class State(enum.StrEnum):
    """How a pin stands."""

    CURRENT = "current"
    BEHIND = "behind"
    UNKNOWN = "unknown"
    """The registry did not tell."""
    OURS = "ours"
    """There is no registry to ask."""


@dataclass(frozen=True)
class Row:
    """One pin."""

    kind: str
    name: str
    pinned: str
    newest: str
    """Empty where it is not known."""
    state: State
    note: str = ""


@dataclass(frozen=True)
class Question:
    """What to ask of whom about one pin."""

    kind: str
    name: str
    pinned: str
    command: tuple[str, ...]
    read: Callable[[str], list[str]]
    """Returns the versions in what the command prints."""


Run = Callable[[Sequence[str]], tuple[int, str, str]]
"""Runs a command: exit code, what it printed and what it complained."""


def call(command: Sequence[str]) -> tuple[int, str, str]:
    """Run a command for at most `SECONDS`."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return 124, "", f"no answer within {SECONDS:.0f} s"
    except FileNotFoundError:
        return 127, "", "it is not installed here"
    return done.returncode, done.stdout, done.stderr


def ask(questions: Iterable[Question], run: Run = call) -> list[Row]:
    """Ask all questions, a few at a time, and return a row for each in their order."""
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(lambda question: answer(question, run), questions))


def answer(question: Question, run: Run) -> Row:
    """Ask one question."""
    code, out, err = run(question.command)
    if code:
        reason = (err.strip().splitlines() or ["no reason given"])[-1]
        return _row(question, "", State.UNKNOWN, f"{question.command[0].rpartition('/')[2]} could not tell: {reason}")
    found = newest(question.pinned, question.read(out))
    if found is None:
        return _row(question, "", State.UNKNOWN, "no version of the same form is offered")
    return _row(question, found, State.CURRENT if found == question.pinned else State.BEHIND)


def newest(pinned: str, offered: Iterable[str]) -> str | None:
    """Return the newest version of the pin's own form, the pin itself where none is newer.

    Of the same form are versions with the same text around as many numbers: a release is not compared with a candidate,
    ``3.12-slim`` not with ``3.12-alpine``. A leading v makes no difference.

    Returns:
        None where nothing of the form is offered, not even the pin.
    """
    own = _form(pinned)
    if own is None:
        return None
    same = {form[1]: one for one in offered if (form := _form(one)) and form[0] == own[0]}
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


def of_package(name: str, version: str, python: str) -> Question:
    """Ask pip's index for a Python package."""
    command = (python, "-m", "pip", "--disable-pip-version-check", "index", "versions", name)
    return Question("python", name, version, command, _pip)


def of_module(tool: str, module: Module, go: str) -> Question:
    """Ask Go's proxy for a module; a new major version has a path of its own and is not seen."""
    command = (go, "list", "-m", "-versions", "-json", f"{module.path}@{module.version}")
    return Question("go", f"{tool}: {module.path}", module.version, command, _go)


def of_chart(name: str, chart: dict[str, str], helm: str) -> Question:
    """Ask a chart's repository for its newest."""
    oci = chart["repo"].startswith("oci://")
    where = [f"{chart['repo']}/{chart['chart']}"] if oci else [chart["chart"], "--repo", chart["repo"]]
    return Question("chart", name, chart["version"], (helm, "show", "chart", *where), _helm)


def of_image(image: Image, crane: str) -> Question:
    """Ask a registry for an image's tags."""
    return Question("image", image.repository, image.tag, (crane, "ls", image.repository), str.split)


def without_registry(image: Image) -> Row:
    """Return the row of an image that whoever installs builds themselves."""
    return Row("image", image.repository, image.tag, "", State.OURS, "built from the Containerfile")


def _row(question: Question, found: str, state: State, note: str = "") -> Row:
    return Row(question.kind, question.name, question.pinned, found, state, note)


def _pip(text: str) -> list[str]:
    lines = [line.partition(":")[2] for line in text.splitlines() if line.startswith("Available versions:")]
    return [one.strip() for line in lines for one in line.split(",")]


def _go(text: str) -> list[str]:
    content: dict[str, Any] = json.loads(text)
    return [*content.get("Versions", []), content["Version"]]


def _helm(text: str) -> list[str]:
    return [str(yaml.safe_load(text)["version"])]
