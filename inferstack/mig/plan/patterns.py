"""What one GPU can carry, and what each choice costs.

The fragmentation of a GPU follows the idea of "An Online Fragmentation-Aware GPU Scheduler for Multi-Tenant MIG-based
Clouds" (arXiv 2511.18906): a profile that the free slices would suffice for, but that some of its starts cannot take,
counts its memory slices for each such start. Two things are settled here: only the slices that pods use are taken, as
an idle instance can be removed at will; and compute slices must suffice, too, so that seven 1g instances leave nothing
that could be fragmented. An empty GPU and a full one have 0.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from inferstack.mig import catalogue
from inferstack.mig.plan.model import Budget, FleetGpu, Instance, legal


class Cost(NamedTuple):
    """The criteria after the served ones; sums of two costs are compared from left to right."""

    fragmentation: int
    reconfigured: int
    moved: int

    def plus(self, other: Cost) -> Cost:
        """Add up."""
        return Cost(self[0] + other[0], self[1] + other[1], self[2] + other[2])


@dataclass(frozen=True)
class Pattern:
    """One way to use a GPU: pods that stay, and instances for pods and demands that come."""

    stay: tuple[Instance, ...]
    come: tuple[tuple[int, str], ...]
    """Start and profile."""
    cost: Cost


def mask_of(model: str, seats: Iterable[tuple[int, str]]) -> tuple[int, int]:
    """Return the memory slices taken, as bits, and the number of compute slices."""
    profiles = catalogue.gpu(model).profiles
    mask = compute = 0
    for start, name in seats:
        mask |= ((1 << profiles[name].memory_slices) - 1) << start
        compute += profiles[name].compute_slices
    return mask, compute


@functools.cache
def fragmentation(model: str, mask: int, compute: int) -> int:
    """Return the fragmentation of a GPU whose pods use the memory slices ``mask`` and ``compute`` compute slices."""
    board = catalogue.gpu(model)
    free = board.memory_slices - mask.bit_count()
    total = 0
    for profile in board.profiles.values():
        size = profile.memory_slices
        if profile.media_extensions or size > free or profile.compute_slices > board.compute_slices - compute:
            continue
        total += size * sum(1 for start in profile.starts if mask >> start & ((1 << size) - 1))
    return total


def use_of(gpu: FleetGpu) -> int:
    """Return the fragmentation of a GPU as it is used."""
    return fragmentation(gpu.model, *mask_of(gpu.model, ((s.start, s.profile) for s in gpu.instances if not s.idle)))


def locked(gpu: FleetGpu, incremental: bool) -> bool:
    """Tell whether no instance may ever be created on this GPU, as that would stop a pinned pod."""
    return not incremental and any(seat.pinned for seat in gpu.instances)


def patterns(gpu: FleetGpu, wanted: Mapping[str, int], incremental: bool, budget: Budget) -> list[Pattern]:
    """Return the ways to use a GPU, cheapest first, one for each set of staying pod groups and coming profiles.

    Args:
        gpu: the GPU as it is.
        wanted: the most instances of each profile that anybody could use here.
        incremental: as in `Fleet`.
        budget: one step is taken for each way that is looked at.
    """
    movable = [seat for seat in gpu.instances if seat.pod and not seat.pinned]
    pinned = tuple(seat for seat in gpu.instances if seat.pinned)
    present = {(seat.start, seat.profile) for seat in gpu.instances}
    best: dict[tuple[tuple[tuple[str, str], ...], tuple[str, ...]], Pattern] = {}
    for length in range(len(movable), -1, -1):
        for kept in itertools.combinations(movable, length):
            stay = pinned + kept
            groups = tuple(sorted((seat.profile, seat.demand) for seat in kept))
            for come, mask, compute in _fill(gpu.model, stay, wanted):
                budget.take(1)
                created = any(seat not in present for seat in come)
                if created and stay and not incremental:
                    continue
                cost = Cost(fragmentation(gpu.model, mask, compute), int(created), len(movable) - length)
                key = groups, tuple(sorted(profile for _, profile in come))
                if key not in best or cost < best[key].cost:
                    best[key] = Pattern(stay, come, cost)
    return sorted(best.values(), key=lambda found: (found.cost, found.come))


def _fill(
    model: str, stay: tuple[Instance, ...], wanted: Mapping[str, int]
) -> Iterator[tuple[tuple[tuple[int, str], ...], int, int]]:
    """Yield every legal set of instances beside those that stay, with the slices all take: as `mask_of`."""
    board = catalogue.gpu(model)
    media = any(board.profiles[seat.profile].media_extensions for seat in stay)
    choices = [
        (start, name, ((1 << board.profiles[name].memory_slices) - 1) << start, board.profiles[name].compute_slices)
        for start, name in sorted(
            (start, name) for name, most in wanted.items() if most for start in board.profiles[name].starts
        )
        if not (media and board.profiles[name].media_extensions)
    ]
    limits = {
        name: min(most, board.profiles[name].max_count - sum(1 for seat in stay if seat.profile == name))
        for name, most in wanted.items()
    }
    mask, compute = mask_of(model, ((seat.start, seat.profile) for seat in stay))
    stack: list[tuple[int, tuple[tuple[int, str], ...], int, int]] = [(0, (), mask, compute)]
    while stack:
        index, come, mask, compute = stack.pop()
        yield come, mask, compute
        for at in range(index, len(choices)):
            start, name, bits, slices = choices[at]
            if mask & bits or compute + slices > board.compute_slices:
                continue
            names = [taken for _, taken in come]
            extended = board.profiles[name].media_extensions and any(board.profiles[n].media_extensions for n in names)
            if names.count(name) < limits[name] and not extended:
                stack.append((at + 1, (*come, (start, name)), mask | bits, compute + slices))


def settle(gpu: FleetGpu, used: Iterable[Instance]) -> FleetGpu:
    """Return the GPU with these used instances, and with those of now that can stay beside them, idle."""
    seats = tuple(sorted(used))
    for seat in sorted(gpu.instances):
        more = (*seats, Instance(seat.start, seat.profile))
        if legal(gpu.model, more):
            seats = more
    return FleetGpu(gpu.name, gpu.node, gpu.model, tuple(sorted(seats)))


def reconfigured(before: FleetGpu, after: FleetGpu) -> bool:
    """Tell whether an instance has to be created."""
    present = {(seat.start, seat.profile) for seat in before.instances}
    return any((seat.start, seat.profile) not in present for seat in after.instances)
