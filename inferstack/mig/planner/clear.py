"""A better plan for large fleets by stopping pods: whole GPUs or nodes are cleared, and their pods get new places.

The greedy plans leave every GPU as it is on which a change would stop a pod; under the scope ``node`` one pod holds a
whole node. Here the GPUs or nodes whose pods may all be moved are cleared, those with the fewest pods first, and their
pods are demands above all others, so that each of them gets a seat: all of them, a half, a quarter; the best of these
plans is taken. A pod keeps its instance where that is still there and its GPU or node stays as it is after all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from inferstack.mig.planner import greedy
from inferstack.mig.planner.judge import evaluate
from inferstack.mig.planner.model import Budget, Demand, Fleet, FleetGpu, Instance, OutOfBudgetError

_STEPS = 20
"""Of the budget, for each GPU of a run."""

_SHARES = (1, 2, 4)

Kind = tuple[str, str, str]
"""Board, profile and demand of pods."""


def solve(before: Fleet, after: Fleet, demands: Sequence[Demand], budget: Budget) -> Fleet:
    """Return a plan that is as good as ``after`` or better.

    Args:
        before: the fleet as it is.
        after: a plan for it in which no pod moves.
        demands: what is wanted.
        budget: how many of these plans may be made.
    """
    units = _units(before, {demand.name for demand in demands if demand.max_per_node is not None})
    best, key = after, evaluate(before, after, demands).key
    if before.scope == "instance" or not any(_unserved(after, demands)):
        return after
    for share in _SHARES:
        if not (count := len(units) // share):
            break
        try:
            budget.take(_STEPS * len(before.gpus))
        except OutOfBudgetError:
            break
        found = _cleared(before, units[:count], demands)
        if found is not None and (mine := evaluate(before, found, demands).key) < key:
            best, key = found, mine
    return best


def _unserved(fleet: Fleet, demands: Sequence[Demand]) -> list[int]:
    counts = Counter(s.demand for gpu in fleet.gpus for s in gpu.instances if s.demand and not s.pod)
    return [demand.count - counts[demand.name] for demand in demands]


def _units(fleet: Fleet, limited: set[str]) -> list[set[str]]:
    """Return the GPUs of each unit that holds pods all of which may be moved, those with the fewest pods first."""
    found: dict[str, list[FleetGpu]] = {}
    for gpu in fleet.gpus:
        found.setdefault(gpu.node if fleet.scope == "node" else gpu.name, []).append(gpu)
    ranked: list[tuple[int, int, set[str]]] = []
    for gpus in found.values():
        pods = [seat for gpu in gpus for seat in gpu.instances if seat.pod]
        if pods and not any(seat.pinned or seat.demand in limited for seat in pods):
            ranked.append((len(pods), len(ranked), {gpu.name for gpu in gpus}))
    return [names for _, _, names in sorted(ranked, key=lambda one: one[:2])]


def _cleared(before: Fleet, units: Sequence[set[str]], demands: Sequence[Demand]) -> Fleet | None:
    """Return a plan with these units cleared; None where a pod would have no seat."""
    names = set().union(*units)
    homes: dict[Kind, dict[tuple[str, Instance], None]] = {}
    gpus = []
    for gpu in before.gpus:
        if gpu.name in names:
            for seat in gpu.instances:
                if seat.pod:
                    homes.setdefault((gpu.model, seat.profile, seat.demand), {})[gpu.name, seat] = None
            gpus.append(replace(gpu, instances=tuple(Instance(s.start, s.profile) for s in gpu.instances)))
        else:
            gpus.append(gpu)
    top = max((demand.priority for demand in demands), default=0) + 1
    # No demand of a user has such a name: it holds a character that neither a file nor a cluster can.
    kinds = {f"\0{number}": kind for number, kind in enumerate(sorted(homes))}
    pods = [Demand(name, len(homes[kind]), top, kind[1]) for name, kind in kinds.items()]
    found = greedy.solve(
        Fleet(tuple(gpus), before.scope), [*pods, *demands], {name: kind[0] for name, kind in kinds.items()}
    )
    counts = Counter(seat.demand for gpu in found.gpus for seat in gpu.instances)
    if any(counts[demand.name] < demand.count for demand in pods):
        return None
    return _named(found, kinds, homes)


def _named(found: Fleet, kinds: dict[str, Kind], homes: dict[Kind, dict[tuple[str, Instance], None]]) -> Fleet:
    """Give the seats of cleared pods to these, to each its own where it is among them."""
    taken: dict[tuple[str, int], Instance] = {}
    open_seats: list[tuple[str, Instance]] = []
    for gpu in found.gpus:
        for seat in gpu.instances:
            if seat.demand in kinds:
                kind = kinds[seat.demand]
                own = next((at for at in homes[kind] if at[0] == gpu.name and at[1].start == seat.start), None)
                if own is None:
                    open_seats.append((gpu.name, seat))
                else:
                    del homes[kind][own]
                    taken[gpu.name, seat.start] = own[1]
    for name, seat in open_seats:
        home = next(iter(homes[kinds[seat.demand]]))
        del homes[kinds[seat.demand]][home]
        taken[name, seat.start] = home[1]
    gpus = []
    for gpu in found.gpus:
        seats = tuple(
            replace(seat, pod=taken[gpu.name, seat.start].pod, demand=taken[gpu.name, seat.start].demand)
            if (gpu.name, seat.start) in taken
            else seat
            for seat in gpu.instances
        )
        gpus.append(gpu if seats == gpu.instances else replace(gpu, instances=seats))
    return Fleet(tuple(gpus), found.scope)
