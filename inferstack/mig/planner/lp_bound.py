"""Upper bounds on the served demand, by weak duality of the cutting stock linear programme.

See Gilmore and Gomory, "A Linear Programming Approach to the Cutting-Stock Problem", Operations Research 9, 1961. Put a
price on one instance of each item type. No GPU can carry more value than its most valuable pattern. The sum of these
values, plus the value of each item beyond its price, is never less than the served demand. *Every* price vector gives a
valid bound; a few dozen candidates are tried and the lowest bound is kept. Running pods and the higher priority classes
must be carried too, so their price is subtracted. Spread limits only cap the counts, and compute slices are ignored:
both can only loosen the bound.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from inferstack.mig import catalogue
from inferstack.mig.fleet import Fleet
from inferstack.mig.fragmentation import used_slices
from inferstack.mig.planner.exact import Item
from inferstack.mig.planner.objective import locked_gpus

PRICE_UNIT = 840
"""Value of one instance: a multiple of 1 to 8, so that fractions of an instance stay integers."""


@dataclass(frozen=True)
class _GpuClass:
    """GPUs that can carry the same patterns."""

    model: str
    mask: int
    """Memory slices of pinned pods."""
    only: tuple[str, ...] | None
    """Profiles of the instances without a pinned pod, if no instance can be created; else None."""


def served_upper_bounds(fleet: Fleet, items: Sequence[Item], served: Mapping[str, int]) -> tuple[int, ...]:
    """Return an upper bound for each priority class, from the highest down, given how the higher classes are served.

    Args:
        fleet: the current fleet.
        items: from `inferstack.mig.planner.exact.make_items`.
        served: served instances by demand, in some plan.
    """
    gpu_classes = Counter(_gpu_classes(fleet))
    limits = item_limits(fleet, items)
    classes = sorted({item.priority for item in items if item.priority is not None}, reverse=True)
    bounds = []
    for priority in classes:
        best = min(
            _price_bound(gpu_classes, items, limits, served, priority, weights) // PRICE_UNIT
            for weights in candidate_prices(items)
        )
        bounds.append(min(best, sum(cap for item, cap in zip(items, limits, strict=True) if item.priority == priority)))
    return tuple(bounds)


def _gpu_classes(fleet: Fleet) -> Iterator[_GpuClass]:
    fixed = locked_gpus(fleet, only_pinned=True)
    for gpu in fleet.gpus:
        mask, _ = used_slices(
            gpu.model, ((instance.start, instance.profile) for instance in gpu.instances if instance.pinned)
        )
        only = None
        if gpu.name in fixed:
            only = tuple(sorted(instance.profile for instance in gpu.instances if not instance.pinned))
        yield _GpuClass(gpu.model, mask, only)


def item_limits(fleet: Fleet, items: Sequence[Item]) -> list[int]:
    """Return how many of each item its count, its GPU models and its spread limit allow."""
    current: dict[str, Counter[str]] = {gpu.node: Counter() for gpu in fleet.gpus}
    for gpu in fleet.gpus:
        current[gpu.node].update(instance.demand for instance in gpu.instances if instance.demand)
    limits = []
    for item in items:
        cap = item.count if item.profiles else 0
        if item.limit is not None and item.priority is not None:
            # A node may keep more pods than the limit if it holds them today, as in the exact search.
            cap = min(cap, sum(max(0, item.limit - held[item.name]) for held in current.values()))
        limits.append(cap)
    return limits


def candidate_prices(items: Sequence[Item]) -> Iterator[list[int]]:
    """Yield candidate price vectors: zero, by memory slices, and by how many instances fit on a GPU."""
    profiles_by_item = [
        [catalogue.gpu(gpu_model).profiles[profile] for gpu_model, profile in item.profiles.items()] for item in items
    ]
    yield [0] * len(items)
    for share in (1, 2, 3, 4, 7, 8):
        yield [
            min((profile.memory_slices for profile in profiles), default=0) * PRICE_UNIT // share
            for profiles in profiles_by_item
        ]
        yield [
            share * PRICE_UNIT // max((profile.max_count for profile in profiles), default=PRICE_UNIT)
            for profiles in profiles_by_item
        ]


def _price_bound(
    gpu_classes: Counter[_GpuClass],
    items: Sequence[Item],
    limits: Sequence[int],
    served: Mapping[str, int],
    priority: int,
    weights: Sequence[int],
) -> int:
    """Return the bound of one price vector, in units of 1/`PRICE_UNIT` instances."""
    prices: list[int] = []
    total = 0
    for item, cap, weight in zip(items, limits, weights, strict=True):
        if item.priority is None:
            price = weight
            total -= price * item.count
        elif item.priority < priority:
            price = 0
        elif item.priority == priority:
            price = min(PRICE_UNIT, weight)
            total += (PRICE_UNIT - price) * cap
        else:
            class_value = _class_value(items, weights, served, item.priority)
            price = min(class_value, weight)
            total += (class_value - price) * cap - class_value * served.get(item.name, 0)
        prices.append(price)
    for gpu_class, count in gpu_classes.items():
        total += count * _best_pattern_value(gpu_class, _price_by_profile(gpu_class.model, items, prices))
    return total


def _class_value(items: Sequence[Item], weights: Sequence[int], served: Mapping[str, int], priority: int) -> int:
    """Return the value of one instance of a class: the highest price among its served items."""
    return max(
        (
            weight
            for item, weight in zip(items, weights, strict=True)
            if item.priority == priority and served.get(item.name, 0)
        ),
        default=0,
    )


def _price_by_profile(model: str, items: Sequence[Item], prices: Sequence[int]) -> dict[str, int]:
    best: dict[str, int] = {}
    for item, price in zip(items, prices, strict=True):
        profile = item.profiles.get(model)
        if profile is not None and price > best.get(profile, 0):
            best[profile] = price
    return best


def _best_pattern_value(gpu_class: _GpuClass, prices: Mapping[str, int]) -> int:
    """Return the value of the most valuable pattern, by dynamic programming along the memory axis."""
    if gpu_class.only is not None:
        return sum(prices.get(profile, 0) for profile in gpu_class.only)
    gpu_model = catalogue.gpu(gpu_class.model)
    best = [0] * (gpu_model.memory_slices + 1)
    for start in range(gpu_model.memory_slices - 1, -1, -1):
        best[start] = best[start + 1]
        for name, price in prices.items():
            profile = gpu_model.profiles[name]
            size = profile.memory_slices
            if start in profile.starts and not gpu_class.mask >> start & ((1 << size) - 1):
                best[start] = max(best[start], price + best[start + size])
    return best[0]
