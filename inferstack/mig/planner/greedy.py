"""A good plan for fleets of any size: equal GPUs are dealt with together, and no running pod moves.

GPUs that look alike are one bucket. A demand goes, many instances at once, to the bucket where one GPU filled with it
gains the least fragmentation for each instance, then the fewest reconfigured GPUs, then the least free: the greedy rule
of arXiv 2511.18906 (see `patterns`), applied to whole fills, as in cutting stock one pattern is used on many rolls.
It runs four times, and the best result is kept: by priority, the smallest first (the most instances); then with what
was accepted so far, the largest first (the least broken up); and twice more like this, with a price on compute slices
that are left without memory, so that two 3g do not strand the seventh slice of each GPU.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from inferstack.mig import catalogue
from inferstack.mig.planner.model import Demand, Fleet, Instance, legal
from inferstack.mig.planner.patterns import fragmentation, locked, mask_of, settle

Seats = tuple[tuple[int, str], ...]

_STRANDED = 32
"""Fragmentation that a stranded compute slice counts as: more than half a GPU that is left free."""


class Look(NamedTuple):
    """What makes two GPUs alike for what may still come."""

    model: str
    used: Seats
    present: Seats
    """Instances of before, which need not be created."""
    fixed: bool
    """No instance may be created, as that would stop a pod."""
    created: bool


class _Fill(NamedTuple):
    starts: tuple[int, ...]
    look: Look
    worse: int
    """Fragmentation that it adds."""


@dataclass
class State:
    """A fleet that is being filled."""

    buckets: dict[Look, list[int]] = field(default_factory=dict)
    """Indexes of GPUs."""
    come: dict[int, list[Instance]] = field(default_factory=dict)
    on_node: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Pods by node and demand, for the spread limits."""
    served: Counter[str] = field(default_factory=Counter)


def solve(fleet: Fleet, demands: Sequence[Demand], boards: Mapping[str, str] | None = None) -> Fleet:
    """Return a fleet that serves what it can; every running pod keeps its instance.

    Args:
        fleet: the fleet as it is.
        demands: what is wanted.
        boards: the one board that a demand may be served on, for some demands.
    """
    profiles = profiles_of(fleet, demands)
    for name, board in (boards or {}).items():
        profiles[name] = {board: profiles[name][board]}
    sizes = {name: size_of(kinds) for name, kinds in profiles.items()}
    start = start_of(fleet)
    ordered = by_priority(demands, profiles)
    best = _copy(start)
    for demand in ordered:
        serve(fleet, best, demand, demand.count, profiles[demand.name], 0)
    for stranded in (0, _STRANDED, _STRANDED):
        state = _copy(start)
        for demand in sorted(demands, key=lambda demand: (-sizes[demand.name], -demand.priority, demand.name)):
            serve(fleet, state, demand, best.served[demand.name], profiles[demand.name], stranded)
        for demand in ordered:
            rest = demand.count - state.served[demand.name]
            serve(fleet, state, demand, rest, profiles[demand.name], stranded)
        best = min((best, state), key=lambda state: _judge(state, demands))
    return fleet_of(fleet, best)


def fleet_of(fleet: Fleet, state: State) -> Fleet:
    """Return the fleet with the instances that come."""
    return Fleet(
        tuple(
            settle(gpu, [*(seat for seat in gpu.instances if seat.pod), *state.come[index]])
            if index in state.come
            else gpu
            for index, gpu in enumerate(fleet.gpus)
        ),
        fleet.scope,
    )


def profiles_of(fleet: Fleet, demands: Sequence[Demand]) -> dict[str, dict[str, str]]:
    """Return the profile that serves a demand, by demand and board."""
    boards = sorted({gpu.model for gpu in fleet.gpus})
    return {demand.name: {board: demand.on(board) for board in boards if demand.on(board)} for demand in demands}


def by_priority(demands: Sequence[Demand], profiles: Mapping[str, Mapping[str, str]]) -> list[Demand]:
    """Return the demands from the highest class down, the smallest first."""
    return sorted(demands, key=lambda demand: (-demand.priority, size_of(profiles[demand.name]), demand.name))


def size_of(kinds: Mapping[str, str]) -> int:
    """Return the memory slices of a demand on the board that needs fewest."""
    return min((catalogue.gpu(board).profiles[profile].memory_slices for board, profile in kinds.items()), default=0)


def start_of(fleet: Fleet) -> State:
    """Return the fleet as it is, without anything that comes."""
    state = State()
    fixed = locked(fleet, only_pinned=False)
    for index, gpu in enumerate(fleet.gpus):
        present = tuple(sorted((seat.start, seat.profile) for seat in gpu.instances))
        used = tuple(sorted((seat.start, seat.profile) for seat in gpu.instances if seat.pod))
        look = Look(gpu.model, used, present, gpu.name in fixed, False)
        state.buckets.setdefault(look, []).append(index)
        for seat in gpu.instances:
            state.on_node[gpu.node, seat.demand] += bool(seat.pod)
    return state


def _copy(state: State) -> State:
    return State({look: list(found) for look, found in state.buckets.items()}, {}, Counter(state.on_node), Counter())


def _judge(state: State, demands: Sequence[Demand]) -> tuple[tuple[int, ...], int, int]:
    by_class: Counter[int] = Counter()
    for demand in demands:
        by_class[demand.priority] -= state.served[demand.name]
    return (
        tuple(by_class[priority] for priority in sorted(by_class, reverse=True)),
        sum(broken_up(look) * len(found) for look, found in state.buckets.items()),
        sum(look.created * len(found) for look, found in state.buckets.items()),
    )


def broken_up(look: Look) -> int:
    """Return the fragmentation of a GPU."""
    return fragmentation(look.model, *mask_of(look.model, look.used))


def serve(fleet: Fleet, state: State, demand: Demand, count: int, profiles: Mapping[str, str], stranded: int) -> None:
    """Give up to ``count`` instances to a demand."""
    closed: set[Look] = set()
    limit = demand.max_per_node
    while count > 0:
        at_once = count if limit is None else min(count, limit)
        found = [
            (_rank(look, fill), look, fill)
            for look in state.buckets
            if look not in closed
            and look.model in profiles
            and (fill := _fill(look, profiles[look.model], min(at_once, 8), stranded)) is not None
        ]
        if not found:
            return
        _, look, fill = min(found)
        done = _apply(fleet, state, demand, count, look, fill, profiles[look.model], stranded)
        if not done:
            closed.add(look)
        count -= done
        state.served[demand.name] += done


def _apply(
    fleet: Fleet, state: State, demand: Demand, count: int, look: Look, fill: _Fill, profile: str, stranded: int
) -> int:
    """Put the fill on as many GPUs of a bucket as needed, less of it where the node's spread limit says so."""
    waiting = state.buckets.pop(look)
    rest: list[int] = []
    done = 0
    for place, index in enumerate(waiting):
        if count - done < len(fill.starts):
            rest.extend(waiting[place:])
            break
        node = fleet.gpus[index].node
        chosen: _Fill | None = fill
        if demand.max_per_node is not None:
            room = demand.max_per_node - state.on_node[node, demand.name]
            chosen = _fill(look, profile, min(room, len(fill.starts)), stranded) if room > 0 else None
        if chosen is None:
            rest.append(index)
            continue
        state.buckets.setdefault(chosen.look, []).append(index)
        state.come.setdefault(index, []).extend(_seats(chosen.starts, profile, demand.name))
        state.on_node[node, demand.name] += len(chosen.starts)
        done += len(chosen.starts)
    if rest:
        state.buckets.setdefault(look, []).extend(rest)
    return done


@functools.lru_cache(maxsize=4096)
def _seats(starts: tuple[int, ...], profile: str, demand: str) -> tuple[Instance, ...]:
    """Return instances for a demand: the same objects for many GPUs, as making them is what takes long."""
    return tuple(Instance(start, profile, demand=demand) for start in starts)


def _rank(look: Look, fill: _Fill) -> tuple[Fraction, Fraction, int]:
    each = len(fill.starts)
    mask, _ = mask_of(look.model, look.used)
    created = int(fill.look.created) - int(look.created)
    return Fraction(fill.worse, each), Fraction(created, each), -mask.bit_count()


@functools.lru_cache(maxsize=65536)
def _fill(look: Look, profile: str, most: int, stranded: int) -> _Fill | None:
    """Return the best way to put instances of a profile, at most ``most``, on a GPU.

    As many as possible, or, where stranded slices have a price, as many as are cheapest for each.
    """
    ways: list[Seats] = [()]
    found: list[Seats] = []
    for _ in range(most):
        ways = [
            (*way, (start, profile))
            for way in ways
            for start in catalogue.gpu(look.model).profiles[profile].starts
            if (not way or start > way[-1][0])
            and (not look.fixed or (start, profile) in look.present)
            and legal(look.model, tuple(Instance(*seat) for seat in (*look.used, *way, (start, profile))))
        ]
        if not ways:
            break
        found = [*found, *ways] if stranded else ways
    if not found:
        return None
    return min(
        (_filled(look, way, stranded) for way in found),
        key=lambda fill: (Fraction(fill.worse, len(fill.starts)), fill.look.created, fill.starts),
    )


def _filled(look: Look, way: Seats, stranded: int) -> _Fill:
    created = look.created or any(seat not in look.present for seat in way)
    after = look._replace(used=tuple(sorted((*look.used, *way))), created=created)
    worse = broken_up(after) - broken_up(look) + stranded * (_stranded(after) - _stranded(look))
    return _Fill(tuple(start for start, _ in way), after, worse)


def _stranded(look: Look) -> int:
    """Return the free compute slices that have no free memory slice left, as the seventh beside two 3g."""
    board = catalogue.gpu(look.model)
    mask, compute = mask_of(look.model, look.used)
    return max(0, board.compute_slices - compute - (board.memory_slices - mask.bit_count()))
