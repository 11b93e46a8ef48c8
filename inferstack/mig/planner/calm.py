"""Who sits where, so that fewer pods have to be stopped before their new place exists.

Equal instances are as good as each other by every criterion. So a pod that is to come back to the very GPU or node that
is reconfigured under it, and would be down meanwhile, changes places with a new instance that can exist before: the pod
starts there first, and the demand gets the place that comes later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from inferstack.mig.planner.model import Demand, Fleet, Instance
from inferstack.mig.planner.patterns import reconfigured, stopped_gpus

_Place = tuple[int, int]
"""Index of the GPU, and of the instance on it."""


def calm(before: Fleet, after: Fleet, demands: Sequence[Demand]) -> Fleet:
    """Return a plan with the same instances in which no more pods, and maybe fewer, have to be parked."""
    old = {s.pod: index for index, gpu in enumerate(before.gpus) for s in gpu.instances if s.pod}
    changed = {
        gpu.name
        for old_gpu, gpu in zip(before.gpus, after.gpus, strict=True)
        if old_gpu is not gpu and reconfigured(old_gpu, gpu)
    }
    stopped = stopped_gpus(before, changed)
    if not old or not stopped:
        return after
    limited = {demand.name for demand in demands if demand.max_per_node is not None}
    units = [gpu.node if before.scope == "node" else gpu.name for gpu in before.gpus]
    busy = {units[index] for index in old.values()}
    free: dict[tuple[str, str], list[_Place]] = {}
    stuck: list[_Place] = []
    for index, gpu in enumerate(after.gpus):
        for place, seat in enumerate(gpu.instances):
            if seat.demand in limited:
                continue
            if seat.demand and not seat.pod and units[index] not in busy:
                free.setdefault((gpu.model, seat.profile), []).append((index, place))
            elif seat.pod and gpu.name in stopped and units[old[seat.pod]] == units[index]:
                stuck.append((index, place))
    seats = {index: list(gpu.instances) for index, gpu in enumerate(after.gpus) if gpu.name in stopped or free}
    for index, place in stuck:
        waiting = free.get((after.gpus[index].model, after.gpus[index].instances[place].profile))
        if waiting:
            other, there = waiting.pop(0)
            pod, new = seats[index][place], seats[other][there]
            seats[index][place] = _sits(pod, new)
            seats[other][there] = _sits(new, pod)
    return Fleet(
        tuple(
            gpu
            if index not in seats or seats[index] == list(gpu.instances)
            else replace(gpu, instances=tuple(seats[index]))
            for index, gpu in enumerate(after.gpus)
        ),
        after.scope,
    )


def _sits(place: Instance, who: Instance) -> Instance:
    return Instance(place.start, place.profile, who.pod, who.demand)
