"""What differs between a stack's state and what is there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import typer

from inferstack.cli import output
from inferstack.cli.output import Format, FormatOption
from inferstack.cli.stack.commands import StackOption, interruptible, started
from inferstack.cli.stack.preview_report import event_log, make_change, read
from inferstack.cli.stack.session import Session, only_one
from inferstack.errors import UserError

_WHAT = {"update": "changed", "delete": "gone", "replace": "changed"}


@dataclass(frozen=True)
class Drift:
    """One resource that is not as the state has it."""

    what: str
    """changed or gone."""
    type: str
    name: str
    paths: tuple[str, ...]
    """Names of the properties that differ, where the provider tells."""

    def row(self, form: Format = Format.TABLE) -> dict[str, Any]:
        """Return a row: of a table with the properties as a person reads them, else as a list."""
        paths = ", ".join(self.paths) if form is Format.TABLE else list(self.paths)
        return {"what": self.what, "type": self.type, "name": self.name, "properties": paths}


def register(app: typer.Typer) -> None:
    """Add this module's commands to the application."""
    app.command()(drift)


def drift(stack: StackOption = "local", form: FormatOption = Format.TABLE) -> None:
    """Look for what was changed or removed behind the stack's back; nothing is changed, neither there nor in the state.

    Exit code 0: all is as the state has it; 2: something is not; 1: it could not be told.
    """
    session = Session(stack, output.say)
    if not session.exists():
        raise UserError(f"The stack {stack} has never been up here: `inferstack up -s {stack}` brings it up.")
    with interruptible(), only_one(session.state, output.say), started(session):
        log = event_log(session, "refresh")
        done = session.quietly(["refresh", "--preview-only", "--event-log", str(log)])
    if done.returncode:
        told = (done.stderr.strip() or done.stdout.strip()).splitlines()[-5:]
        raise UserError(f"The stack {stack} could not be compared with what is there:\n" + "\n".join(told))
    found = find(read(log))
    output.emit([one.row(form) for one in found], form)
    output.say(f"{len(found)} resources are not as the state has them")
    if found:
        output.say("docs/pipelines.md tells how to put them back, or how to take them over")
        raise typer.Exit(2)


def find(events: Iterable[Mapping[str, Any]]) -> list[Drift]:
    """Return what a refresh found, from the engine's events: those that tell its results."""
    found = []
    for event in events:
        told = event["resOutputsEvent"]["metadata"] if "resOutputsEvent" in event else {"op": "same"}
        if told["op"] not in _WHAT:
            continue
        change = make_change(_WHAT[told["op"]], told)
        paths = tuple(path for path in change.paths if not _is_left_out(told, path))
        if paths or not change.paths:
            found.append(Drift(change.op, change.type, change.name, paths))
    return sorted(found, key=lambda one: (one.type, one.name))


def _is_left_out(told: Mapping[str, Any], path: str) -> bool:
    """Tell whether a difference is only that an API server leaves out what is false, zero or empty."""
    kind = ((told.get("detailedDiff") or {}).get(path) or {}).get("diffKind")
    value: Any = (told.get("old") or {}).get("inputs")
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return False
        value = value[key]
    return kind == "delete" and not value
