"""Pattern generation: the sets of instances that one GPU can carry, and the cost of each."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from inferstack.mig import catalogue
from inferstack.mig.fleet import FleetGpu, Instance, Scope, is_legal
from inferstack.mig.fragmentation import fragmentation_score, used_slices
from inferstack.mig.planner.model import Budget

Vector = tuple[int, ...]


class Cost(NamedTuple):
    """The criteria after the served demand, compared lexicographically."""

    fragmentation: int
    reconfigured: int
    moved: int

    def plus(self, other: Cost) -> Cost:
        """Add up."""
        return Cost(self[0] + other[0], self[1] + other[1], self[2] + other[2])


@dataclass(frozen=True)
class Pattern:
    """One way to use a GPU: the pods that stay, and the instances added for other pods and demands."""

    staying: tuple[Instance, ...]
    added: tuple[tuple[int, str], ...]
    """Start and profile."""
    cost: Cost


Group = tuple[str, str]
"""Profile and demand of movable pods."""


def make_patterns(
    gpu: FleetGpu, profile_limits: Mapping[str, int], scope: Scope, budget: Budget, *, stopped: bool | None = None
) -> list[Pattern]:
    """Return the patterns of a GPU, cheapest first, one for each set of staying pod groups and added profiles.

    Args:
        gpu: the current GPU.
        profile_limits: maximum useful instances of each profile.
        scope: as in `Fleet`.
        budget: pays one step for each candidate.
        stopped: for the scope ``node`` only. True: the whole node is reconfigured and no pod stays. False: the node is
            not reconfigured and no instance is created.

    Raises:
        OutOfBudgetError: the budget ran out.
    """
    movable = [instance for instance in gpu.instances if instance.pod and not instance.pinned]
    pinned = tuple(instance for instance in gpu.instances if instance.pinned)
    present = {(instance.start, instance.profile) for instance in gpu.instances}
    best: dict[tuple[tuple[Group, ...], tuple[str, ...]], Pattern] = {}
    for length in range(0 if stopped else len(movable), -1, -1):
        for kept in itertools.combinations(movable, length):
            staying = pinned + kept
            groups = tuple(sorted((instance.profile, instance.demand) for instance in kept))
            for added, mask, compute in instance_sets(
                gpu.model, staying, profile_limits, present if stopped is False else None
            ):
                budget.take(1)
                created = any(instance not in present for instance in added)
                if created and staying and scope == "gpu":
                    continue
                cost = Cost(fragmentation_score(gpu.model, mask, compute), int(created), len(movable) - length)
                key = groups, tuple(sorted(profile for _, profile in added))
                if key not in best or cost < best[key].cost:
                    best[key] = Pattern(staying, added, cost)
    return sorted(best.values(), key=lambda pattern: (pattern.cost, pattern.added))


def instance_sets(
    model: str,
    staying: tuple[Instance, ...],
    profile_limits: Mapping[str, int],
    only: Collection[tuple[int, str]] | None,
) -> Iterator[tuple[tuple[tuple[int, str], ...], int, int]]:
    """Yield every legal set of instances beside those that stay, with the slices in use as from `used_slices`.

    Args:
        model: name of the GPU model.
        staying: instances that stay.
        profile_limits: maximum added instances of each profile.
        only: the placements that added instances may use; None: all.
    """
    gpu_model = catalogue.gpu(model)
    profiles = gpu_model.profiles
    engines_left = _engines_left(model, [instance.profile for instance in staying])
    choices = [
        (start, name, ((1 << profiles[name].memory_slices) - 1) << start, profiles[name].compute_slices)
        for start, name in sorted(
            (start, name) for name, limit in profile_limits.items() if limit for start in profiles[name].starts
        )
        if only is None or (start, name) in only
    ]
    limits = {
        name: min(limit, profiles[name].max_count - sum(1 for instance in staying if instance.profile == name))
        for name, limit in profile_limits.items()
    }
    mask, compute = used_slices(model, ((instance.start, instance.profile) for instance in staying))
    stack: list[tuple[int, tuple[tuple[int, str], ...], int, int, Vector]] = [(0, (), mask, compute, engines_left)]
    while stack:
        index, added, mask, compute, engines_left = stack.pop()
        yield added, mask, compute
        profile_names = [taken for _, taken in added]
        for at in range(index, len(choices)):
            start, name, bits, slices = choices[at]
            if mask & bits or compute + slices > gpu_model.compute_slices or profile_names.count(name) >= limits[name]:
                continue
            left = tuple(map(int.__sub__, engines_left, _engines(model, name)))
            if min(left) >= 0:
                stack.append((at + 1, (*added, (start, name)), mask | bits, compute + slices, left))


@functools.cache
def _engines(model: str, name: str) -> Vector:
    """Return the engines of a profile: 1 if it takes the media extensions, then its media engines by name."""
    profile = catalogue.gpu(model).profiles[name]
    return (
        int(profile.media_extensions),
        *(profile.engines[kind] for kind in sorted(profile.engines) if kind != "copy"),
    )


def _engines_left(model: str, profile_names: Iterable[str]) -> Vector:
    """Return the engines that these instances leave free, in the order of `_engines`."""
    gpu_model = catalogue.gpu(model)
    left: Vector = (1, *(gpu_model.engines[kind] for kind in sorted(gpu_model.engines) if kind != "copy"))
    for name in profile_names:
        left = tuple(map(int.__sub__, left, _engines(model, name)))
    return left


def keep_idle_instances(gpu: FleetGpu, used: Iterable[Instance]) -> FleetGpu:
    """Return the GPU with these used instances, and with its current instances that fit beside them, idle."""
    return FleetGpu(gpu.name, gpu.node, gpu.model, _keep_idle_instances(gpu.model, gpu.instances, tuple(sorted(used))))


@functools.lru_cache(maxsize=4096)
def _keep_idle_instances(
    model: str, present: tuple[Instance, ...], instances: tuple[Instance, ...]
) -> tuple[Instance, ...]:
    for instance in sorted(present):
        extended = (*instances, Instance(instance.start, instance.profile))
        if is_legal(model, extended):
            instances = extended
    return tuple(sorted(instances))
