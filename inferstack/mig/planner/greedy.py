"""A greedy heuristic for fleets of any size. No running pod moves.

Equal GPUs form one bucket. A demand goes, many instances at once, to the bucket where filling one GPU adds the least
fragmentation per instance, then reconfigures the fewest GPUs, then leaves the least free. This is the greedy rule of
arXiv 2511.18906 (see `inferstack.mig.fragmentation`) applied to whole fills, as one cutting pattern is used on many
rolls in cutting stock. The heuristic runs four times and keeps the best result: by priority, smallest first (most
instances); then what was accepted so far, largest first (least fragmentation); and twice more like this with a price on
compute slices left without memory, so that two 3g do not strand the seventh slice of each GPU.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from inferstack.mig import catalogue
from inferstack.mig.fleet import Fleet, Instance, is_legal
from inferstack.mig.fragmentation import fragmentation_score, used_slices
from inferstack.mig.planner.model import Demand
from inferstack.mig.planner.objective import locked_gpus
from inferstack.mig.planner.patterns import keep_idle_instances

Placements = tuple[tuple[int, str], ...]

_STRANDED = 32
"""Fragmentation equivalent of one stranded compute slice: more than that of a half-free GPU."""


class GpuClass(NamedTuple):
    """GPUs that are interchangeable for further placements."""

    model: str
    used: Placements
    present: Placements
    """Current instances, which need not be created."""
    fixed: bool
    """Whether no instance may be created, because that would stop a pod."""
    created: bool
    """Whether an instance has been created."""


class _Fill(NamedTuple):
    starts: tuple[int, ...]
    gpu_class: GpuClass
    added_fragmentation: int
    """Added fragmentation of the GPU."""


@dataclass
class PartialPlan:
    """A partial plan: the fleet while it is being filled."""

    buckets: dict[GpuClass, list[int]] = field(default_factory=dict)
    """Indexes of GPUs."""
    added: dict[int, list[Instance]] = field(default_factory=dict)
    pods_on_node: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Pods by node and demand, for spread limits."""
    served: Counter[str] = field(default_factory=Counter)


def solve(fleet: Fleet, demands: Sequence[Demand], gpu_models: Mapping[str, str] | None = None) -> Fleet:
    """Return a plan in which every running pod keeps its instance.

    Args:
        fleet: the current fleet.
        demands: the demands to serve.
        gpu_models: the only GPU model that may serve a demand, by demand; optional.
    """
    profiles = profiles_by_demand(fleet, demands)
    for name, gpu_model in (gpu_models or {}).items():
        profiles[name] = {gpu_model: profiles[name][gpu_model]}
    sizes = {name: memory_slices_of(profile_by_model) for name, profile_by_model in profiles.items()}
    empty = initial_state(fleet)
    ordered = sort_by_priority(demands, profiles)
    best = _copy(empty)
    for demand in ordered:
        serve_demand(fleet, best, demand, demand.count, profiles[demand.name], 0)
    for stranded in (0, _STRANDED, _STRANDED):
        partial = _copy(empty)
        for demand in sorted(demands, key=lambda demand: (-sizes[demand.name], -demand.priority, demand.name)):
            serve_demand(fleet, partial, demand, best.served[demand.name], profiles[demand.name], stranded)
        for demand in ordered:
            rest = demand.count - partial.served[demand.name]
            serve_demand(fleet, partial, demand, rest, profiles[demand.name], stranded)
        best = min((best, partial), key=lambda partial: _objective_key(partial, demands))
    return make_fleet(fleet, best)


def make_fleet(fleet: Fleet, partial: PartialPlan) -> Fleet:
    """Return the fleet with the added instances."""
    return Fleet(
        tuple(
            keep_idle_instances(gpu, [*(instance for instance in gpu.instances if instance.pod), *partial.added[index]])
            if index in partial.added
            else gpu
            for index, gpu in enumerate(fleet.gpus)
        ),
        fleet.scope,
    )


def profiles_by_demand(fleet: Fleet, demands: Sequence[Demand]) -> dict[str, dict[str, str]]:
    """Return the profile that serves a demand, by demand and GPU model."""
    gpu_models = sorted({gpu.model for gpu in fleet.gpus})
    return {
        demand.name: {gpu_model: demand.on(gpu_model) for gpu_model in gpu_models if demand.on(gpu_model)}
        for demand in demands
    }


def sort_by_priority(demands: Sequence[Demand], profiles: Mapping[str, Mapping[str, str]]) -> list[Demand]:
    """Return the demands from the highest priority class down, smallest first within a class."""
    return sorted(demands, key=lambda demand: (-demand.priority, memory_slices_of(profiles[demand.name]), demand.name))


def memory_slices_of(profile_by_model: Mapping[str, str]) -> int:
    """Return the memory slices of one instance on the GPU model that needs the fewest."""
    return min(
        (catalogue.gpu(gpu_model).profiles[profile].memory_slices for gpu_model, profile in profile_by_model.items()),
        default=0,
    )


def initial_state(fleet: Fleet) -> PartialPlan:
    """Return the partial plan that adds nothing."""
    partial = PartialPlan()
    fixed = locked_gpus(fleet, only_pinned=False)
    for index, gpu in enumerate(fleet.gpus):
        present = tuple(sorted((instance.start, instance.profile) for instance in gpu.instances))
        used = tuple(sorted((instance.start, instance.profile) for instance in gpu.instances if instance.pod))
        gpu_class = GpuClass(gpu.model, used, present, gpu.name in fixed, False)
        partial.buckets.setdefault(gpu_class, []).append(index)
        for instance in gpu.instances:
            partial.pods_on_node[gpu.node, instance.demand] += bool(instance.pod)
    return partial


def _copy(partial: PartialPlan) -> PartialPlan:
    return PartialPlan(
        {gpu_class: list(bucket) for gpu_class, bucket in partial.buckets.items()},
        {},
        Counter(partial.pods_on_node),
        Counter(),
    )


def _objective_key(partial: PartialPlan, demands: Sequence[Demand]) -> tuple[tuple[int, ...], int, int]:
    by_class: Counter[int] = Counter()
    for demand in demands:
        by_class[demand.priority] -= partial.served[demand.name]
    return (
        tuple(by_class[priority] for priority in sorted(by_class, reverse=True)),
        sum(class_fragmentation(gpu_class) * len(bucket) for gpu_class, bucket in partial.buckets.items()),
        sum(gpu_class.created * len(bucket) for gpu_class, bucket in partial.buckets.items()),
    )


def class_fragmentation(gpu_class: GpuClass) -> int:
    """Return the fragmentation of a GPU of this class."""
    return fragmentation_score(gpu_class.model, *used_slices(gpu_class.model, gpu_class.used))


def serve_demand(
    fleet: Fleet, partial: PartialPlan, demand: Demand, count: int, profiles: Mapping[str, str], stranded: int
) -> None:
    """Place up to ``count`` instances of a demand."""
    exhausted: set[GpuClass] = set()
    limit = demand.max_per_node
    while count > 0:
        batch = count if limit is None else min(count, limit)
        candidates = [
            (_rank(gpu_class, fill), gpu_class, fill)
            for gpu_class in partial.buckets
            if gpu_class not in exhausted
            and gpu_class.model in profiles
            and (fill := _fill(gpu_class, profiles[gpu_class.model], min(batch, 8), stranded)) is not None
        ]
        if not candidates:
            return
        _, gpu_class, fill = min(candidates)
        placed = _apply(fleet, partial, demand, count, gpu_class, fill, profiles[gpu_class.model], stranded)
        if not placed:
            exhausted.add(gpu_class)
        count -= placed
        partial.served[demand.name] += placed


def _apply(
    fleet: Fleet,
    partial: PartialPlan,
    demand: Demand,
    count: int,
    gpu_class: GpuClass,
    fill: _Fill,
    profile: str,
    stranded: int,
) -> int:
    """Use the fill on as many GPUs of a bucket as needed, reduced where the node's spread limit requires it.

    Returns:
        The number of placed instances.
    """
    gpus = partial.buckets.pop(gpu_class)
    rest: list[int] = []
    placed = 0
    for place, index in enumerate(gpus):
        if count - placed < len(fill.starts):
            rest.extend(gpus[place:])
            break
        node = fleet.gpus[index].node
        chosen: _Fill | None = fill
        if demand.max_per_node is not None:
            room = demand.max_per_node - partial.pods_on_node[node, demand.name]
            chosen = _fill(gpu_class, profile, min(room, len(fill.starts)), stranded) if room > 0 else None
        if chosen is None:
            rest.append(index)
            continue
        partial.buckets.setdefault(chosen.gpu_class, []).append(index)
        partial.added.setdefault(index, []).extend(_instances_at(chosen.starts, profile, demand.name))
        partial.pods_on_node[node, demand.name] += len(chosen.starts)
        placed += len(chosen.starts)
    if rest:
        partial.buckets.setdefault(gpu_class, []).extend(rest)
    return placed


@functools.lru_cache(maxsize=4096)
def _instances_at(starts: tuple[int, ...], profile: str, demand: str) -> tuple[Instance, ...]:
    """Return instances for a demand. Many GPUs share the same objects because creating them dominates the run time."""
    return tuple(Instance(start, profile, demand=demand) for start in starts)


def _rank(gpu_class: GpuClass, fill: _Fill) -> tuple[Fraction, Fraction, int]:
    each = len(fill.starts)
    mask, _ = used_slices(gpu_class.model, gpu_class.used)
    created = int(fill.gpu_class.created) - int(gpu_class.created)
    return Fraction(fill.added_fragmentation, each), Fraction(created, each), -mask.bit_count()


@functools.lru_cache(maxsize=65536)
def _fill(gpu_class: GpuClass, profile: str, most: int, stranded: int) -> _Fill | None:
    """Return the best way to place at most ``most`` instances of a profile on a GPU.

    Without a price on stranded slices this is as many as possible, otherwise as many as are cheapest per instance.
    """
    candidates: list[Placements] = [()]
    options: list[Placements] = []
    for _ in range(most):
        candidates = [
            (*placements, (start, profile))
            for placements in candidates
            for start in catalogue.gpu(gpu_class.model).profiles[profile].starts
            if (not placements or start > placements[-1][0])
            and (not gpu_class.fixed or (start, profile) in gpu_class.present)
            and is_legal(
                gpu_class.model, tuple(Instance(*at) for at in (*gpu_class.used, *placements, (start, profile)))
            )
        ]
        if not candidates:
            break
        options = [*options, *candidates] if stranded else candidates
    if not options:
        return None
    return min(
        (_filled(gpu_class, option, stranded) for option in options),
        key=lambda fill: (Fraction(fill.added_fragmentation, len(fill.starts)), fill.gpu_class.created, fill.starts),
    )


def _filled(gpu_class: GpuClass, placements: Placements, stranded: int) -> _Fill:
    created = gpu_class.created or any(instance not in gpu_class.present for instance in placements)
    after = gpu_class._replace(used=tuple(sorted((*gpu_class.used, *placements))), created=created)
    added_fragmentation = (
        class_fragmentation(after)
        - class_fragmentation(gpu_class)
        + stranded * (_stranded(after) - _stranded(gpu_class))
    )
    return _Fill(tuple(empty for empty, _ in placements), after, added_fragmentation)


def _stranded(gpu_class: GpuClass) -> int:
    """Return the free compute slices without a free memory slice, such as the seventh beside two 3g."""
    gpu_model = catalogue.gpu(gpu_class.model)
    mask, compute = used_slices(gpu_class.model, gpu_class.used)
    return max(0, gpu_model.compute_slices - compute - (gpu_model.memory_slices - mask.bit_count()))
