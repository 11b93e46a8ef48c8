"""``inferstack versions check``: pinned versions that are behind their registries."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Annotated

import typer

from inferstack.cli import output
from inferstack.cli.output import Format, FormatOption
from inferstack.errors import UserError
from inferstack.project import project_root
from inferstack.supply import locks, modules, outdated
from inferstack.supply.images import images
from inferstack.supply.outdated import Query, Row, State
from inferstack.toolchain import binaries
from inferstack.versions import load

_KINDS = ("python", "go", "chart", "image")
_OURS = "localhost/"


def check(
    kind: Annotated[
        list[str] | None, typer.Option("--kind", help="python, go, chart or image; repeatable (default: all).")
    ] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Check pinned versions against the registries.

    Covers Python packages, Go modules of the tools, charts and images. Exits with status 0 if no pin is behind, 2 if
    some are, 1 if none is known to be but a registry did not answer.
    """
    kinds = tuple(kind or _KINDS)
    if unknown := set(kinds) - set(_KINDS):
        raise UserError(f"--kind {sorted(unknown)[0]}: there are {', '.join(_KINDS)}.")
    rows = outdated.ask(_questions(kinds))
    if "image" in kinds:
        rows += [outdated.without_registry(image) for image in images(load()) if image.repository.startswith(_OURS)]
    output.emit([asdict(row) for row in rows], form)
    code = exit_code(rows)
    numbers = {state: sum(row.state is state for row in rows) for state in State}
    output.say(", ".join(f"{number} {state}" for state, number in numbers.items() if number))
    if code:
        raise typer.Exit(code)


def exit_code(rows: list[Row]) -> int:
    """Return the exit status of the command."""
    states = {row.state for row in rows}
    return 2 if State.BEHIND in states else int(State.UNKNOWN in states)


def _questions(kinds: tuple[str, ...]) -> Iterator[Query]:
    root = project_root()
    if "python" in kinds:
        pinned = {
            package.name: package.version
            for packages in locks.read(root / "requirements").values()
            for package in packages
        }
        for name in locks.direct(root / "requirements"):
            yield outdated.of_package(name, pinned[name], sys.executable)
    if "go" in kinds:
        go = shutil.which("go") or "go"
        for tool, required in modules.read(root / "tools").items():
            packages = modules.built((root / "tools" / tool / "go.mod").read_text())
            # Deduplicated by path: most packages of a tool belong to one module.
            for module in {
                module.path: module for module in (modules.holding(name, required) for name in packages)
            }.values():
                yield outdated.of_module(tool, module, go)
        for module in modules.of_crds(load()):
            yield outdated.of_module("CRDs", module, go)
    if "chart" in kinds:
        for name, chart in load()["charts"].items():
            yield outdated.of_chart(name, chart, str(binaries.ensure(["helm"], report=output.say)["helm"]))
    if "image" in kinds:
        crane = str(binaries.ensure(["crane"], report=output.say)["crane"])
        for image in images(load()):
            if not image.repository.startswith(_OURS):
                yield outdated.of_image(image, crane)
