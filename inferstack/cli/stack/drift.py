"""``inferstack drift``: differences between a stack's state and its resources."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import typer

from inferstack.cli import output
from inferstack.cli.options import StackOption
from inferstack.cli.output import Format, FormatOption
from inferstack.cli.stack.event_log import event_log, read
from inferstack.cli.stack.operation import locked, prepared
from inferstack.cli.stack.preview_report import make_change
from inferstack.cli.stack.session import Session
from inferstack.errors import UserError

_WHAT = {"update": "changed", "delete": "gone", "replace": "changed"}


@dataclass(frozen=True)
class Drift:
    """A resource that differs from the state."""

    what: str
    """changed or gone."""
    type: str
    name: str
    paths: tuple[str, ...]
    """Names of the properties that differ, if the provider reports them."""

    def row(self, form: Format = Format.TABLE) -> dict[str, Any]:
        """Return a row; in a table the properties are one text."""
        paths = ", ".join(self.paths) if form is Format.TABLE else list(self.paths)
        return {"what": self.what, "type": self.type, "name": self.name, "properties": paths}


def drift(stack: StackOption = "local", form: FormatOption = Format.TABLE) -> None:
    """Show resources that differ from a stack's state.

    Changes neither the resources nor the state. Exits with status 0 without drift, 2 with drift, 1 if the comparison
    failed.
    """
    session = Session(stack, output.say)
    if not session.exists():
        raise UserError(f"The stack {stack} does not exist here yet: create it with `inferstack up -s {stack}`.")
    with locked(session), prepared(session), event_log(session.state, "refresh") as log:
        completed = session.quietly(["refresh", "--preview-only", "--event-log", str(log)])
        events = read(log)
    if completed.returncode:
        lines = (completed.stderr.strip() or completed.stdout.strip()).splitlines()[-5:]
        raise UserError(f"The stack {stack} could not be compared with its resources:\n" + "\n".join(lines))
    drifted = find(events)
    output.emit([resource.row(form) for resource in drifted], form)
    output.say(f"{len(drifted)} resources differ from the state")
    if drifted:
        output.say("docs/pipelines.md explains how to restore or adopt them")
        raise typer.Exit(2)


def find(events: Iterable[Mapping[str, Any]]) -> list[Drift]:
    """Return the drift among the events of a refresh."""
    drifted = []
    for event in events:
        step = event["resOutputsEvent"]["metadata"] if "resOutputsEvent" in event else {"op": "same"}
        if step["op"] not in _WHAT:
            continue
        change = make_change(_WHAT[step["op"]], step)
        paths = tuple(path for path in change.paths if not _is_omitted(step, path))
        if paths or not change.paths:
            drifted.append(Drift(change.op, change.type, change.name, paths))
    return sorted(drifted, key=lambda resource: (resource.type, resource.name))


def _is_omitted(step: Mapping[str, Any], path: str) -> bool:
    """Return whether the API server merely omits a value that is false, zero or empty."""
    kind = ((step.get("detailedDiff") or {}).get(path) or {}).get("diffKind")
    value: Any = (step.get("old") or {}).get("inputs")
    for key in path.split("."):
        if not isinstance(value, Mapping) or key not in value:
            return False
        value = value[key]
    return kind == "delete" and not value
