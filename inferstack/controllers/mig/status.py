"""The status of a rollout and its Events, from a decision. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from inferstack.api import Condition, MigRolloutStatus, Phase, Step
from inferstack.apimachinery.rfc3339 import format_time
from inferstack.controllers.mig.decision import Decision
from inferstack.k8s.events import Transition

COMPLETE: Final = "Complete"
_COMPLETE: Final = {Phase.SUCCEEDED: "True", Phase.FAILED: "False", Phase.ABORTED: "False"}
_BAD: Final = (Step.ROLLED_BACK, Step.SKIPPED, Step.FAILED)


def make_status(
    decision: Decision, *, generation: int, before: MigRolloutStatus | None, now: datetime
) -> MigRolloutStatus:
    """Return the status.

    Args:
        decision: about the rollout.
        generation: metadata.generation of the rollout.
        before: the current status; a condition whose status stays keeps its transition time.
        now: the time.
    """
    complete = _condition(decision.phase, decision.message, generation=generation, before=before, now=now)
    return MigRolloutStatus.model_validate(
        {
            "observedGeneration": generation,
            "phase": decision.phase,
            "message": decision.message,
            "done": f"{decision.done}/{len(decision.records)}",
            "failed": decision.failed,
            "current": decision.current,
            "nodes": tuple(decision.records.values()),
            "conditions": (complete,),
        }
    )


def make_undecided_status(
    phase: Phase, message: str, *, generation: int, before: MigRolloutStatus | None, now: datetime
) -> MigRolloutStatus:
    """Return the status of a rollout that waits for another one, or is invalid."""
    current = before or MigRolloutStatus()
    complete = _condition(phase, message, generation=generation, before=before, now=now)
    changed = {"observed_generation": generation, "phase": phase, "message": message, "conditions": (complete,)}
    return current.model_copy(update=changed)


def _condition(
    phase: Phase, message: str, *, generation: int, before: MigRolloutStatus | None, now: datetime
) -> Condition:
    status = _COMPLETE.get(phase, "Unknown")
    old = next((c for c in (before.conditions if before else None) or () if c.type == COMPLETE), None)
    transition_time = old.last_transition_time if old and old.status == status else format_time(now)
    return Condition.model_validate(
        {
            "type": COMPLETE,
            "status": status,
            "reason": phase.value,
            "message": message,
            "lastTransitionTime": transition_time,
            "observedGeneration": generation,
        }
    )


def transitions(before: MigRolloutStatus | None, after: MigRolloutStatus) -> Iterator[Transition]:
    """Yield what deserves an Event: a node has ended, or the phase changed."""
    steps = {record.name: record.step for record in (before.nodes if before else None) or ()}
    for record in after.nodes or ():
        if record.step.ended and steps.get(record.name) is not record.step:
            kind = "Warning" if record.step in _BAD else "Normal"
            yield Transition(kind, f"Node{record.step.value}", f"{record.name}: {record.message}")
    if before is None or before.phase is not after.phase:
        kind = "Warning" if after.phase is Phase.FAILED else "Normal"
        yield Transition(kind, after.phase.value, after.message or after.phase.value)
