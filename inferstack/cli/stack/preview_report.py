"""The report of a preview: changes, policy findings and cost, from the events of the engine's log.

It contains the names of changed properties and no values, because it goes into comments and artifacts.
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
from inferstack.cli.stack.event_log import event_log, read
from inferstack.cli.stack.findings import Finding, make_finding, make_remediation, show_mandatory
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
"""The engine's steps by what happens to the resource; of the several steps of a replacement, one counts."""
_SUMMARIES = ("policyAnalyzeSummaryEvent", "policyAnalyzeStackSummaryEvent")
"""Events that list the policies evaluated on a resource or on the whole stack."""


@dataclass(frozen=True)
class Change:
    """The change of a resource."""

    op: str
    type: str
    name: str
    paths: tuple[str, ...]
    """Names of the properties that differ."""


@dataclass(frozen=True)
class Report:
    """The report of one preview."""

    stack: str
    counts: dict[str, int]
    """Resources by step; same counts the unchanged ones."""
    changes: tuple[Change, ...]
    findings: tuple[Finding, ...]
    rules: tuple[str, ...]
    """Evaluated policies: without them, an empty list of findings means nothing."""
    errors: tuple[str, ...]
    before: Estimate
    after: Estimate

    def content(self) -> dict[str, Any]:
        """Return the content of the report file."""
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
    """Run ``pulumi ARGS`` on the user's terminal, print mandatory findings and write the report to a file.

    Returns:
        The engine's exit status.
    """
    if file is not None:
        output.writable(file)  # before the engine works for minutes
    with event_log(session.state, args[0]) as log:
        code = session.pulumi([*args, "--event-log", str(log)])
        report = make_report(session.stack, read(log))
    show_mandatory(report.findings)
    if file is not None:
        file.write_text(json.dumps(report.content(), indent=2) + "\n")
    return code


def make_report(stack: str, events: Iterable[Event]) -> Report:
    """Return the report of a preview from its events."""
    counts: Counter[str] = Counter()
    changes: list[Change] = []
    findings: list[Finding] = []
    rules: set[str] = set()
    errors: list[str] = []
    before: dict[str, Mapping[str, Any]] = {}
    after: dict[str, Mapping[str, Any]] = {}
    for event in events:
        if step := event.get("resourcePreEvent"):
            metadata = step["metadata"]
            _record_states(metadata, before, after)
            op = _STEPS.get(metadata["op"], "same" if metadata["op"] == "same" else "")
            if op:
                counts[op] += 1
            if op and op != "same":
                changes.append(make_change(op, metadata))
        elif finding := event.get("policyEvent"):
            findings.append(make_finding(finding))
        elif remediation := event.get("policyRemediationEvent"):
            findings.append(make_remediation(remediation))
        elif summary := next((event[key] for key in _SUMMARIES if key in event), None):
            rules.update(summary.get("passed") or (), summary.get("failed") or ())
        elif (diagnostic := event.get("diagnosticEvent")) and diagnostic.get("severity") == "error":
            text = plain(diagnostic["message"])
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


def make_change(op: str, metadata: Mapping[str, Any]) -> Change:
    """Return the change that a step's metadata describes."""
    paths = metadata.get("detailedDiff") or metadata.get("diffs") or ()
    return Change(op, str(metadata["type"]), _name(metadata["urn"]), tuple(sorted(map(str, paths))))


def _record_states(
    metadata: Mapping[str, Any], before: dict[str, Mapping[str, Any]], after: dict[str, Mapping[str, Any]]
) -> None:
    """Record the old and the new state of a resource; a replacement has several steps, in any order."""
    if old := metadata.get("old"):
        before[metadata["urn"]] = old
    if (new := metadata.get("new")) and metadata["op"] not in ("delete", "delete-replaced"):
        after[metadata["urn"]] = new


def _priced(states: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for urn, state in states.items():
        yield str(state["type"]), _name(urn), state.get("inputs") or {}


def _name(urn: str) -> str:
    return urn.rpartition("::")[2]
