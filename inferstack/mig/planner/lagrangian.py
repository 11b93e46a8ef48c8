"""Lower bounds on fragmentation and reconfigured GPUs, by Lagrangian relaxation.

Among the plans that serve as many instances of each class, no GPU costs less than its cheapest pattern when each placed
item earns its price (multiplier), and the prices of all items together are added back. *Any* prices give a valid bound
(Held and Karp, "The traveling-salesman problem and minimum spanning trees: Part II", Mathematical Programming 1, 1971).
Better prices are sought by subgradient steps of Polyak's step length towards the cost of the current plan; the number
of steps is fixed. Spread limits and the competition of demands of one class for the same placements are relaxed.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inferstack.mig import catalogue
from inferstack.mig.fleet import Fleet, FleetGpu, Instance
from inferstack.mig.planner.exact import Item
from inferstack.mig.planner.lp_bound import PRICE_UNIT, candidate_prices, item_limits
from inferstack.mig.planner.model import Budget
from inferstack.mig.planner.objective import locked_gpus
from inferstack.mig.planner.patterns import Cost, make_patterns

_PATTERN_BUDGET = 1_000_000
"""Budget steps to generate all patterns of one GPU. No GPU model needs more than 3,000."""
_PATIENCE = 4
"""Rounds without a better bound after which the step length is halved."""
_MAX_ROUNDS = 60
_MAX_EVALUATIONS = 60_000
"""Pattern evaluations in all rounds together."""
Placements = tuple[tuple[int, str], ...]
Counts = tuple[tuple[str, int], ...]
"""Instances by profile."""


@dataclass(frozen=True)
class _GpuClass:
    """GPUs with the same choice of patterns."""

    model: str
    pinned: Placements
    present: Placements
    """Instances without a pinned pod, if they matter."""
    fixed: bool
    """Whether only present instances can be used."""


_Choices = tuple[tuple[int, Counts], ...]
"""Cost and instances of each choice, pinned ones excluded."""


def cost_lower_bounds(
    fleet: Fleet, items: Sequence[Item], served: Mapping[int, int], cost: Cost
) -> tuple[Cost, dict[str, dict[str, int]]]:
    """Return lower bounds on the cost of all plans that serve as much, and the dual prices of the last bound.

    Args:
        fleet: the current fleet.
        items: from `inferstack.mig.planner.exact.make_items`.
        served: served instances by priority class, in some plan.
        cost: the cost of that plan.

    Returns:
        The bounds, and by GPU model and profile the dual price of one instance in reconfigured GPUs, in units of
        1/`PRICE_UNIT`.
    """
    gpu_models = {gpu.model for gpu in fleet.gpus}
    profiles_by_model = {
        gpu_model: frozenset(w.profiles[gpu_model] for w in items if gpu_model in w.profiles)
        for gpu_model in gpu_models
    }
    totals = _ItemTotals(items, item_limits(fleet, items), served)
    results = []
    prices = [0] * len(items)
    for created, choices, target in (
        (False, _fragmentation_choices, cost.fragmentation),
        (True, _creation_choices, cost.reconfigured),
    ):
        gpu_classes = _gpu_classes(fleet, created=created) if target else Counter()
        rows = [
            (count, gpu_class.model, choices(gpu_class, profiles_by_model[gpu_class.model]))
            for gpu_class, count in gpu_classes.items()
        ]
        bound, prices = _bound(totals, rows, target)
        results.append(bound)
    dual_prices = {
        gpu_model: {name: price for name, (price, _) in _best_prices(gpu_model, items, prices).items()}
        for gpu_model in gpu_models
    }
    return Cost(results[0], results[1], 0), dual_prices


def _gpu_classes(fleet: Fleet, *, created: bool) -> Counter[_GpuClass]:
    fixed = locked_gpus(fleet, only_pinned=True)
    results: Counter[_GpuClass] = Counter()
    for gpu in fleet.gpus:
        pinned = tuple(sorted((instance.start, instance.profile) for instance in gpu.instances if instance.pinned))
        present = tuple(sorted((instance.start, instance.profile) for instance in gpu.instances if not instance.pinned))
        fixed_gpu = gpu.name in fixed
        results[_GpuClass(gpu.model, pinned, present if created or fixed_gpu else (), fixed_gpu)] += 1
    return results


@functools.lru_cache(maxsize=4096)
def _fragmentation_choices(gpu_class: _GpuClass, profiles_by_model: frozenset[str]) -> _Choices:
    """Return the sets of instances that fit beside the pinned ones, each with its least fragmentation."""
    pinned = tuple(Instance(start, name, f"pod-{start}", pinned=True) for start, name in gpu_class.pinned)
    idle = tuple(Instance(start, name) for start, name in gpu_class.present)
    profiles = catalogue.gpu(gpu_class.model).profiles
    results = make_patterns(
        FleetGpu("any", "any", gpu_class.model, (*pinned, *idle)),
        {name: profiles[name].max_count for name in sorted(profiles_by_model)},
        "node" if gpu_class.fixed else "instance",
        Budget(_PATTERN_BUDGET),
        stopped=False if gpu_class.fixed else None,
    )
    best: dict[Counts, int] = {}
    for pattern in results:
        counts = tuple(sorted(Counter(name for _, name in pattern.added).items()))
        best[counts] = min(best.get(counts, pattern.cost.fragmentation), pattern.cost.fragmentation)
    return tuple((cost, counts) for counts, cost in best.items())


@functools.lru_cache(maxsize=4096)
def _creation_choices(gpu_class: _GpuClass, profiles_by_model: frozenset[str]) -> _Choices:
    """Return the same sets, each with cost 1 if an instance must be created and 0 otherwise."""
    present = Counter(name for _, name in gpu_class.present)
    bare = _GpuClass(gpu_class.model, gpu_class.pinned, gpu_class.present if gpu_class.fixed else (), gpu_class.fixed)
    return tuple(
        (int(any(n > present[name] for name, n in counts)), counts)
        for _, counts in _fragmentation_choices(bare, profiles_by_model)
    )


class _ItemTotals:
    """The placed items of each type, constrained only by the sum of each priority class."""

    def __init__(self, items: Sequence[Item], caps: Sequence[int], served: Mapping[int, int]) -> None:
        self.items = items
        self._limits = caps
        self._served = served

    def cheapest(self, prices: Sequence[int]) -> list[int]:
        """Return the count of each item that minimises the sum of these prices."""
        counts = [item.count if item.priority is None else 0 for item in self.items]
        left = dict(self._served)
        for index in sorted(range(len(self.items)), key=lambda index: (prices[index], index)):
            priority = self.items[index].priority
            if priority is not None:
                counts[index] = min(self._limits[index], left.get(priority, 0))
                left[priority] = left.get(priority, 0) - counts[index]
        return counts


def _bound(totals: _ItemTotals, gpu_classes: Sequence[tuple[int, str, _Choices]], target: int) -> tuple[int, list[int]]:
    """Return the best bound of all rounds, at most ``target``, and its prices by item."""
    best, subgradient, prices = max(
        (*_value(totals, gpu_classes, prices), prices) for prices in candidate_prices(totals.items)
    )
    chosen = prices
    stalled_rounds, step_scale = 0, 1.0
    value = best
    for _ in range(
        max(2, min(_MAX_ROUNDS, _MAX_EVALUATIONS // max(1, sum(len(choices) for _, _, choices in gpu_classes))))
    ):
        norm = sum(component * component for component in subgradient)
        if -(-best // PRICE_UNIT) >= target or not norm:
            break
        step = step_scale * (target * PRICE_UNIT - value) / norm
        prices = [price + round(step * component) for price, component in zip(prices, subgradient, strict=True)]
        value, subgradient = _value(totals, gpu_classes, prices)
        if value > best:
            best, stalled_rounds, chosen = value, 0, prices
        elif (stalled_rounds := stalled_rounds + 1) >= _PATIENCE:
            step_scale, stalled_rounds = step_scale / 2, 0
    return min(-(-best // PRICE_UNIT), target), chosen


def _value(
    totals: _ItemTotals, gpu_classes: Sequence[tuple[int, str, _Choices]], prices: Sequence[int]
) -> tuple[int, list[int]]:
    """Return the bound of one price vector, in units of 1/`PRICE_UNIT`, and its subgradient by item."""
    subgradient = totals.cheapest(prices)
    value = sum(map(int.__mul__, prices, subgradient))
    best_prices: dict[str, dict[str, tuple[int, int]]] = {}
    for count, model, choices in gpu_classes:
        if model not in best_prices:
            best_prices[model] = _best_prices(model, totals.items, prices)
        cost, counts = _cheapest_choice(choices, best_prices[model])
        value += count * cost
        for name, number in counts:
            subgradient[best_prices[model][name][1]] -= count * number
    return value, subgradient


def _best_prices(model: str, items: Sequence[Item], prices: Sequence[int]) -> dict[str, tuple[int, int]]:
    """Return the highest price of an instance of each profile, and the index of its item."""
    best_prices: dict[str, tuple[int, int]] = {}
    for index, (item, price) in enumerate(zip(items, prices, strict=True)):
        name = item.profiles.get(model)
        if name is not None and (name not in best_prices or price > best_prices[name][0]):
            best_prices[name] = price, index
    return best_prices


def _cheapest_choice(choices: _Choices, best_prices: Mapping[str, tuple[int, int]]) -> tuple[int, Counts]:
    return min(
        (cost * PRICE_UNIT - sum(best_prices[name][0] * number for name, number in counts), counts)
        for cost, counts in choices
    )
