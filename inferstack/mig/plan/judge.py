"""By what a plan is judged, from the fleets alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from inferstack.mig.plan.model import Demand, Fleet, Objective
from inferstack.mig.plan.patterns import reconfigured, stopped_gpus, use_of


def evaluate(before: Fleet, after: Fleet, demands: Sequence[Demand]) -> Objective:
    """Return by what a plan is judged, from the two fleets alone."""
    served = served_by(after)
    by_class: Counter[int] = Counter()
    for demand in demands:
        by_class[demand.priority] += served[demand.name]
    created = {
        old.name for old, new in zip(before.gpus, after.gpus, strict=True) if old is not new and reconfigured(old, new)
    }
    stopped = stopped_gpus(before, created)
    moved = 0
    for old, new in zip(before.gpus, after.gpus, strict=True):
        kept = set() if old.name in stopped else {(seat.start, seat.profile, seat.pod) for seat in new.instances}
        if old is not new or old.name in stopped:
            moved += sum(bool(s.pod) and (s.start, s.profile, s.pod) not in kept for s in old.instances)
    return Objective(
        tuple(by_class[priority] for priority in sorted(by_class, reverse=True)),
        sum(use_of(gpu) for gpu in after.gpus),
        len(created),
        moved,
    )


def served_by(fleet: Fleet) -> Counter[str]:
    """Count the instances that carry a demand and no pod yet."""
    return Counter(seat.demand for gpu in fleet.gpus for seat in gpu.instances if seat.demand and not seat.pod)
