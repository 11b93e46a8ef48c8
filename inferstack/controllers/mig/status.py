"""A rollout's status and the Events that go with it, out of a decision. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

from inferstack.api import Condition, MigRolloutStatus, Phase, Step
from inferstack.apimachinery.rfc3339 import format_time
from inferstack.controllers.mig.decide import Decision
from inferstack.k8s.events import Transition

Object = dict[str, Any]
COMPLETE: Final = "Complete"
_COMPLETE: Final = {Phase.SUCCEEDED: "True", Phase.FAILED: "False", Phase.ABORTED: "False"}
_BAD: Final = (Step.ROLLED_BACK, Step.SKIPPED, Step.FAILED)


def make_status(
    decision: Decision, *, generation: int, before: MigRolloutStatus | None, now: datetime
) -> MigRolloutStatus:
    """Return the status.

    Args:
        decision: what the look came to.
        generation: metadata.generation of the rollout.
        before: the status that it carries now; a condition that stays keeps its time.
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


def make_other(
    phase: Phase, message: str, *, generation: int, before: MigRolloutStatus | None, now: datetime
) -> MigRolloutStatus:
    """Return the status of a rollout about which nothing was decided: it waits for its turn, or cannot be read."""
    known = before or MigRolloutStatus()
    complete = _condition(phase, message, generation=generation, before=before, now=now)
    changed = {"observed_generation": generation, "phase": phase, "message": message, "conditions": (complete,)}
    return known.model_copy(update=changed)


def _condition(
    phase: Phase, message: str, *, generation: int, before: MigRolloutStatus | None, now: datetime
) -> Condition:
    status = _COMPLETE.get(phase, "Unknown")
    old = next((one for one in (before.conditions if before else None) or () if one.type == COMPLETE), None)
    turned = old.last_transition_time if old and old.status == status else format_time(now)
    return Condition.model_validate(
        {
            "type": COMPLETE,
            "status": status,
            "reason": phase.value,
            "message": message,
            "lastTransitionTime": turned,
            "observedGeneration": generation,
        }
    )


def turns(before: MigRolloutStatus | None, after: MigRolloutStatus) -> Iterator[Transition]:
    """Yield what is worth an Event: the end of a node, and another phase."""
    known = {record.name: record.step for record in (before.nodes if before else None) or ()}
    for record in after.nodes or ():
        if record.step.ended and known.get(record.name) is not record.step:
            kind = "Warning" if record.step in _BAD else "Normal"
            yield Transition(kind, f"Node{record.step.value}", f"{record.name}: {record.message}")
    if before is None or before.phase is not after.phase:
        kind = "Warning" if after.phase is Phase.FAILED else "Normal"
        yield Transition(kind, after.phase.value, after.message or after.phase.value)
