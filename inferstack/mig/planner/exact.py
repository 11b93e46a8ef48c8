"""The best plan of all, by dynamic programming over nodes.

A partial plan is judged by how many seats it gives to each *want*: to a demand, or to a group of equal movable pods, of
which every one must keep a seat. Of two partial plans over the same nodes with the same seats the cheaper one is kept;
the costs (fragmentation, reconfigured GPUs, moved pods) add up and are compared lexicographically, so nothing better
is lost. Equal GPUs and equal nodes share one table. The number of seat vectors grows with the product of the counts,
so this is for small fleets; the budget ends it elsewhere.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from inferstack.mig.planner.model import Budget, Demand, Fleet, FleetGpu, Instance, OutOfBudgetError, Scope
from inferstack.mig.planner.patterns import Cost, Pattern, Vector, patterns, settle


@dataclass(frozen=True)
class Want:
    """Equal seats that are wanted, and on which board by which profile."""

    name: str
    """Of the demand; may be empty for pods."""
    profiles: Mapping[str, str]
    """Profile by board."""
    count: int
    priority: int | None
    """None for pods that run: all of them must have a seat."""
    limit: int | None
    """Most pods of the demand on one node."""


@dataclass(frozen=True)
class _Chosen:
    """One GPU in a partial plan: its pattern and the want of each coming instance."""

    pattern: Pattern
    wants: Vector


_Trail = tuple["_Trail", "_Trail"] | _Chosen | None
_Table = dict[Vector, tuple[Cost, _Trail]]
_NOTHING = Cost(0, 0, 0)


def wants_of(fleet: Fleet, demands: Sequence[Demand]) -> list[Want]:
    """Return the groups of movable pods, then the demands from the highest priority down."""
    boards = sorted({gpu.model for gpu in fleet.gpus})
    limits = {demand.name: demand.max_per_node for demand in demands}
    groups = Counter(
        (gpu.model, seat.profile, seat.demand)
        for gpu in fleet.gpus
        for seat in gpu.instances
        if seat.pod and not seat.pinned
    )
    found = [
        Want(name, {board: profile}, count, None, limits.get(name))
        for (board, profile, name), count in sorted(groups.items())
    ]
    for demand in sorted(demands, key=lambda demand: (-demand.priority, demand.name)):
        on = {board: demand.on(board) for board in boards}
        kinds = {board: profile for board, profile in on.items() if profile}
        found.append(Want(demand.name, kinds, demand.count, demand.priority, demand.max_per_node))
    return found


@dataclass(frozen=True)
class Around:
    """What has to be known of the rest where only a part of a fleet is planned."""

    held: Mapping[str, Counter[str]] = field(default_factory=dict)
    """Pods by demand that a node holds elsewhere, by node."""
    now: Mapping[str, Counter[str]] = field(default_factory=dict)
    """Pods by demand that a node holds elsewhere today, by node."""
    stopped: Mapping[str, bool] = field(default_factory=dict)
    """Nodes of which it is settled whether they are reconfigured; of the scope ``node`` only."""
    pods: Mapping[tuple[str, str, str], Sequence[str]] = field(default_factory=dict)
    """Pods that come from elsewhere, by board, profile and demand; the wants count them."""


ALONE = Around()


def solve(fleet: Fleet, demands: Sequence[Demand], budget: Budget) -> Fleet:
    """Return the best fleet.

    Raises:
        OutOfBudgetError: the budget was used up before the end, or there are more seat vectors than it has steps.
    """
    return search(fleet, wants_of(fleet, demands), budget, ALONE)


def search(fleet: Fleet, wants: Sequence[Want], budget: Budget, around: Around) -> Fleet:
    """Return the best fleet, as `solve`, for wants and as a part of a larger fleet.

    Raises:
        OutOfBudgetError: as for `solve`, or not every pod can have a seat here.
    """
    # Without this, a search that cannot end would use up the whole budget first.
    if math.prod(want.count + 1 for want in wants if want.profiles) > budget.left:
        raise OutOfBudgetError
    nodes: dict[str, list[FleetGpu]] = {}
    for gpu in fleet.gpus:
        nodes.setdefault(gpu.node, []).append(gpu)
    solver = _Solver(fleet.scope, wants, budget, around)
    total: _Table = {(0,) * len(wants): (_NOTHING, None)}
    for node, gpus in nodes.items():
        total = solver.join(total, solver.node(node, gpus))
    complete = [vector for vector in total if _complete(vector, wants)]
    if not complete:
        raise OutOfBudgetError
    vector = min(complete, key=lambda vector: (_served(vector, wants), total[vector][0], vector))
    chosen = list(_walk(total[vector][1]))
    order = [gpu for gpus in nodes.values() for gpu in gpus]
    after = {gpu.name: gpu for gpu in _seat(order, chosen, wants, around)}
    return Fleet(tuple(after[gpu.name] for gpu in fleet.gpus), fleet.scope)


def _complete(vector: Vector, wants: Sequence[Want]) -> bool:
    return all(count == want.count for count, want in zip(vector, wants, strict=True) if want.priority is None)


def _served(vector: Vector, wants: Sequence[Want]) -> Vector:
    by_class: Counter[int] = Counter()
    for count, want in zip(vector, wants, strict=True):
        if want.priority is not None:
            by_class[want.priority] -= count
    return tuple(by_class[priority] for priority in sorted(by_class, reverse=True))


class _Solver:
    def __init__(self, scope: Scope, wants: Sequence[Want], budget: Budget, around: Around) -> None:
        self._scope = scope
        self._around = around
        self._wants = wants
        self._caps = tuple(want.count for want in wants)
        self._budget = budget
        self._gpus: dict[tuple[object, bool | None], _Table] = {}
        self._nodes: dict[tuple[object, ...], _Table] = {}

    def join(self, left: _Table, right: _Table) -> _Table:
        """Return every combination of two partial plans that gives no want more seats than it has."""
        joined: _Table = {}
        for one, (cost, trail) in left.items():
            self._budget.take(len(right))
            for two, (more, other) in right.items():
                vector = tuple(map(int.__add__, one, two))
                if any(map(int.__gt__, vector, self._caps)):
                    continue
                total = cost.plus(more)
                if vector not in joined or total < joined[vector][0]:
                    joined[vector] = total, (trail, other)
        return joined

    def node(self, node: str, gpus: Sequence[FleetGpu]) -> _Table:
        """Return the plans of one node that keep the spread limits."""
        stopped = self._around.stopped.get(node)
        held, now = (Counter(by_node.get(node, ())) for by_node in (self._around.held, self._around.now))
        key = tuple(_key(gpu) for gpu in gpus), stopped, tuple(sorted(held.items())), tuple(sorted(now.items()))
        if key not in self._nodes:
            table: _Table = {}
            if self._scope != "node":
                table = self._all(gpus, stopped=None)
            elif not stopped:
                table = self._all(gpus, stopped=False)
            if self._scope == "node" and stopped is not False and not any(s.pinned for g in gpus for s in g.instances):
                for vector, found in self._all(gpus, stopped=True).items():
                    if vector not in table or found[0] < table[vector][0]:
                        table[vector] = found
            for seat in (seat for gpu in gpus for seat in gpu.instances if seat.demand):
                now[seat.demand] += 1
                held[seat.demand] += seat.pinned
            self._nodes[key] = {vector: found for vector, found in table.items() if self._spread(vector, now, held)}
        return self._nodes[key]

    def _all(self, gpus: Sequence[FleetGpu], *, stopped: bool | None) -> _Table:
        table: _Table = {(0,) * len(self._caps): (_NOTHING, None)}
        for gpu in gpus:
            table = self.join(table, self._gpu(gpu, stopped))
        return table

    def _spread(self, vector: Vector, now: Counter[str], fixed: Counter[str]) -> bool:
        """A node keeps the limit, or holds no more than today."""
        held = Counter(fixed)
        limits: dict[str, int] = {}
        for count, want in zip(vector, self._wants, strict=True):
            held[want.name] += count
            if want.limit is not None:
                limits[want.name] = max(want.limit, now[want.name])
        return all(held[name] <= limit for name, limit in limits.items())

    def _gpu(self, gpu: FleetGpu, stopped: bool | None) -> _Table:
        key = _key(gpu), stopped
        if key not in self._gpus:
            table: _Table = {}
            asked: Counter[str] = Counter()
            for want in self._wants:
                if gpu.model in want.profiles:
                    asked[want.profiles[gpu.model]] += want.count
            for pattern in patterns(gpu, asked, self._scope, self._budget, stopped=stopped):
                for wants in self._labels(gpu.model, pattern):
                    vector = self._vector(gpu.model, pattern, wants)
                    if any(map(int.__gt__, vector, self._caps)):
                        continue
                    if vector not in table or pattern.cost < table[vector][0]:
                        table[vector] = pattern.cost, _Chosen(pattern, wants)
            self._gpus[key] = table
        return self._gpus[key]

    def _labels(self, model: str, pattern: Pattern) -> Iterator[Vector]:
        """Yield the ways to give the coming instances to wants; which of two equal instances it is does not matter."""
        by_profile: dict[str, list[int]] = {}
        for place, (_, profile) in enumerate(pattern.come):
            by_profile.setdefault(profile, []).append(place)
        ways = [
            itertools.combinations_with_replacement(
                [index for index, want in enumerate(self._wants) if want.profiles.get(model) == profile], len(places)
            )
            for profile, places in by_profile.items()
        ]
        for way in itertools.product(*ways):
            self._budget.take(1)
            found = [0] * len(pattern.come)
            for places, given in zip(by_profile.values(), way, strict=True):
                for place, want in zip(places, given, strict=True):
                    found[place] = want
            yield tuple(found)

    def _vector(self, model: str, pattern: Pattern, wants: Vector) -> Vector:
        counts = [0] * len(self._wants)
        for index in wants:
            counts[index] += 1
        for seat in pattern.stay:
            if not seat.pinned:
                counts[self._group(model, seat)] += 1
        return tuple(counts)

    def _group(self, model: str, seat: Instance) -> int:
        return next(
            index
            for index, want in enumerate(self._wants)
            if want.priority is None and want.name == seat.demand and want.profiles.get(model) == seat.profile
        )


def _key(gpu: FleetGpu) -> tuple[str, tuple[tuple[int, str, bool, bool, str], ...]]:
    """Return what makes two GPUs equal: all but the names of GPU, node and pods."""
    return gpu.model, tuple((s.start, s.profile, bool(s.pod), s.pinned, s.demand) for s in sorted(gpu.instances))


def _walk(trail: _Trail) -> Iterator[_Chosen]:
    stack = [trail]
    while stack:
        at = stack.pop()
        if isinstance(at, _Chosen):
            yield at
        elif at is not None:
            stack.extend((at[1], at[0]))


def _seat(
    gpus: Sequence[FleetGpu], chosen: Sequence[_Chosen], wants: Sequence[Want], around: Around
) -> Iterator[FleetGpu]:
    """Turn patterns, which equal GPUs share, into instances with the names of pods."""
    kept: list[list[Instance]] = []
    leaving: dict[tuple[str, str, str], list[str]] = {}
    for gpu, found in zip(gpus, chosen, strict=True):
        stay = {(seat.start, seat.profile) for seat in found.pattern.stay}
        kept.append([seat for seat in gpu.instances if (seat.start, seat.profile) in stay])
        for seat in sorted(gpu.instances):
            if seat.pod and (seat.start, seat.profile) not in stay:
                leaving.setdefault((gpu.model, seat.profile, seat.demand), []).append(seat.pod)
    for kind, pods in around.pods.items():
        leaving.setdefault(kind, []).extend(pods)
    for gpu, found, seats in zip(gpus, chosen, kept, strict=True):
        for (start, profile), index in zip(found.pattern.come, found.wants, strict=True):
            want = wants[index]
            pod = leaving[gpu.model, profile, want.name].pop(0) if want.priority is None else ""
            seats.append(Instance(start, profile, pod, want.name))
        yield settle(gpu, seats)
