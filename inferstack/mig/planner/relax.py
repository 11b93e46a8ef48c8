"""What the criteria after the served ones cost at least: Lagrangian relaxation instead of a search.

Among the plans that serve as many instances of each class, no GPU costs less than its cheapest pattern, where each seat
is paid a price of its want, and these prices have to be paid for all seats together. *Any* prices give a valid bound
(Held and Karp, "The traveling-salesman problem and minimum spanning trees: Part II", Mathematical Programming 1, 1971);
better ones are sought by subgradient steps of Polyak's length towards the cost of the plan at hand, always the same
number of them. Spread limits, and that demands of one class compete for the same places, are kept only on the whole.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inferstack.mig import catalogue
from inferstack.mig.planner.bound import ONE, caps_of, weights
from inferstack.mig.planner.exact import Want
from inferstack.mig.planner.model import Budget, Fleet, FleetGpu, Instance
from inferstack.mig.planner.patterns import Cost, locked, patterns

_ENOUGH = 1_000_000
"""Steps to look at all patterns of one GPU: no board needs 3,000."""
_PATIENCE = 4
"""Rounds without a better bound, after which steps are halved."""
_ROUNDS = 60
_LOOKS = 60_000
"""Patterns that are looked at in all rounds together."""
Seats = tuple[tuple[int, str], ...]
Counts = tuple[tuple[str, int], ...]
"""Instances by profile."""


@dataclass(frozen=True)
class _Kind:
    """GPUs that have the same choice."""

    model: str
    pinned: Seats
    present: Seats
    """Instances without a pinned pod, where they matter."""
    fixed: bool
    """Only present instances can be used."""


_Ways = tuple[tuple[int, Counts], ...]
"""Cost and instances of each choice, without the pinned ones."""


def least(
    fleet: Fleet, wants: Sequence[Want], served: Mapping[int, int], cost: Cost
) -> tuple[Cost, dict[str, dict[str, int]]]:
    """Return a bound for each of the later criteria that no plan which serves as much can be below.

    And, by board and profile, what one instance is worth in reconfigured GPUs, in units of `ONE`.

    Args:
        fleet: the fleet as it is.
        wants: as from `inferstack.mig.planner.exact.wants_of`.
        served: instances by priority class, as served by a plan.
        cost: what that plan costs.
    """
    boards = {gpu.model for gpu in fleet.gpus}
    asked = {board: frozenset(w.profiles[board] for w in wants if board in w.profiles) for board in boards}
    sums = _Sums(wants, caps_of(fleet, wants), served)
    found = []
    prices = [0] * len(wants)
    for created, ways, goal in ((False, _ways, cost.fragmentation), (True, _made, cost.reconfigured)):
        kinds = _kinds(fleet, created=created) if goal else Counter()
        rows = [(count, kind.model, ways(kind, asked[kind.model])) for kind, count in kinds.items()]
        bound, prices = _bound(sums, rows, goal)
        found.append(bound)
    worth = {board: {name: price for name, (price, _) in _dearest(board, wants, prices).items()} for board in boards}
    return Cost(found[0], found[1], 0), worth


def _kinds(fleet: Fleet, *, created: bool) -> Counter[_Kind]:
    fixed = locked(fleet, only_pinned=True)
    found: Counter[_Kind] = Counter()
    for gpu in fleet.gpus:
        pinned = tuple(sorted((seat.start, seat.profile) for seat in gpu.instances if seat.pinned))
        present = tuple(sorted((seat.start, seat.profile) for seat in gpu.instances if not seat.pinned))
        is_fixed = gpu.name in fixed
        found[_Kind(gpu.model, pinned, present if created or is_fixed else (), is_fixed)] += 1
    return found


@functools.lru_cache(maxsize=4096)
def _ways(kind: _Kind, asked: frozenset[str]) -> _Ways:
    """Return the sets of instances that can be beside the pinned ones, with the least fragmentation of each."""
    pinned = tuple(Instance(start, name, f"pod-{start}", pinned=True) for start, name in kind.pinned)
    idle = tuple(Instance(start, name) for start, name in kind.present)
    profiles = catalogue.gpu(kind.model).profiles
    found = patterns(
        FleetGpu("any", "any", kind.model, (*pinned, *idle)),
        {name: profiles[name].max_count for name in sorted(asked)},
        "node" if kind.fixed else "instance",
        Budget(_ENOUGH),
        stopped=False if kind.fixed else None,
    )
    best: dict[Counts, int] = {}
    for pattern in found:
        counts = tuple(sorted(Counter(name for _, name in pattern.come).items()))
        best[counts] = min(best.get(counts, pattern.cost.fragmentation), pattern.cost.fragmentation)
    return tuple((cost, counts) for counts, cost in best.items())


@functools.lru_cache(maxsize=4096)
def _made(kind: _Kind, asked: frozenset[str]) -> _Ways:
    """Return the same sets, with 1 where an instance has to be created."""
    present = Counter(name for _, name in kind.present)
    bare = _Kind(kind.model, kind.pinned, kind.present if kind.fixed else (), kind.fixed)
    return tuple((int(any(n > present[name] for name, n in counts)), counts) for _, counts in _ways(bare, asked))


class _Sums:
    """How many seats each want has in all, as far as a class's sum says so."""

    def __init__(self, wants: Sequence[Want], caps: Sequence[int], served: Mapping[int, int]) -> None:
        self.wants = wants
        self._caps = caps
        self._served = served

    def cheapest(self, prices: Sequence[int]) -> list[int]:
        """Return the seats of each want for which these prices cost least."""
        counts = [want.count if want.priority is None else 0 for want in self.wants]
        left = dict(self._served)
        for index in sorted(range(len(self.wants)), key=lambda index: (prices[index], index)):
            priority = self.wants[index].priority
            if priority is not None:
                counts[index] = min(self._caps[index], left.get(priority, 0))
                left[priority] = left.get(priority, 0) - counts[index]
        return counts


def _bound(sums: _Sums, kinds: Sequence[tuple[int, str, _Ways]], goal: int) -> tuple[int, list[int]]:
    """Return the best bound that the rounds find, at most ``goal``, and its prices by want."""
    best, slope, prices = max((*_value(sums, kinds, prices), prices) for prices in weights(sums.wants))
    chosen = prices
    since, length = 0, 1.0
    value = best
    for _ in range(max(2, min(_ROUNDS, _LOOKS // max(1, sum(len(ways) for _, _, ways in kinds))))):
        square = sum(one * one for one in slope)
        if -(-best // ONE) >= goal or not square:
            break
        step = length * (goal * ONE - value) / square
        prices = [price + round(step * one) for price, one in zip(prices, slope, strict=True)]
        value, slope = _value(sums, kinds, prices)
        if value > best:
            best, since, chosen = value, 0, prices
        elif (since := since + 1) >= _PATIENCE:
            length, since = length / 2, 0
    return min(-(-best // ONE), goal), chosen


def _value(sums: _Sums, kinds: Sequence[tuple[int, str, _Ways]], prices: Sequence[int]) -> tuple[int, list[int]]:
    """Return the bound of one set of prices, in units of `ONE`, and by how much each want has more seats than taken."""
    slope = sums.cheapest(prices)
    value = sum(map(int.__mul__, prices, slope))
    dear: dict[str, dict[str, tuple[int, int]]] = {}
    for count, model, ways in kinds:
        if model not in dear:
            dear[model] = _dearest(model, sums.wants, prices)
        cost, counts = _cheapest(ways, dear[model])
        value += count * cost
        for name, number in counts:
            slope[dear[model][name][1]] -= count * number
    return value, slope


def _dearest(model: str, wants: Sequence[Want], prices: Sequence[int]) -> dict[str, tuple[int, int]]:
    """Return the best price for an instance of each profile, and the want that pays it."""
    dear: dict[str, tuple[int, int]] = {}
    for index, (want, price) in enumerate(zip(wants, prices, strict=True)):
        name = want.profiles.get(model)
        if name is not None and (name not in dear or price > dear[name][0]):
            dear[name] = price, index
    return dear


def _cheapest(ways: _Ways, dear: Mapping[str, tuple[int, int]]) -> tuple[int, Counts]:
    return min((cost * ONE - sum(dear[name][0] * number for name, number in counts), counts) for cost, counts in ways)
