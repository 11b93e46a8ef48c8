"""The planner: a good plan first, then the best one as far as the budget goes, and what is proven of it."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from inferstack.mig.errors import LayoutError
from inferstack.mig.planner import bound, clear, exact, greedy, improve, mix, relax
from inferstack.mig.planner.calm import calm
from inferstack.mig.planner.exact import Want
from inferstack.mig.planner.judge import evaluate, served_by
from inferstack.mig.planner.model import Bounds, Budget, Demand, Fleet, FleetGpu, Instance, OutOfBudgetError, Plan
from inferstack.mig.planner.patterns import Cost


def plan(fleet: Fleet, demands: Sequence[Demand], budget: Budget | None = None) -> Plan:
    """Return the plan that serves most by priority, then has the least fragmentation, reconfigured GPUs and moves.

    Within the budget the plan is optimal (`Plan.optimal`); beyond it, it is the best that was found, with bounds.

    Args:
        fleet: the GPUs as they are. Pods that run keep an instance of the same board and profile.
        demands: what is wanted on top of that.
        budget: how long the exact search may take; `Budget()` when left out.

    Raises:
        LayoutError: two demands of one name, or an instance that awaits its pod: a plan is not yet a fleet that runs.
    """
    for gpu in fleet.gpus:
        if waiting := [seat.demand for seat in gpu.instances if seat.demand and not seat.pod]:
            raise LayoutError(f"{gpu.name}: an instance for {waiting[0]} has no pod: give the fleet as it runs")
    if twice := [name for name, count in Counter(demand.name for demand in demands).items() if count > 1]:
        raise LayoutError(f"there are two demands with the name {twice[0]}")
    asked = demands
    demands, members = _merge(asked)
    wants = exact.wants_of(fleet, demands)
    found = greedy.solve(fleet, demands)
    bounds, worth = _bounds(fleet, found, demands, wants)
    other = mix.solve(fleet, demands, served_by(found), worth)
    if evaluate(fleet, other, demands).key < evaluate(fleet, found, demands).key:
        found = other
        bounds, _ = _bounds(fleet, found, demands, wants)
    first = _judged(fleet, calm(fleet, _split(found, members), asked), asked, bounds)
    if first.optimal:
        return first
    budget = budget or Budget()
    third = budget.left // 3
    try:
        best = exact.solve(fleet, demands, budget.part(budget.left - third))
    except OutOfBudgetError:
        better = clear.solve(fleet, found, demands, budget.part(third // 2))
        better = improve.improve(fleet, better, demands, budget.part(third))
        if better is found:
            return first
        bounds, _ = _bounds(fleet, better, demands, wants)
        return _judged(fleet, calm(fleet, _split(better, members), asked), asked, bounds)
    judged = evaluate(fleet, best, demands)
    proven = Bounds(judged.served, judged.fragmentation, judged.reconfigured, judged.moved)
    # Where the greedy plan is as good it is kept: so the answer is the same whether or not the search came to its end.
    chosen = found if judged == first.objective else best
    return _judged(fleet, calm(fleet, _split(chosen, members), asked), asked, proven)


def _bounds(
    fleet: Fleet, found: Fleet, demands: Sequence[Demand], wants: Sequence[Want]
) -> tuple[Bounds, dict[str, dict[str, int]]]:
    """Return what no plan can beat, as far as prices show it, and these as in `relax.least`."""
    mine = evaluate(fleet, found, demands)
    classes = sorted({demand.priority for demand in demands}, reverse=True)
    cost = Cost(mine.fragmentation, mine.reconfigured, mine.moved)
    later, worth = relax.least(fleet, wants, dict(zip(classes, mine.served, strict=True)), cost)
    return Bounds(bound.most_served(fleet, wants, served_by(found)), *later), worth


def _merge(demands: Sequence[Demand]) -> tuple[list[Demand], dict[str, list[Demand]]]:
    """Make one demand of those that only differ in name and count; those with a spread limit stay alone."""
    groups: dict[tuple[object, ...], list[Demand]] = {}
    for demand in sorted(demands, key=lambda demand: demand.name):
        alone = demand.name if demand.max_per_node is not None else None
        key = demand.priority, demand.profile, demand.memory_mib, demand.compute_slices, alone
        groups.setdefault(key, []).append(demand)
    merged = [replace(group[0], count=sum(demand.count for demand in group)) for group in groups.values()]
    return merged, {group[0].name: group for group in groups.values() if len(group) > 1}


def _split(fleet: Fleet, members: Mapping[str, list[Demand]]) -> Fleet:
    """Give the new instances of a merged demand to its members, by name, in the order of the GPUs."""
    if not members:
        return fleet
    names = {
        merged: itertools.chain.from_iterable(itertools.repeat(demand.name, demand.count) for demand in group)
        for merged, group in members.items()
    }
    gpus = []
    for gpu in fleet.gpus:
        if not any(seat.demand in names and not seat.pod for seat in gpu.instances):
            gpus.append(gpu)
            continue
        # Made anew and not by `replace`, which takes three times as long, of tens of thousands.
        seats = tuple(
            Instance(seat.start, seat.profile, demand=next(names[seat.demand]))
            if not seat.pod and seat.demand in names
            else seat
            for seat in gpu.instances
        )
        gpus.append(FleetGpu(gpu.name, gpu.node, gpu.model, seats))
    return Fleet(tuple(gpus), fleet.scope)


def _judged(before: Fleet, after: Fleet, demands: Sequence[Demand], bounds: Bounds) -> Plan:
    counts = served_by(after)
    return Plan(
        after,
        tuple(sorted({demand.priority for demand in demands}, reverse=True)),
        evaluate(before, after, demands),
        bounds,
        {demand.name: counts[demand.name] for demand in demands},
    )
