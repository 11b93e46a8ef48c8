"""The objective of a plan, and what a change of a fleet reconfigures and interrupts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from inferstack.mig.fleet import Fleet, FleetGpu, Instance
from inferstack.mig.fragmentation import gpu_fragmentation
from inferstack.mig.planner.model import Demand, Objective


def evaluate(before: Fleet, after: Fleet, demands: Sequence[Demand]) -> Objective:
    """Return the objective of a plan, computed from the two fleets alone.

    Many GPUs of a plan share one tuple of instances, which is evaluated once.
    """
    served = served_by(after)
    by_class: Counter[int] = Counter()
    for demand in demands:
        by_class[demand.priority] += served[demand.name]
    created: set[str] = set()
    changes: dict[tuple[int, int], bool] = {}
    fragmentation_by_key: dict[tuple[str, int], int] = {}
    fragmentation = 0
    for old, new in zip(before.gpus, after.gpus, strict=True):
        if old is not new:
            pair = id(old.instances), id(new.instances)
            if pair not in changes:
                changes[pair] = needs_reconfiguration(old, new)
            if changes[pair]:
                created.add(old.name)
        key = new.model, id(new.instances)
        if key not in fragmentation_by_key:
            fragmentation_by_key[key] = gpu_fragmentation(new)
        fragmentation += fragmentation_by_key[key]
    stopped = stopped_gpus(before, created)
    moved = 0
    for old, new in zip(before.gpus, after.gpus, strict=True):
        if not old.instances or (old is new and old.name not in stopped):
            continue
        kept = (
            set()
            if old.name in stopped
            else {(instance.start, instance.profile, instance.pod) for instance in new.instances}
        )
        moved += sum(bool(s.pod) and (s.start, s.profile, s.pod) not in kept for s in old.instances)
    return Objective(
        tuple(by_class[priority] for priority in sorted(by_class, reverse=True)), fragmentation, len(created), moved
    )


def served_by(fleet: Fleet) -> Counter[str]:
    """Return the instances by demand that carry a demand and no pod yet."""
    shared: dict[int, list[tuple[Instance, ...]]] = {}
    for gpu in fleet.gpus:
        if gpu.instances:
            shared.setdefault(id(gpu.instances), []).append(gpu.instances)
    served: Counter[str] = Counter()
    for equal_gpus in shared.values():
        for instance in equal_gpus[0]:
            if instance.demand and not instance.pod:
                served[instance.demand] += len(equal_gpus)
    return served


def needs_reconfiguration(before: FleetGpu, after: FleetGpu) -> bool:
    """Return whether an instance has to be created."""
    present = {(instance.start, instance.profile) for instance in before.instances}
    return any((instance.start, instance.profile) not in present for instance in after.instances)


def locked_gpus(fleet: Fleet, only_pinned: bool) -> set[str]:
    """Return the names of the GPUs on which no instance may be created, because that would stop a pod.

    Args:
        fleet: the current fleet.
        only_pinned: whether only pinned pods count, not movable ones.
    """
    if fleet.scope == "instance":
        return set()
    with_pods = {gpu.name for gpu in fleet.gpus if any(s.pinned or (s.pod and not only_pinned) for s in gpu.instances)}
    if fleet.scope == "gpu":
        return with_pods
    nodes = {gpu.node for gpu in fleet.gpus if gpu.name in with_pods}
    return {gpu.name for gpu in fleet.gpus if gpu.node in nodes}


def stopped_gpus(fleet: Fleet, changed: Collection[str]) -> set[str]:
    """Return the names of the GPUs whose pods stop if instances are created on the ``changed`` ones."""
    if fleet.scope == "instance":
        return set()
    if fleet.scope == "gpu":
        return set(changed)
    nodes = {gpu.node for gpu in fleet.gpus if gpu.name in changed}
    return {gpu.name for gpu in fleet.gpus if gpu.node in nodes} if nodes else set()
