"""What the driver and the device plugin may choose differently from a plan.

mig-parted creates instances without a placement, so the driver chooses their starts. The device plugin chooses which of
several equal instances a pod gets. A GPU can end up more fragmented than planned.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from dataclasses import dataclass

from inferstack.mig.fleet import Fleet
from inferstack.mig.fragmentation import fragmentation_score, gpu_fragmentation, used_slices
from inferstack.mig.planner.patterns import instance_sets


@dataclass(frozen=True)
class DriverChoice:
    """A GPU that can end up more fragmented than planned, because a layout cannot specify starts."""

    node: str
    gpu: str
    planned: int
    """Planned fragmentation."""
    worst: int
    """Fragmentation after the worst choice of driver and device plugin."""
    reconfigured: bool
    """Whether its counts change. If not, mig-parted keeps its instances."""


def find_driver_choices(before: Fleet, after: Fleet) -> tuple[DriverChoice, ...]:
    """Return the GPUs that can end up more fragmented than planned.

    Every legal choice is evaluated. GPUs that the plan does not change are omitted.
    """
    result = []
    for old, new in zip(before.gpus, after.gpus, strict=True):
        if old == new:
            continue
        reconfigured = Counter(s.profile for s in old.instances) != Counter(s.profile for s in new.instances)
        used = Counter(seat.profile for seat in new.instances if not seat.idle)
        idle = Counter(seat.profile for seat in new.instances if seat.idle)
        fixed = None if reconfigured else tuple(sorted((seat.start, seat.profile) for seat in old.instances))
        worst = _worst(new.model, tuple(sorted(used.items())), tuple(sorted(idle.items())), fixed)
        if worst > (planned := gpu_fragmentation(new)):
            result.append(DriverChoice(new.node, new.name, planned, worst, reconfigured))
    return tuple(result)


@functools.lru_cache(maxsize=4096)
def _worst(
    model: str,
    used: tuple[tuple[str, int], ...],
    idle: tuple[tuple[str, int], ...],
    fixed: tuple[tuple[int, str], ...] | None,
) -> int:
    """Return the worst fragmentation of the used instances over all placements that also fit the idle ones."""
    used_counts = Counter(dict(used))
    total = used_counts + Counter(dict(idle))
    complete_sets = [
        come
        for come, _, _ in instance_sets(model, (), total, fixed)
        if len(come) == total.total() and Counter(name for _, name in come) == total
    ]
    return max(
        fragmentation_score(model, *used_slices(model, seats))
        for come in complete_sets
        for seats in itertools.combinations(come, used_counts.total())
        if Counter(name for _, name in seats) == used_counts
    )
