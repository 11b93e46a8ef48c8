"""By what a plan is judged, from the fleets alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from inferstack.mig.planner.model import Demand, Fleet, Instance, Objective
from inferstack.mig.planner.patterns import reconfigured, stopped_gpus, use_of


def evaluate(before: Fleet, after: Fleet, demands: Sequence[Demand]) -> Objective:
    """Return by what a plan is judged, from the two fleets alone.

    Many GPUs of a plan share one tuple of instances, of which each question is answered once.
    """
    served = served_by(after)
    by_class: Counter[int] = Counter()
    for demand in demands:
        by_class[demand.priority] += served[demand.name]
    created: set[str] = set()
    changes: dict[tuple[int, int], bool] = {}
    uses: dict[tuple[str, int], int] = {}
    broken = 0
    for old, new in zip(before.gpus, after.gpus, strict=True):
        if old is not new:
            pair = id(old.instances), id(new.instances)
            if pair not in changes:
                changes[pair] = reconfigured(old, new)
            if changes[pair]:
                created.add(old.name)
        use = new.model, id(new.instances)
        if use not in uses:
            uses[use] = use_of(new)
        broken += uses[use]
    stopped = stopped_gpus(before, created)
    moved = 0
    for old, new in zip(before.gpus, after.gpus, strict=True):
        if not old.instances or (old is new and old.name not in stopped):
            continue
        kept = set() if old.name in stopped else {(seat.start, seat.profile, seat.pod) for seat in new.instances}
        moved += sum(bool(s.pod) and (s.start, s.profile, s.pod) not in kept for s in old.instances)
    return Objective(
        tuple(by_class[priority] for priority in sorted(by_class, reverse=True)), broken, len(created), moved
    )


def served_by(fleet: Fleet) -> Counter[str]:
    """Count the instances that carry a demand and no pod yet."""
    shared: dict[int, list[tuple[Instance, ...]]] = {}
    for gpu in fleet.gpus:
        if gpu.instances:
            shared.setdefault(id(gpu.instances), []).append(gpu.instances)
    found: Counter[str] = Counter()
    for same in shared.values():
        for seat in same[0]:
            if seat.demand and not seat.pod:
                found[seat.demand] += len(same)
    return found
