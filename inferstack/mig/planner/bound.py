"""How much any plan could serve at most: prices instead of a search.

Weak duality of the cutting stock programme (Gilmore and Gomory, "A Linear Programming Approach to the Cutting-Stock
Problem", Operations Research 9, 1961): put a price on one instance of each want. No GPU can carry more than the dearest
pattern it could take, so the sum of these, plus what each want is worth beyond its price, is never less than
what is served. *Every* set of prices gives a valid bound; a few dozen likely ones are tried and the lowest bound kept.
Pods that run, and higher classes served as they are, have to be carried too, so their price is taken off.
Spread limits only cap the counts here, and compute slices are left out: both can only make the bound higher.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from inferstack.mig import catalogue
from inferstack.mig.planner.exact import Want
from inferstack.mig.planner.model import Fleet
from inferstack.mig.planner.patterns import locked, mask_of

ONE = 840
"""One instance, in units in which a half to an eighth are whole numbers."""


@dataclass(frozen=True)
class _Kind:
    """GPUs that can take the same patterns."""

    model: str
    mask: int
    """Memory slices of pinned pods."""
    only: tuple[str, ...] | None
    """Profiles of the instances without a pinned pod, where no other can be created."""


def most_served(fleet: Fleet, wants: Sequence[Want], found: Mapping[str, int]) -> tuple[int, ...]:
    """Return a bound for each priority class, from the highest down, given the higher classes as found.

    Args:
        fleet: the fleet as it is.
        wants: as from `inferstack.mig.planner.exact.wants_of`.
        found: instances served by demand, in some plan.
    """
    kinds = Counter(_kinds(fleet))
    caps = caps_of(fleet, wants)
    classes = sorted({want.priority for want in wants if want.priority is not None}, reverse=True)
    bounds = []
    for priority in classes:
        best = min(_price_bound(kinds, wants, caps, found, priority, weights) // ONE for weights in weights(wants))
        bounds.append(min(best, sum(cap for want, cap in zip(wants, caps, strict=True) if want.priority == priority)))
    return tuple(bounds)


def _kinds(fleet: Fleet) -> Iterator[_Kind]:
    fixed = locked(fleet, only_pinned=True)
    for gpu in fleet.gpus:
        mask, _ = mask_of(gpu.model, ((seat.start, seat.profile) for seat in gpu.instances if seat.pinned))
        only = None
        if gpu.name in fixed:
            only = tuple(sorted(seat.profile for seat in gpu.instances if not seat.pinned))
        yield _Kind(gpu.model, mask, only)


def caps_of(fleet: Fleet, wants: Sequence[Want]) -> list[int]:
    """Return the most of each want that could be served by its count, its boards and its spread limit alone."""
    now: dict[str, Counter[str]] = {gpu.node: Counter() for gpu in fleet.gpus}
    for gpu in fleet.gpus:
        now[gpu.node].update(seat.demand for seat in gpu.instances if seat.demand)
    caps = []
    for want in wants:
        cap = want.count if want.profiles else 0
        if want.limit is not None and want.priority is not None:
            # A node may go on holding more than the limit where it does so today, as in the exact search.
            cap = min(cap, sum(max(0, want.limit - held[want.name]) for held in now.values()))
        caps.append(cap)
    return caps


def weights(wants: Sequence[Want]) -> Iterator[list[int]]:
    """Yield likely prices: by memory slices, by how many fit a GPU, and nothing at all."""
    found = [[catalogue.gpu(board).profiles[profile] for board, profile in want.profiles.items()] for want in wants]
    yield [0] * len(wants)
    for share in (1, 2, 3, 4, 7, 8):
        yield [min((profile.memory_slices for profile in kinds), default=0) * ONE // share for kinds in found]
        yield [share * ONE // max((profile.max_count for profile in kinds), default=ONE) for kinds in found]


def _price_bound(
    kinds: Counter[_Kind],
    wants: Sequence[Want],
    caps: Sequence[int],
    found: Mapping[str, int],
    priority: int,
    weights: Sequence[int],
) -> int:
    """Return the bound of one set of prices, in units of `ONE`."""
    prices: list[int] = []
    total = 0
    for want, cap, weight in zip(wants, caps, weights, strict=True):
        if want.priority is None:
            price = weight
            total -= price * want.count
        elif want.priority < priority:
            price = 0
        elif want.priority == priority:
            price = min(ONE, weight)
            total += (ONE - price) * cap
        else:
            worth = _worth(wants, weights, found, want.priority)
            price = min(worth, weight)
            total += (worth - price) * cap - worth * found.get(want.name, 0)
        prices.append(price)
    for kind, count in kinds.items():
        total += count * _dearest(kind, _by_profile(kind.model, wants, prices))
    return total


def _worth(wants: Sequence[Want], weights: Sequence[int], found: Mapping[str, int], priority: int) -> int:
    """Return the price of the dearest want of a class that was served: what one more or less of the class is worth."""
    return max(
        (w for want, w in zip(wants, weights, strict=True) if want.priority == priority and found.get(want.name, 0)),
        default=0,
    )


def _by_profile(model: str, wants: Sequence[Want], prices: Sequence[int]) -> dict[str, int]:
    dearest: dict[str, int] = {}
    for want, price in zip(wants, prices, strict=True):
        profile = want.profiles.get(model)
        if profile is not None and price > dearest.get(profile, 0):
            dearest[profile] = price
    return dearest


def _dearest(kind: _Kind, prices: Mapping[str, int]) -> int:
    """Return the price of the dearest pattern, by dynamic programming along the memory axis."""
    if kind.only is not None:
        return sum(prices.get(profile, 0) for profile in kind.only)
    board = catalogue.gpu(kind.model)
    best = [0] * (board.memory_slices + 1)
    for start in range(board.memory_slices - 1, -1, -1):
        best[start] = best[start + 1]
        for name, price in prices.items():
            profile = board.profiles[name]
            size = profile.memory_slices
            if start in profile.starts and not kind.mask >> start & ((1 << size) - 1):
                best[start] = max(best[start], price + best[start + size])
    return best[0]
