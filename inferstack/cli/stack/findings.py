"""The policy pack in a run of the engine: how it is asked for, and what it found."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from inferstack.cli import output
from inferstack.cli.stack.progress import plain

PACK = "inferstack"
"""Name of our policy pack, as it gives it."""
_STOPS = "mandatory"
"""The engine's word."""

PoliciesOption = Annotated[
    bool, typer.Option("--policies/--no-policies", help="Hold the stack to its rules (inferstack policy list).")
]


@dataclass(frozen=True)
class Finding:
    """What a policy says of a resource, or has mended in it."""

    rule: str
    level: str
    """advisory or mandatory; remediate where it has mended."""
    severity: str
    """As the policy has it; empty where the engine does not tell."""
    resource: str
    """As people call it, ``Deployment nlp/model``; of another's pack, Pulumi's name."""
    message: str

    @property
    def stops(self) -> bool:
        """Whether the engine ends with an error because of it."""
        return self.level == _STOPS


def arguments(root: Path, *, wanted: bool = True) -> list[str]:
    """Return the engine's options that have it run the pack of a project."""
    return ["--policy-pack", str(root / "policies")] if wanted else []


def of_events(events: Iterable[Mapping[str, Any]]) -> list[Finding]:
    """Return the findings among the events of a run."""
    return [make_finding(event["policyEvent"]) for event in events if "policyEvent" in event]


def make_finding(told: Mapping[str, Any]) -> Finding:
    """Return a finding out of the engine's event."""
    name = str(told.get("resourceUrn", "")).rpartition("::")[2]
    text = plain(told["message"])
    if told.get("policyPackName") == PACK:
        # The engine begins a message with the description of the policy; ours go on with the resource.
        label, _, said = text.partition("\n")[2].partition(": ")
        name, text = (label, said) if said else (name, text)
    return Finding(told["policyName"], told["enforcementLevel"], told.get("severity", ""), name, text)


def make_mend(told: Mapping[str, Any]) -> Finding:
    """Return what a policy has mended out of the engine's event; no value, only names of what it has changed."""
    name = str(told.get("resourceUrn", "")).rpartition("::")[2]
    before, after = (told.get(key) or {} for key in ("before", "after"))
    changed = sorted(key for key in before.keys() | after.keys() if before.get(key) != after.get(key))
    return Finding(told["policyName"], "remediate", told.get("severity", ""), name, f"sets {', '.join(changed)}")


def warn(findings: Sequence[Finding]) -> None:
    """Tell a person what was found and stops nothing."""
    for one in findings:
        if not one.stops:
            output.say(f"warning: {one.resource}: {one.message} ({one.rule})")


def show_stops(findings: Sequence[Finding]) -> bool:
    """Show a person what was found and must be mended first; tells whether there is any."""
    rows = [{"rule": one.rule, "resource": one.resource, "what to do": one.message} for one in findings if one.stops]
    output.emit(rows)
    return bool(rows)


def judged_at_the_end(configuration: Mapping[str, Any]) -> bool:
    """Tell whether a stack has rules that stop, and that an update by itself only asks once all is changed.

    Args:
        configuration: values by key, as in the stack's file.

    Raises:
        UserError: the settings are wrong.
    """
    # Rules and settings take a while to import, and most commands do without.
    from components.security.settings import SecuritySettings  # noqa: PLC0415
    from components.settings import PROJECT, load_role  # noqa: PLC0415
    from inferstack.policy.model import Level  # noqa: PLC0415
    from inferstack.policy.registry import rules  # noqa: PLC0415

    settings = load_role("security", SecuritySettings, configuration.get(f"{PROJECT}:security")).policies
    return any(rule.of_stack and settings.level(rule) is Level.MANDATORY for rule in rules().values())
