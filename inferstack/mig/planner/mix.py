"""A second plan for large fleets: whole GPUs at once, by patterns of different profiles.

`greedy` fills GPUs with one profile after the other. Here a pattern that fills a GPU with several
is used on as many GPUs as there are and as the demands last, the most valuable first: by the prices at which
`relax` found that the accepted instances need most GPUs. Only patterns that break up nothing more
are used; what is left goes to the greedy rule. So this is the rounding of a cutting stock programme, and of the two
plans the better one is kept.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from inferstack.mig import catalogue
from inferstack.mig.planner.bound import ONE
from inferstack.mig.planner.greedy import (
    Look,
    Seats,
    State,
    broken_up,
    by_priority,
    fleet_of,
    profiles_of,
    serve,
    size_of,
    start_of,
)
from inferstack.mig.planner.model import Demand, Fleet, Instance
from inferstack.mig.planner.patterns import fill

_BUCKETS = 12
"""Kinds of GPUs that patterns are made for: the most frequent ones."""
_NEAR = 20
"""Patterns within one of so many parts of a GPU are equally good; the more often usable one is taken."""


class _Way(NamedTuple):
    sizes: tuple[int, ...]
    """Compute slices in all, then of each instance from the largest down."""
    counts: tuple[tuple[str, int], ...]
    seats: Seats
    created: bool


def solve(
    fleet: Fleet, demands: Sequence[Demand], accepted: Mapping[str, int], worth: Mapping[str, Mapping[str, int]]
) -> Fleet:
    """Return a fleet that serves what it can; every running pod keeps its instance.

    Args:
        fleet: the fleet as it is.
        demands: what is wanted.
        accepted: how much of each demand is to be served first.
        worth: by board and profile, as `inferstack.mig.planner.relax.least` finds it.
    """
    profiles = profiles_of(fleet, demands)
    state = start_of(fleet)
    free = [demand for demand in by_priority(demands, profiles) if demand.max_per_node is None]
    while _use_one(state, free, profiles, accepted, worth):
        pass
    order = sorted(demands, key=lambda demand: (-size_of(profiles[demand.name]), -demand.priority, demand.name))
    for demand in order:
        serve(fleet, state, demand, accepted[demand.name] - state.served[demand.name], profiles[demand.name], 0)
    for demand in by_priority(demands, profiles):
        serve(fleet, state, demand, demand.count - state.served[demand.name], profiles[demand.name], 0)
    return fleet_of(fleet, state)


def _use_one(
    state: State,
    demands: Sequence[Demand],
    profiles: Mapping[str, Mapping[str, str]],
    accepted: Mapping[str, int],
    worth: Mapping[str, Mapping[str, int]],
) -> bool:
    """Use the best pattern as often as possible; False where there is none."""
    left: dict[str, Counter[str]] = {}
    for demand in demands:
        for board, profile in profiles[demand.name].items():
            left.setdefault(board, Counter())[profile] += accepted[demand.name] - state.served[demand.name]
    found = []
    # The look itself decides between equally frequent ones, so that the order of the buckets does not.
    for look in sorted(
        (one for one in state.buckets if not one.created), key=lambda one: (-len(state.buckets[one]), one)
    )[:_BUCKETS]:
        asked = left.get(look.model, Counter())
        for way in _ways(look, frozenset(name for name, count in asked.items() if count > 0)):
            times = min(len(state.buckets[look]), *(asked[name] // count for name, count in way.counts))
            value = sum(worth[look.model].get(name, 0) * count for name, count in way.counts)
            score = (value - ONE * way.created) * _NEAR // ONE
            if times > 0 and value > 0:
                found.append((score, way.sizes, times, way, look))
    if not found:
        return False
    _, _, times, way, look = max(found)
    _use(state, look, way, times, demands, profiles, accepted)
    return True


@functools.lru_cache(maxsize=4096)
def _ways(look: Look, asked: frozenset[str]) -> tuple[_Way, ...]:
    """Return the patterns that break up no more than there is, the one with the fewest new instances of each."""
    rows = catalogue.gpu(look.model).profiles
    stay = tuple(Instance(*seat) for seat in look.used)
    now = broken_up(look)
    best: dict[tuple[tuple[str, int], ...], _Way] = {}
    only = look.present if look.fixed else None
    for come, _, _ in fill(look.model, stay, {name: rows[name].max_count for name in sorted(asked)}, only):
        if not come or broken_up(look._replace(used=tuple(sorted((*look.used, *come))))) > now:
            continue
        counts = tuple(sorted(Counter(name for _, name in come).items()))
        sizes = sorted((rows[name].compute_slices for _, name in come), reverse=True)
        way = _Way((sum(sizes), *sizes), counts, come, any(seat not in look.present for seat in come))
        if counts not in best or (way.created, way.seats) < (best[counts].created, best[counts].seats):
            best[counts] = way
    return tuple(best.values())


def _use(
    state: State,
    look: Look,
    way: _Way,
    times: int,
    demands: Sequence[Demand],
    profiles: Mapping[str, Mapping[str, str]],
    accepted: Mapping[str, int],
) -> None:
    """Put a pattern on the first GPUs of a bucket, for the demands of the highest classes first."""
    waiting = {
        name: [
            (demand.name, accepted[demand.name] - state.served[demand.name])
            for demand in reversed(demands)
            if profiles[demand.name].get(look.model) == name and accepted[demand.name] > state.served[demand.name]
        ]
        for name, _ in way.counts
    }
    gpus = state.buckets.pop(look)
    after = look._replace(used=tuple(sorted((*look.used, *way.seats))), created=way.created)
    state.buckets.setdefault(after, []).extend(gpus[:times])
    if gpus[times:]:
        state.buckets[look] = gpus[times:]
    for index in gpus[:times]:
        come = state.come.setdefault(index, [])
        for start, name in way.seats:
            demand, rest = waiting[name].pop()
            come.append(_instance(start, name, demand))
            state.served[demand] += 1
            if rest > 1:
                waiting[name].append((demand, rest - 1))


@functools.lru_cache(maxsize=4096)
def _instance(start: int, profile: str, demand: str) -> Instance:
    return Instance(start, profile, demand=demand)
