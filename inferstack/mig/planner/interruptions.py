"""Reduce interruptions: swap pods and new instances so that fewer pods stop before their new instance exists.

Equal instances are interchangeable by every criterion. A pod that would return to the GPU or node that is reconfigured
under it would be down meanwhile. It swaps with a new instance that can be created earlier: the pod starts there first,
and the demand takes the instance that is created later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from inferstack.mig.fleet import Fleet, Instance
from inferstack.mig.planner.model import Demand
from inferstack.mig.planner.objective import needs_reconfiguration, stopped_gpus

_Position = tuple[int, int]
"""Index of the GPU, index of the instance on it."""


def reduce_interruptions(before: Fleet, after: Fleet, demands: Sequence[Demand]) -> Fleet:
    """Return a plan with the same instances that parks no more pods, possibly fewer."""
    gpu_of_pod = {s.pod: index for index, gpu in enumerate(before.gpus) for s in gpu.instances if s.pod}
    changed = {
        gpu.name
        for old_gpu, gpu in zip(before.gpus, after.gpus, strict=True)
        if old_gpu is not gpu and needs_reconfiguration(old_gpu, gpu)
    }
    stopped = stopped_gpus(before, changed)
    if not gpu_of_pod or not stopped:
        return after
    limited = {demand.name for demand in demands if demand.max_per_node is not None}
    units = [gpu.node if before.scope == "node" else gpu.name for gpu in before.gpus]
    busy = {units[index] for index in gpu_of_pod.values()}
    free: dict[tuple[str, str], list[_Position]] = {}
    interrupted: list[_Position] = []
    for index, gpu in enumerate(after.gpus):
        for position, instance in enumerate(gpu.instances):
            if instance.demand in limited:
                continue
            if instance.demand and not instance.pod and units[index] not in busy:
                free.setdefault((gpu.model, instance.profile), []).append((index, position))
            elif instance.pod and gpu.name in stopped and units[gpu_of_pod[instance.pod]] == units[index]:
                interrupted.append((index, position))
    instances = {index: list(gpu.instances) for index, gpu in enumerate(after.gpus) if gpu.name in stopped or free}
    for index, position in interrupted:
        candidates = free.get((after.gpus[index].model, after.gpus[index].instances[position].profile))
        if candidates:
            other, free_position = candidates.pop(0)
            running, reserved = instances[index][position], instances[other][free_position]
            instances[index][position] = _with_pod_of(running, reserved)
            instances[other][free_position] = _with_pod_of(reserved, running)
    return Fleet(
        tuple(
            gpu
            if index not in instances or instances[index] == list(gpu.instances)
            else replace(gpu, instances=tuple(instances[index]))
            for index, gpu in enumerate(after.gpus)
        ),
        after.scope,
    )


def _with_pod_of(position: Instance, occupant: Instance) -> Instance:
    return Instance(position.start, position.profile, occupant.pod, occupant.demand)
