"""A second heuristic for large fleets: cutting stock with patterns of mixed profiles.

`greedy` fills GPUs with one profile after another. Here a pattern that fills a GPU with several profiles is used on as
many GPUs as there are and the demands allow, most valuable pattern first. The values are the dual prices at which
`lagrangian` found that the accepted instances need the most GPUs. Only patterns that add no fragmentation are used; the
greedy rule places the rest. This amounts to rounding a cutting stock linear programme. The planner keeps the better of
the two plans.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from inferstack.mig import catalogue
from inferstack.mig.fleet import Fleet, Instance
from inferstack.mig.planner.greedy import (
    GpuClass,
    PartialPlan,
    Placements,
    class_fragmentation,
    initial_state,
    make_fleet,
    memory_slices_of,
    profiles_by_demand,
    serve_demand,
    sort_by_priority,
)
from inferstack.mig.planner.lp_bound import PRICE_UNIT
from inferstack.mig.planner.model import Demand
from inferstack.mig.planner.patterns import instance_sets

_MAX_CLASSES = 12
"""GPU classes that patterns are generated for: the most frequent ones."""
_SCORE_STEPS = 20
"""Resolution of pattern scores, in steps per GPU. Of equal scores the pattern that fits more often wins."""


class _MixedPattern(NamedTuple):
    sizes: tuple[int, ...]
    """Compute slices in all, then of each instance from the largest down."""
    counts: tuple[tuple[str, int], ...]
    placements: Placements
    created: bool


def solve(
    fleet: Fleet, demands: Sequence[Demand], accepted: Mapping[str, int], dual_prices: Mapping[str, Mapping[str, int]]
) -> Fleet:
    """Return a plan in which every running pod keeps its instance.

    Args:
        fleet: the current fleet.
        demands: the demands to serve.
        accepted: instances of each demand to serve first.
        dual_prices: by GPU model and profile, from `inferstack.mig.planner.lagrangian.cost_lower_bounds`.
    """
    profiles = profiles_by_demand(fleet, demands)
    partial = initial_state(fleet)
    free = [demand for demand in sort_by_priority(demands, profiles) if demand.max_per_node is None]
    while _apply_best_pattern(partial, free, profiles, accepted, dual_prices):
        pass
    order = sorted(
        demands, key=lambda demand: (-memory_slices_of(profiles[demand.name]), -demand.priority, demand.name)
    )
    for demand in order:
        serve_demand(
            fleet, partial, demand, accepted[demand.name] - partial.served[demand.name], profiles[demand.name], 0
        )
    for demand in sort_by_priority(demands, profiles):
        serve_demand(fleet, partial, demand, demand.count - partial.served[demand.name], profiles[demand.name], 0)
    return make_fleet(fleet, partial)


def _apply_best_pattern(
    partial: PartialPlan,
    demands: Sequence[Demand],
    profiles: Mapping[str, Mapping[str, str]],
    accepted: Mapping[str, int],
    dual_prices: Mapping[str, Mapping[str, int]],
) -> bool:
    """Apply the best pattern as often as possible. Return whether there was one."""
    remaining_by_model: dict[str, Counter[str]] = {}
    for demand in demands:
        for gpu_model, profile in profiles[demand.name].items():
            remaining_by_model.setdefault(gpu_model, Counter())[profile] += (
                accepted[demand.name] - partial.served[demand.name]
            )
    scored = []
    # The class itself breaks ties between equally frequent ones, so the result does not depend on the bucket order.
    for gpu_class in sorted(
        (candidate for candidate in partial.buckets if not candidate.created),
        key=lambda candidate: (-len(partial.buckets[candidate]), candidate),
    )[:_MAX_CLASSES]:
        remaining = remaining_by_model.get(gpu_class.model, Counter())
        for pattern in _patterns(gpu_class, frozenset(name for name, count in remaining.items() if count > 0)):
            times = min(len(partial.buckets[gpu_class]), *(remaining[name] // count for name, count in pattern.counts))
            value = sum(dual_prices[gpu_class.model].get(name, 0) * count for name, count in pattern.counts)
            score = (value - PRICE_UNIT * pattern.created) * _SCORE_STEPS // PRICE_UNIT
            if times > 0 and value > 0:
                scored.append((score, pattern.sizes, times, pattern, gpu_class))
    if not scored:
        return False
    _, _, times, pattern, gpu_class = max(scored)
    _apply_pattern(partial, gpu_class, pattern, times, demands, profiles, accepted)
    return True


@functools.lru_cache(maxsize=4096)
def _patterns(gpu_class: GpuClass, remaining: frozenset[str]) -> tuple[_MixedPattern, ...]:
    """Return the patterns that add no fragmentation; of those with equal counts, one that creates no instance."""
    profile_rows = catalogue.gpu(gpu_class.model).profiles
    existing = tuple(Instance(*instance) for instance in gpu_class.used)
    current = class_fragmentation(gpu_class)
    best: dict[tuple[tuple[str, int], ...], _MixedPattern] = {}
    only = gpu_class.present if gpu_class.fixed else None
    for added, _, _ in instance_sets(
        gpu_class.model, existing, {name: profile_rows[name].max_count for name in sorted(remaining)}, only
    ):
        if (
            not added
            or class_fragmentation(gpu_class._replace(used=tuple(sorted((*gpu_class.used, *added))))) > current
        ):
            continue
        counts = tuple(sorted(Counter(name for _, name in added).items()))
        sizes = sorted((profile_rows[name].compute_slices for _, name in added), reverse=True)
        pattern = _MixedPattern(
            (sum(sizes), *sizes), counts, added, any(instance not in gpu_class.present for instance in added)
        )
        if counts not in best or (pattern.created, pattern.placements) < (
            best[counts].created,
            best[counts].placements,
        ):
            best[counts] = pattern
    return tuple(best.values())


def _apply_pattern(
    partial: PartialPlan,
    gpu_class: GpuClass,
    pattern: _MixedPattern,
    times: int,
    demands: Sequence[Demand],
    profiles: Mapping[str, Mapping[str, str]],
    accepted: Mapping[str, int],
) -> None:
    """Apply a pattern to the first GPUs of a bucket, highest priority classes first."""
    queues = {
        name: [
            (demand.name, accepted[demand.name] - partial.served[demand.name])
            for demand in reversed(demands)
            if profiles[demand.name].get(gpu_class.model) == name
            and accepted[demand.name] > partial.served[demand.name]
        ]
        for name, _ in pattern.counts
    }
    gpus = partial.buckets.pop(gpu_class)
    after = gpu_class._replace(used=tuple(sorted((*gpu_class.used, *pattern.placements))), created=pattern.created)
    partial.buckets.setdefault(after, []).extend(gpus[:times])
    if gpus[times:]:
        partial.buckets[gpu_class] = gpus[times:]
    for index in gpus[:times]:
        added = partial.added.setdefault(index, [])
        for start, name in pattern.placements:
            demand, rest = queues[name].pop()
            added.append(_instance(start, name, demand))
            partial.served[demand] += 1
            if rest > 1:
                queues[name].append((demand, rest - 1))


@functools.lru_cache(maxsize=4096)
def _instance(start: int, profile: str, demand: str) -> Instance:
    return Instance(start, profile, demand=demand)
