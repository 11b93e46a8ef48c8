"""The exact search: dynamic programming over nodes.

In terms of bin packing, GPUs are bins and MIG instances are items. An item type is either a demand or a group of equal
movable pods; every one of those pods must be placed. The state of a partial plan is the vector of placed items by type.
Of two partial plans over the same nodes with the same vector only the cheaper one is kept. Costs (fragmentation,
reconfigured GPUs, moved pods) add up and compare lexicographically, so no better plan is lost. Equal GPUs and equal
nodes share one table. The number of vectors grows with the product of the counts: the search suits small fleets, and
the budget stops it on large ones.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from inferstack.mig.fleet import Fleet, FleetGpu, Instance, Scope
from inferstack.mig.planner.model import Budget, Demand, OutOfBudgetError
from inferstack.mig.planner.patterns import Cost, Pattern, Vector, keep_idle_instances, make_patterns


@dataclass(frozen=True)
class Item:
    """An item type of the packing problem: equal instances to place."""

    name: str
    """Name of the demand. May be empty for running pods."""
    profiles: Mapping[str, str]
    """Profile by GPU model."""
    count: int
    priority: int | None
    """None for running pods, all of which must be placed."""
    limit: int | None
    """Maximum pods of the demand per node; None: no limit."""


@dataclass(frozen=True)
class _GpuChoice:
    """One GPU in a partial plan: its pattern and the item type of each added instance."""

    pattern: Pattern
    items: Vector


_Backpointer = tuple["_Backpointer", "_Backpointer"] | _GpuChoice | None
_Table = dict[Vector, tuple[Cost, _Backpointer]]
_NOTHING = Cost(0, 0, 0)


def make_items(fleet: Fleet, demands: Sequence[Demand]) -> list[Item]:
    """Return the groups of movable pods, then the demands from the highest priority down."""
    gpu_models = sorted({gpu.model for gpu in fleet.gpus})
    limits = {demand.name: demand.max_per_node for demand in demands}
    groups = Counter(
        (gpu.model, instance.profile, instance.demand)
        for gpu in fleet.gpus
        for instance in gpu.instances
        if instance.pod and not instance.pinned
    )
    result = [
        Item(name, {gpu_model: profile}, count, None, limits.get(name))
        for (gpu_model, profile, name), count in sorted(groups.items())
    ]
    for demand in sorted(demands, key=lambda demand: (-demand.priority, demand.name)):
        profile_by_model = {gpu_model: demand.on(gpu_model) for gpu_model in gpu_models}
        served_by_model = {gpu_model: profile for gpu_model, profile in profile_by_model.items() if profile}
        result.append(Item(demand.name, served_by_model, demand.count, demand.priority, demand.max_per_node))
    return result


@dataclass(frozen=True)
class Boundary:
    """What a search over part of a fleet has to know about the rest of it."""

    pods_elsewhere: Mapping[str, Counter[str]] = field(default_factory=dict)
    """Pods by demand that a node holds outside the part according to the plan, by node."""
    current_pods_elsewhere: Mapping[str, Counter[str]] = field(default_factory=dict)
    """Pods by demand that a node holds outside the part today, by node."""
    reconfigured_nodes: Mapping[str, bool] = field(default_factory=dict)
    """Whether a node is reconfigured, for nodes where that is fixed. Scope ``node`` only."""
    incoming_pods: Mapping[tuple[str, str, str], Sequence[str]] = field(default_factory=dict)
    """Pods from outside the part, by GPU model, profile and demand. The items count them."""


NO_BOUNDARY = Boundary()


def solve(fleet: Fleet, demands: Sequence[Demand], budget: Budget) -> Fleet:
    """Return the optimal fleet.

    Raises:
        OutOfBudgetError: the budget ran out, or there are more state vectors than budget steps.
    """
    return search(fleet, make_items(fleet, demands), budget, NO_BOUNDARY)


def search(fleet: Fleet, items: Sequence[Item], budget: Budget, boundary: Boundary) -> Fleet:
    """Return the optimal plan for the given items on part of a larger fleet.

    Raises:
        OutOfBudgetError: as for `solve`, or not every pod can be placed here.
    """
    # Fail early: a search that cannot finish would use up the whole budget first.
    if math.prod(item.count + 1 for item in items if item.profiles) > budget.left:
        raise OutOfBudgetError
    nodes: dict[str, list[FleetGpu]] = {}
    for gpu in fleet.gpus:
        nodes.setdefault(gpu.node, []).append(gpu)
    solver = _DynamicProgram(fleet.scope, items, budget, boundary)
    total: _Table = {(0,) * len(items): (_NOTHING, None)}
    for node, gpus in nodes.items():
        total = solver.join(total, solver.node(node, gpus))
    complete = [vector for vector in total if _complete(vector, items)]
    if not complete:
        raise OutOfBudgetError
    vector = min(complete, key=lambda vector: (_served(vector, items), total[vector][0], vector))
    choices = list(_choices_of(total[vector][1]))
    order = [gpu for gpus in nodes.values() for gpu in gpus]
    after = {gpu.name: gpu for gpu in _build_gpus(order, choices, items, boundary)}
    return Fleet(tuple(after[gpu.name] for gpu in fleet.gpus), fleet.scope)


def _complete(vector: Vector, items: Sequence[Item]) -> bool:
    return all(count == item.count for count, item in zip(vector, items, strict=True) if item.priority is None)


def _served(vector: Vector, items: Sequence[Item]) -> Vector:
    by_class: Counter[int] = Counter()
    for count, item in zip(vector, items, strict=True):
        if item.priority is not None:
            by_class[item.priority] -= count
    return tuple(by_class[priority] for priority in sorted(by_class, reverse=True))


class _DynamicProgram:
    def __init__(self, scope: Scope, items: Sequence[Item], budget: Budget, boundary: Boundary) -> None:
        self._scope = scope
        self._boundary = boundary
        self._items = items
        self._caps = tuple(item.count for item in items)
        self._budget = budget
        self._gpus: dict[tuple[object, bool | None], _Table] = {}
        self._nodes: dict[tuple[object, ...], _Table] = {}

    def join(self, left: _Table, right: _Table) -> _Table:
        """Return the combinations of two partial plans that place no more items of a type than there are."""
        joined: _Table = {}
        for first, (cost, backpointer) in left.items():
            self._budget.take(len(right))
            for second, (extra, second_pointer) in right.items():
                vector = tuple(map(int.__add__, first, second))
                if any(map(int.__gt__, vector, self._caps)):
                    continue
                total = cost.plus(extra)
                if vector not in joined or total < joined[vector][0]:
                    joined[vector] = total, (backpointer, second_pointer)
        return joined

    def node(self, node: str, gpus: Sequence[FleetGpu]) -> _Table:
        """Return the plans of one node that respect the spread limits."""
        stopped = self._boundary.reconfigured_nodes.get(node)
        held, current = (
            Counter(by_node.get(node, ()))
            for by_node in (self._boundary.pods_elsewhere, self._boundary.current_pods_elsewhere)
        )
        key = tuple(_gpu_key(gpu) for gpu in gpus), stopped, tuple(sorted(held.items())), tuple(sorted(current.items()))
        if key not in self._nodes:
            table: _Table = {}
            if self._scope != "node":
                table = self._all(gpus, stopped=None)
            elif not stopped:
                table = self._all(gpus, stopped=False)
            if self._scope == "node" and stopped is not False and not any(s.pinned for g in gpus for s in g.instances):
                for vector, result in self._all(gpus, stopped=True).items():
                    if vector not in table or result[0] < table[vector][0]:
                        table[vector] = result
            for instance in (instance for gpu in gpus for instance in gpu.instances if instance.demand):
                current[instance.demand] += 1
                held[instance.demand] += instance.pinned
            self._nodes[key] = {
                vector: result for vector, result in table.items() if self._within_spread_limits(vector, current, held)
            }
        return self._nodes[key]

    def _all(self, gpus: Sequence[FleetGpu], *, stopped: bool | None) -> _Table:
        table: _Table = {(0,) * len(self._caps): (_NOTHING, None)}
        for gpu in gpus:
            table = self.join(table, self._gpu(gpu, stopped))
        return table

    def _within_spread_limits(self, vector: Vector, current: Counter[str], fixed: Counter[str]) -> bool:
        """Return whether the node respects each limit, or at least holds no more pods than today."""
        held = Counter(fixed)
        limits: dict[str, int] = {}
        for count, item in zip(vector, self._items, strict=True):
            held[item.name] += count
            if item.limit is not None:
                limits[item.name] = max(item.limit, current[item.name])
        return all(held[name] <= limit for name, limit in limits.items())

    def _gpu(self, gpu: FleetGpu, stopped: bool | None) -> _Table:
        key = _gpu_key(gpu), stopped
        if key not in self._gpus:
            table: _Table = {}
            profile_limits: Counter[str] = Counter()
            for item in self._items:
                if gpu.model in item.profiles:
                    profile_limits[item.profiles[gpu.model]] += item.count
            for pattern in make_patterns(gpu, profile_limits, self._scope, self._budget, stopped=stopped):
                for items in self._assignments(gpu.model, pattern):
                    vector = self._vector(gpu.model, pattern, items)
                    if any(map(int.__gt__, vector, self._caps)):
                        continue
                    if vector not in table or pattern.cost < table[vector][0]:
                        table[vector] = pattern.cost, _GpuChoice(pattern, items)
            self._gpus[key] = table
        return self._gpus[key]

    def _assignments(self, model: str, pattern: Pattern) -> Iterator[Vector]:
        """Yield the assignments of added instances to item types, up to permutations of equal instances."""
        by_profile: dict[str, list[int]] = {}
        for place, (_, profile) in enumerate(pattern.added):
            by_profile.setdefault(profile, []).append(place)
        ways = [
            itertools.combinations_with_replacement(
                [index for index, item in enumerate(self._items) if item.profiles.get(model) == profile], len(places)
            )
            for profile, places in by_profile.items()
        ]
        for way in itertools.product(*ways):
            self._budget.take(1)
            result = [0] * len(pattern.added)
            for places, given in zip(by_profile.values(), way, strict=True):
                for place, item in zip(places, given, strict=True):
                    result[place] = item
            yield tuple(result)

    def _vector(self, model: str, pattern: Pattern, items: Vector) -> Vector:
        counts = [0] * len(self._items)
        for index in items:
            counts[index] += 1
        for instance in pattern.staying:
            if not instance.pinned:
                counts[self._group(model, instance)] += 1
        return tuple(counts)

    def _group(self, model: str, instance: Instance) -> int:
        return next(
            index
            for index, item in enumerate(self._items)
            if item.priority is None and item.name == instance.demand and item.profiles.get(model) == instance.profile
        )


def _gpu_key(gpu: FleetGpu) -> tuple[str, tuple[tuple[int, str, bool, bool, str], ...]]:
    """Return a key that is equal for GPUs that differ only in the names of GPU, node and pods."""
    return gpu.model, tuple((s.start, s.profile, bool(s.pod), s.pinned, s.demand) for s in sorted(gpu.instances))


def _choices_of(backpointer: _Backpointer) -> Iterator[_GpuChoice]:
    stack = [backpointer]
    while stack:
        at = stack.pop()
        if isinstance(at, _GpuChoice):
            yield at
        elif at is not None:
            stack.extend((at[1], at[0]))


def _build_gpus(
    gpus: Sequence[FleetGpu], choices: Sequence[_GpuChoice], items: Sequence[Item], boundary: Boundary
) -> Iterator[FleetGpu]:
    """Turn patterns, which equal GPUs share, into instances with pod names."""
    retained: list[list[Instance]] = []
    relocated: dict[tuple[str, str, str], list[str]] = {}
    for gpu, result in zip(gpus, choices, strict=True):
        staying = {(instance.start, instance.profile) for instance in result.pattern.staying}
        retained.append([instance for instance in gpu.instances if (instance.start, instance.profile) in staying])
        for instance in sorted(gpu.instances):
            if instance.pod and (instance.start, instance.profile) not in staying:
                relocated.setdefault((gpu.model, instance.profile, instance.demand), []).append(instance.pod)
    for kind, pods in boundary.incoming_pods.items():
        relocated.setdefault(kind, []).extend(pods)
    for gpu, result, instances in zip(gpus, choices, retained, strict=True):
        for (start, profile), index in zip(result.pattern.added, result.items, strict=True):
            item = items[index]
            pod = relocated[gpu.model, profile, item.name].pop(0) if item.priority is None else ""
            instances.append(Instance(start, profile, pod, item.name))
        yield keep_idle_instances(gpu, instances)
