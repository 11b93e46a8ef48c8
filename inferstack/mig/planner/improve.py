"""A better plan from a good one: small groups of GPUs are planned anew, exactly, as long as the budget lasts.

Large-neighbourhood search (Shaw, "Using Constraint Programming and Local Search Methods to Solve Vehicle Routing
Problems", CP 1998). A group is one to three GPUs that look different or alike and are broken up or have room; its pods,
what it serves and what nobody serves yet are given to the exact search. A result is kept where it is better by all
criteria in their order, so pods move where that pays. A kind of group that gave nothing is not looked at again. Under
the scope ``node`` a node that is settled to be reconfigured, or to stay as it is, remains so, and small nodes are also
planned anew as a whole.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from inferstack.mig import catalogue
from inferstack.mig.planner.exact import Around, Want, search
from inferstack.mig.planner.judge import evaluate, served_by
from inferstack.mig.planner.model import Budget, Demand, Fleet, FleetGpu, Instance, OutOfBudgetError
from inferstack.mig.planner.patterns import mask_of, reconfigured, use_of

_EACH = 12_000
"""Steps for one group."""
_KINDS = 9
"""Kinds of GPUs that groups are formed of."""
_TOGETHER = 3
_WHOLE = 4
"""GPUs of the largest node that is planned anew as a whole."""

Look = tuple[object, ...]


def improve(before: Fleet, after: Fleet, demands: Sequence[Demand], budget: Budget) -> Fleet:
    """Return a plan that is as good as ``after`` or better.

    Args:
        before: the fleet as it is.
        after: a plan for it.
        demands: what is wanted.
        budget: is used up, unless no group is left that could be better.
    """
    work = _Work(before, after, demands)
    tried: set[object] = set()
    better = False
    while budget.left > 0:
        group = next(((found, sign) for found in work.groups() if (sign := work.sign(found)) not in tried), None)
        if group is None:
            break
        part = budget.part(_EACH)
        try:
            part.take(1)
            done = work.plan(group[0], part)
        except OutOfBudgetError:
            done = False
        better |= done
        if not done:
            tried.add(group[1])
    return Fleet(tuple(work.gpus), after.scope) if better else after


class _Work:
    """The plan as it is by now."""

    def __init__(self, before: Fleet, after: Fleet, demands: Sequence[Demand]) -> None:
        self.gpus = list(after.gpus)
        self._old = before.gpus
        self._scope = before.scope
        self._demands = demands
        self._limits = {demand.name: demand.max_per_node for demand in demands if demand.max_per_node is not None}
        counts = served_by(after)
        self._left = {demand.name: demand.count - counts[demand.name] for demand in demands}
        self._nodes: dict[str, list[int]] = {}
        for index, gpu in enumerate(self._old):
            self._nodes.setdefault(gpu.node, []).append(index)
        self._home = {s.pod: index for index, gpu in enumerate(self._old) for s in gpu.instances if s.pod}
        self._names: dict[int, tuple[tuple[object, ...], ...]] = {}
        self._kept: list[tuple[Instance, ...]] = []
        # Nodes are settled at the start: what the plan reconfigures, or could without stopping a pod.
        self._stopped = {node: self._is_stopped(indexes) for node, indexes in self._nodes.items()}
        self._looks: dict[Look, dict[int, None]] = {}
        for index in range(len(self.gpus)):
            self._looks.setdefault(self._look(index), {})[index] = None

    def groups(self) -> Iterator[tuple[int, ...]]:
        """Yield groups of GPUs, the most promising first."""
        wanted = any(self._left.values())
        ranked = sorted(
            (look for look in self._looks if wanted or self._rank(look)[0] < 0),
            key=lambda look: (self._rank(look), next(iter(self._looks[look]))),
        )[:_KINDS]
        first = [index for look in ranked for index in itertools.islice(self._looks[look], _TOGETHER)]
        kind = {index: place for place, look in enumerate(ranked) for index in self._looks[look]}
        for size in range(1, _TOGETHER + 1):
            seen: set[tuple[int, ...]] = set()
            for group in itertools.combinations(first, size):
                kinds = tuple(kind[index] for index in group)
                if kinds not in seen:  # which of the GPUs that look alike does not matter
                    seen.add(kinds)
                    yield group
        if self._scope == "node":
            nodes = {self._old[index].node: None for index in first}
            yield from (tuple(self._nodes[node]) for node in nodes if len(self._nodes[node]) <= _WHOLE)

    def sign(self, group: Sequence[int]) -> object:
        """Return what decides whether planning a group anew is better."""
        limited = [(self._old[index].node, index) for index in group] if self._limits else []
        whole = self._is_whole(group)
        left = tuple(min(count, 8 * len(group)) for count in self._left.values())
        return tuple(sorted(map(repr, map(self._look, group)))), left, whole, tuple(limited)

    def plan(self, group: Sequence[int], budget: Budget) -> bool:
        """Plan a group anew; False where that is no better.

        Raises:
            OutOfBudgetError: it takes too long.
        """
        inside = set(group)
        now = [self.gpus[index] for index in group]
        part = [self._part(index, inside) for index in group]
        around = self._around(group, inside)
        found = search(Fleet(tuple(part), self._scope), self._wants(group), budget, around)
        old = tuple(self._old[index] for index in group)
        if self._key(old, found.gpus, around) >= self._key(old, tuple(now), around):
            return False
        for index in group:
            self._forget(index)
        for index, gpu in zip(group, found.gpus, strict=True):
            self._left = {
                name: n + _served(self.gpus[index], name) - _served(gpu, name) for name, n in self._left.items()
            }
            self.gpus[index] = gpu
        if self._is_whole(group):
            self._stopped[old[0].node] = self._is_stopped(group)
        for index in group:
            self._looks.setdefault(self._look(index), {})[index] = None
        return True

    def _forget(self, index: int) -> None:
        look = self._look(index)
        del self._looks[look][index]
        if not self._looks[look]:
            del self._looks[look]

    def _key(self, old: tuple[FleetGpu, ...], new: tuple[FleetGpu, ...], around: Around) -> tuple[object, ...]:
        found = evaluate(Fleet(old, self._scope), Fleet(new, self._scope), self._demands)
        if not around.stopped:
            return found.key
        # What the rest of the node does decides here over pods that stay.
        stays = {(gpu.name, seat) for gpu in new if not around.stopped[gpu.node] for seat in gpu.instances if seat.pod}
        moved = sum(bool(seat.pod) and (gpu.name, seat) not in stays for gpu in old for seat in gpu.instances)
        return (*found.key[:3], moved)

    def _is_stopped(self, indexes: Sequence[int]) -> bool:
        pods = any(seat.pod for index in indexes for seat in self._old[index].instances)
        return not pods or any(
            self._old[index] is not self.gpus[index] and reconfigured(self._old[index], self.gpus[index])
            for index in indexes
        )

    def _is_whole(self, group: Sequence[int]) -> bool:
        """Tell whether a group is one whole node, which may then be reconfigured or not."""
        node = self._old[group[0]].node
        return self._scope == "node" and len(group) <= _WHOLE and list(group) == self._nodes[node]

    def _part(self, index: int, inside: set[int]) -> FleetGpu:
        """Return a GPU of today, without the pods that the plan moves out of the group."""
        gpu = self._old[index]
        if all(self._stays_inside(seat, inside) for seat in gpu.instances):
            return gpu
        seats = (s if self._stays_inside(s, inside) else Instance(s.start, s.profile) for s in gpu.instances)
        return replace(gpu, instances=tuple(seats))

    def _stays_inside(self, seat: Instance, inside: set[int]) -> bool:
        return not seat.pod or any(s.pod == seat.pod for index in inside for s in self.gpus[index].instances)

    def _wants(self, group: Sequence[int]) -> list[Want]:
        """Return the pods that the plan has in the group, what it serves there, and what nobody serves."""
        pods: Counter[tuple[str, str, str]] = Counter()
        here: Counter[str] = Counter()
        for gpu in (self.gpus[index] for index in group):
            for seat in gpu.instances:
                if seat.pod and not seat.pinned:
                    pods[gpu.model, seat.profile, seat.demand] += 1
                elif seat.demand and not seat.pod:
                    here[seat.demand] += 1
        found = [
            Want(name, {board: profile}, count, None, self._limits.get(name))
            for (board, profile, name), count in sorted(pods.items())
        ]
        boards = sorted({self._old[index].model for index in group})
        for demand in sorted(self._demands, key=lambda demand: (-demand.priority, demand.name)):
            kinds = {board: profile for board in boards if (profile := demand.on(board))}
            most = sum(
                catalogue.gpu(self._old[index].model).profiles[kinds[self._old[index].model]].max_count
                for index in group
                if self._old[index].model in kinds
            )
            count = min(here[demand.name] + self._left[demand.name], most)
            if count:
                found.append(Want(demand.name, kinds, count, demand.priority, demand.max_per_node))
        return found

    def _around(self, group: Sequence[int], inside: set[int]) -> Around:
        nodes = {self._old[index].node for index in group}
        held: dict[str, Counter[str]] = {}
        today: dict[str, Counter[str]] = {}
        for node in nodes if self._limits else ():
            others = [self.gpus[index] for index in self._nodes[node] if index not in inside]
            held[node] = Counter(s.demand for gpu in others for s in gpu.instances if s.demand in self._limits)
            today[node] = Counter(
                seat.demand
                for index in self._nodes[node]
                for seat in self._old[index].instances
                if seat.demand in self._limits and not (index in inside and self._stays_inside(seat, inside))
            )
        pods: dict[tuple[str, str, str], list[str]] = {}
        for gpu in (self.gpus[index] for index in group):
            for seat in gpu.instances:
                if seat.pod and self._home[seat.pod] not in inside:
                    pods.setdefault((gpu.model, seat.profile, seat.demand), []).append(seat.pod)
        settled = self._scope == "node" and not self._is_whole(group)
        return Around(held, today, {node: self._stopped[node] for node in nodes} if settled else {}, pods)

    def _rank(self, look: Look) -> tuple[int, int]:
        gpu = self.gpus[next(iter(self._looks[look]))]
        mask, _ = mask_of(gpu.model, ((s.start, s.profile) for s in gpu.instances if not s.idle))
        return -use_of(gpu), mask.bit_count()

    def _look(self, index: int) -> Look:
        old, new = self._old[index], self.gpus[index]
        return old.model, self._kinds(old.instances), self._kinds(new.instances), self._stopped[old.node]

    def _kinds(self, seats: tuple[Instance, ...]) -> tuple[tuple[object, ...], ...]:
        """Return all of the instances but the names of pods; remembered, as many GPUs share them."""
        if id(seats) not in self._names:
            kinds = tuple((s.start, s.profile, bool(s.pod), s.pinned, s.demand) for s in seats)
            self._kept.append(seats)
            self._names[id(seats)] = kinds
        return self._names[id(seats)]


def _served(gpu: FleetGpu, demand: str) -> int:
    return sum(seat.demand == demand and not seat.pod for seat in gpu.instances)
