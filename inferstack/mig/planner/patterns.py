"""What one GPU can carry, and what each choice costs.

The fragmentation of a GPU follows the idea of "An Online Fragmentation-Aware GPU Scheduler for Multi-Tenant MIG-based
Clouds" (arXiv 2511.18906): a profile that the free slices would suffice for, but that some of its starts cannot take,
counts its memory slices for each such start. Two things are settled here: only the slices that pods use are taken, as
an idle instance can be removed at will; and compute slices must suffice, too, so that seven 1g instances leave nothing
that could be fragmented. Profiles with the same slices and starts, which differ in media engines only, count once.
An empty GPU and a full one have 0.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from inferstack.mig import catalogue
from inferstack.mig.planner.model import Budget, Fleet, FleetGpu, Instance, Scope, legal

Vector = tuple[int, ...]


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
def _footprints(model: str) -> tuple[tuple[int, int, tuple[int, ...]], ...]:
    """Return memory slices, compute slices and starts of the profiles, once where several have the same."""
    rows = catalogue.gpu(model).profiles.values()
    return tuple(sorted({(p.memory_slices, p.compute_slices, p.starts) for p in rows if not p.media_extensions}))


@functools.cache
def fragmentation(model: str, mask: int, compute: int) -> int:
    """Return the fragmentation of a GPU whose pods use the memory slices ``mask`` and ``compute`` compute slices."""
    board = catalogue.gpu(model)
    free = board.memory_slices - mask.bit_count()
    total = 0
    for size, slices, starts in _footprints(model):
        if size <= free and slices <= board.compute_slices - compute:
            total += size * sum(1 for start in starts if mask >> start & ((1 << size) - 1))
    return total


def use_of(gpu: FleetGpu) -> int:
    """Return the fragmentation of a GPU as it is used."""
    return fragmentation(gpu.model, *mask_of(gpu.model, ((s.start, s.profile) for s in gpu.instances if not s.idle)))


def locked(fleet: Fleet, only_pinned: bool) -> set[str]:
    """Return the GPUs on which no instance may ever be created, as that would stop a pod.

    Args:
        fleet: the fleet as it is.
        only_pinned: False: for the sake of any pod, pinned or not.
    """
    if fleet.scope == "instance":
        return set()
    held = {gpu.name for gpu in fleet.gpus if any(s.pinned or (s.pod and not only_pinned) for s in gpu.instances)}
    if fleet.scope == "gpu":
        return held
    nodes = {gpu.node for gpu in fleet.gpus if gpu.name in held}
    return {gpu.name for gpu in fleet.gpus if gpu.node in nodes}


def stopped_gpus(fleet: Fleet, changed: Collection[str]) -> set[str]:
    """Return the GPUs whose pods are stopped where instances are created on some."""
    if fleet.scope == "instance":
        return set()
    if fleet.scope == "gpu":
        return set(changed)
    nodes = {gpu.node for gpu in fleet.gpus if gpu.name in changed}
    return {gpu.name for gpu in fleet.gpus if gpu.node in nodes} if nodes else set()


Group = tuple[str, str]
"""Profile and demand of movable pods."""


def patterns(
    gpu: FleetGpu, wanted: Mapping[str, int], scope: Scope, budget: Budget, *, stopped: bool | None = None
) -> list[Pattern]:
    """Return the ways to use a GPU, cheapest first, one for each set of staying pod groups and coming profiles.

    Args:
        gpu: the GPU as it is.
        wanted: the most instances of each profile that anybody could use here.
        scope: as in `Fleet`.
        budget: one step is taken for each way that is looked at.
        stopped: of the scope ``node`` only. True: the whole node is reconfigured, so that no pod stays; False: it is
            not, so that nothing is created.
    """
    movable = [seat for seat in gpu.instances if seat.pod and not seat.pinned]
    pinned = tuple(seat for seat in gpu.instances if seat.pinned)
    present = {(seat.start, seat.profile) for seat in gpu.instances}
    best: dict[tuple[tuple[Group, ...], tuple[str, ...]], Pattern] = {}
    for length in range(0 if stopped else len(movable), -1, -1):
        for kept in itertools.combinations(movable, length):
            stay = pinned + kept
            groups = tuple(sorted((seat.profile, seat.demand) for seat in kept))
            for come, mask, compute in fill(gpu.model, stay, wanted, present if stopped is False else None):
                budget.take(1)
                created = any(seat not in present for seat in come)
                if created and stay and scope == "gpu":
                    continue
                cost = Cost(fragmentation(gpu.model, mask, compute), int(created), len(movable) - length)
                key = groups, tuple(sorted(profile for _, profile in come))
                if key not in best or cost < best[key].cost:
                    best[key] = Pattern(stay, come, cost)
    return sorted(best.values(), key=lambda found: (found.cost, found.come))


def fill(
    model: str, stay: tuple[Instance, ...], wanted: Mapping[str, int], only: Collection[tuple[int, str]] | None
) -> Iterator[tuple[tuple[tuple[int, str], ...], int, int]]:
    """Yield every legal set of instances beside those that stay, with the slices all take: as `mask_of`.

    Where ``only`` is given, instances that are to come are among these.
    """
    board = catalogue.gpu(model)
    rows = board.profiles
    room = _room(model, [seat.profile for seat in stay])
    choices = [
        (start, name, ((1 << rows[name].memory_slices) - 1) << start, rows[name].compute_slices)
        for start, name in sorted((start, name) for name, most in wanted.items() if most for start in rows[name].starts)
        if only is None or (start, name) in only
    ]
    limits = {
        name: min(most, rows[name].max_count - sum(1 for seat in stay if seat.profile == name))
        for name, most in wanted.items()
    }
    mask, compute = mask_of(model, ((seat.start, seat.profile) for seat in stay))
    stack: list[tuple[int, tuple[tuple[int, str], ...], int, int, Vector]] = [(0, (), mask, compute, room)]
    while stack:
        index, come, mask, compute, room = stack.pop()
        yield come, mask, compute
        names = [taken for _, taken in come]
        for at in range(index, len(choices)):
            start, name, bits, slices = choices[at]
            if mask & bits or compute + slices > board.compute_slices or names.count(name) >= limits[name]:
                continue
            left = tuple(map(int.__sub__, room, _media(model, name)))
            if min(left) >= 0:
                stack.append((at + 1, (*come, (start, name)), mask | bits, compute + slices, left))


@functools.cache
def _media(model: str, name: str) -> Vector:
    """Return the media engines of a profile, and 1 for one that takes the media extensions."""
    profile = catalogue.gpu(model).profiles[name]
    return (
        int(profile.media_extensions),
        *(profile.engines[kind] for kind in sorted(profile.engines) if kind != "copy"),
    )


def _room(model: str, names: Iterable[str]) -> Vector:
    """Return what these instances leave of the media engines, in the order of `_media`."""
    board = catalogue.gpu(model)
    left: Vector = (1, *(board.engines[kind] for kind in sorted(board.engines) if kind != "copy"))
    for name in names:
        left = tuple(map(int.__sub__, left, _media(model, name)))
    return left


def settle(gpu: FleetGpu, used: Iterable[Instance]) -> FleetGpu:
    """Return the GPU with these used instances, and with those of now that can stay beside them, idle."""
    return FleetGpu(gpu.name, gpu.node, gpu.model, _settled(gpu.model, gpu.instances, tuple(sorted(used))))


@functools.lru_cache(maxsize=4096)
def _settled(model: str, present: tuple[Instance, ...], seats: tuple[Instance, ...]) -> tuple[Instance, ...]:
    for seat in sorted(present):
        more = (*seats, Instance(seat.start, seat.profile))
        if legal(model, more):
            seats = more
    return tuple(sorted(seats))


def reconfigured(before: FleetGpu, after: FleetGpu) -> bool:
    """Tell whether an instance has to be created."""
    present = {(seat.start, seat.profile) for seat in before.instances}
    return any((seat.start, seat.profile) not in present for seat in after.instances)
