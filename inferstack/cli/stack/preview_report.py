"""What the engine would do, as data: changes, what policies find and what it costs; from the events of its log.

No value of any resource is kept, only the names of what changes: a report goes into comments and artifacts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from inferstack.aws.cost import Estimate, of_resources
from inferstack.cli import output
from inferstack.cli.stack.findings import Finding, make_finding, make_mend, show_stops
from inferstack.cli.stack.progress import plain
from inferstack.cli.stack.session import Session

Event = Mapping[str, Any]
_STEPS = {
    "create": "create",
    "import": "create",
    "update": "update",
    "replace": "replace",
    "delete": "delete",
    "discard": "delete",
}
"""The engine's steps, told as what happens to a resource; a replacement is several of them, and one counts."""
_SUMMARIES = ("policyAnalyzeSummaryEvent", "policyAnalyzeStackSummaryEvent")
"""Events that tell which policies have judged: a resource, the whole stack."""


@dataclass(frozen=True)
class Change:
    """What would happen to one resource."""

    op: str
    type: str
    name: str
    paths: tuple[str, ...]
    """Names of the properties that differ."""


@dataclass(frozen=True)
class Report:
    """All of one preview."""

    stack: str
    counts: dict[str, int]
    """Resources by step; same are those that stay as they are."""
    changes: tuple[Change, ...]
    findings: tuple[Finding, ...]
    rules: tuple[str, ...]
    """Policies that have judged: without them no finding means nothing."""
    errors: tuple[str, ...]
    before: Estimate
    after: Estimate

    def content(self) -> dict[str, Any]:
        """Return what the report's file holds."""
        return {
            "stack": self.stack,
            "counts": self.counts,
            "changes": [asdict(change) for change in self.changes],
            "findings": [asdict(finding) for finding in self.findings],
            "rules": len(self.rules),
            "errors": list(self.errors),
            "cost": {
                "before": round(self.before.usd, 2),
                "after": round(self.after.usd, 2),
                "items": [asdict(item) for item in self.after.items],
                "unknown": list(self.after.unknown),
            },
        }


def run(session: Session, args: Sequence[str], file: Path | None) -> int:
    """Run ``pulumi ARGS`` on the user's terminal, show what policies stop, and leave a report in a file.

    Returns:
        The engine's exit code.
    """
    if file is not None:
        output.writable(file)  # before the engine has worked for minutes
    log = event_log(session, args[0])
    code = session.pulumi([*args, "--event-log", str(log)])
    report = make_report(session.stack, read(log))
    show_stops(report.findings)
    if file is not None:
        file.write_text(json.dumps(report.content(), indent=2) + "\n")
    return code


def event_log(session: Session, verb: str) -> Path:
    """Return the empty file that the engine is to write its events of a verb into."""
    folder = session.state / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"pulumi-{verb}-report.events"
    log.write_text("")
    return log


def read(log: Path) -> Iterator[Event]:
    """Yield the events of a log."""
    with log.open() as lines:
        for line in lines:
            yield json.loads(line)


def make_report(stack: str, events: Iterable[Event]) -> Report:
    """Return what the events of a preview say."""
    counts: Counter[str] = Counter()
    changes: list[Change] = []
    findings: list[Finding] = []
    rules: set[str] = set()
    errors: list[str] = []
    before: dict[str, Mapping[str, Any]] = {}
    after: dict[str, Mapping[str, Any]] = {}
    for event in events:
        if step := event.get("resourcePreEvent"):
            told = step["metadata"]
            _keep_states(told, before, after)
            op = _STEPS.get(told["op"], "same" if told["op"] == "same" else "")
            if op:
                counts[op] += 1
            if op and op != "same":
                changes.append(make_change(op, told))
        elif finding := event.get("policyEvent"):
            findings.append(make_finding(finding))
        elif mended := event.get("policyRemediationEvent"):
            findings.append(make_mend(mended))
        elif summary := next((event[key] for key in _SUMMARIES if key in event), None):
            rules.update(summary.get("passed") or (), summary.get("failed") or ())
        elif (said := event.get("diagnosticEvent")) and said.get("severity") == "error":
            text = plain(said["message"])
            if text and text not in errors:
                errors.append(text)
    return Report(
        stack,
        dict(counts),
        tuple(changes),
        tuple(findings),
        tuple(sorted(rules)),
        tuple(errors),
        before=of_resources(_priced(before)),
        after=of_resources(_priced(after)),
    )


def make_change(op: str, told: Mapping[str, Any]) -> Change:
    """Return what a step's metadata say of a change."""
    paths = told.get("detailedDiff") or told.get("diffs") or ()
    return Change(op, str(told["type"]), _name(told["urn"]), tuple(sorted(map(str, paths))))


def _keep_states(
    told: Mapping[str, Any], before: dict[str, Mapping[str, Any]], after: dict[str, Mapping[str, Any]]
) -> None:
    """Note what a resource was and will be; of a replacement the engine tells in several steps, in any order."""
    if old := told.get("old"):
        before[told["urn"]] = old
    if (new := told.get("new")) and told["op"] not in ("delete", "delete-replaced"):
        after[told["urn"]] = new


def _priced(states: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for urn, state in states.items():
        yield str(state["type"]), _name(urn), state.get("inputs") or {}


def _name(urn: str) -> str:
    return urn.rpartition("::")[2]
