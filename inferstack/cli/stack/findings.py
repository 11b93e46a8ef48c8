"""The policy pack in a run of the engine: its options and its findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inferstack.cli import output
from inferstack.cli.stack.progress import plain

PACK = "inferstack"
"""The name of the policy pack."""
_MANDATORY = "mandatory"
"""The engine's term."""


@dataclass(frozen=True)
class Finding:
    """A violation of a policy, or a remediation."""

    rule: str
    level: str
    """advisory, mandatory or remediate."""
    severity: str
    """Severity of the policy; empty if the engine does not report it."""
    resource: str
    """Such as ``Deployment nlp/model``; for other policy packs, Pulumi's name."""
    message: str

    @property
    def is_mandatory(self) -> bool:
        """Whether the engine fails because of it."""
        return self.level == _MANDATORY


def arguments(root: Path, *, enabled: bool = True) -> list[str]:
    """Return the options that have the engine run the policy pack of a project."""
    return ["--policy-pack", str(root / "policies")] if enabled else []


def of_events(events: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """Return the findings among the events of a run."""
    return [make_finding(event["policyEvent"]) for event in events if "policyEvent" in event]


def make_finding(event: Mapping[str, Any]) -> Finding:
    """Return the violation that an event of the engine reports."""
    name = str(event.get("resourceUrn", "")).rpartition("::")[2]
    text = plain(event["message"])
    if event.get("policyPackName") == PACK:
        # The engine puts the policy's description first; the pack's own message starts with the resource.
        label, _, message = text.partition("\n")[2].partition(": ")
        name, text = (label, message) if message else (name, text)
    return Finding(event["policyName"], event["enforcementLevel"], event.get("severity", ""), name, text)


def make_remediation(event: Mapping[str, Any]) -> Finding:
    """Return the remediation that an event of the engine reports: the names of the properties, without values."""
    name = str(event.get("resourceUrn", "")).rpartition("::")[2]
    before, after = (event.get(key) or {} for key in ("before", "after"))
    changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    return Finding(event["policyName"], "remediate", event.get("severity", ""), name, f"sets {', '.join(changed)}")


def warn(findings: Sequence[Finding]) -> None:
    """Print the findings that are not mandatory."""
    for finding in findings:
        if not finding.is_mandatory:
            output.say(f"warning: {finding.resource}: {finding.message} ({finding.rule})")


def show_mandatory(findings: Sequence[Finding]) -> bool:
    """Print the mandatory findings; return whether there are any."""
    rows = [
        {"rule": finding.rule, "resource": finding.resource, "what to do": finding.message}
        for finding in findings
        if finding.is_mandatory
    ]
    output.emit(rows)
    return bool(rows)


def needs_preview(configuration: Mapping[str, Any]) -> bool:
    """Return whether a stack has mandatory rules that the engine evaluates only after an update.

    Args:
        configuration: values by key, as in the stack's file.

    Raises:
        UserError: the settings are invalid.
    """
    # Rules and settings are slow to import, and most commands do without them.
    from components.security.settings import SecuritySettings  # noqa: PLC0415
    from components.settings import PROJECT, load_role  # noqa: PLC0415
    from inferstack.policy.model import Level  # noqa: PLC0415
    from inferstack.policy.registry import rules  # noqa: PLC0415

    settings = load_role("security", SecuritySettings, configuration.get(f"{PROJECT}:security")).policies
    return any(rule.of_stack and settings.level(rule) is Level.MANDATORY for rule in rules().values())
