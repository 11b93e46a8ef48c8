"""The planner: heuristics and bounds first, then exact search or local search within the budget."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from inferstack.mig.errors import LayoutError
from inferstack.mig.fleet import Fleet, FleetGpu, Instance
from inferstack.mig.planner import cutting_stock, drain, exact, greedy, lagrangian, local_search, lp_bound
from inferstack.mig.planner.exact import Item
from inferstack.mig.planner.interruptions import reduce_interruptions
from inferstack.mig.planner.model import Bounds, Budget, Demand, OutOfBudgetError, Plan
from inferstack.mig.planner.objective import evaluate, served_by
from inferstack.mig.planner.patterns import Cost


def plan(fleet: Fleet, demands: Sequence[Demand], budget: Budget | None = None) -> Plan:
    """Return the plan that serves most by priority, then minimises fragmentation, reconfigured GPUs and moved pods.

    If the exact search ends within the budget, the plan is optimal (`Plan.optimal`). Otherwise it is the best plan
    found, with bounds.

    Args:
        fleet: the current fleet. Running pods keep an instance of the same GPU model and profile.
        demands: the demands on top of that.
        budget: limits the search; default: `Budget()`.

    Raises:
        LayoutError: duplicate demand names, or an instance with a demand but no pod, as in a plan.
    """
    for gpu in fleet.gpus:
        if reserved := [instance.demand for instance in gpu.instances if instance.demand and not instance.pod]:
            raise LayoutError(
                f"{gpu.name}: an instance for {reserved[0]} has no pod: give the current fleet, not a plan"
            )
    if duplicates := [name for name, count in Counter(demand.name for demand in demands).items() if count > 1]:
        raise LayoutError(f"demands: duplicate name {duplicates[0]}")
    requested = demands
    demands, merged_members = _merge(requested)

    def finish(after: Fleet, bounds: Bounds) -> Plan:
        after = reduce_interruptions(fleet, _split(after, merged_members), requested)
        return _make_plan(fleet, after, requested, bounds)

    items = exact.make_items(fleet, demands)
    initial = greedy.solve(fleet, demands)
    bounds, dual_prices = _bounds(fleet, initial, demands, items)
    alternative = cutting_stock.solve(fleet, demands, served_by(initial), dual_prices)
    if evaluate(fleet, alternative, demands).key < evaluate(fleet, initial, demands).key:
        initial = alternative
        bounds, _ = _bounds(fleet, initial, demands, items)
    initial_plan = finish(initial, bounds)
    if initial_plan.optimal:
        return initial_plan
    budget = budget or Budget()
    third = budget.left // 3
    try:
        optimum = exact.solve(fleet, demands, budget.part(budget.left - third))
    except OutOfBudgetError:
        improved = drain.solve(fleet, initial, demands, budget.part(third // 2))
        improved = local_search.improve(fleet, improved, demands, budget.part(third))
        if improved is initial:
            return initial_plan
        bounds, _ = _bounds(fleet, improved, demands, items)
        return finish(improved, bounds)
    objective = evaluate(fleet, optimum, demands)
    proven = Bounds(objective.served, objective.fragmentation, objective.reconfigured, objective.moved)
    # An equally good greedy plan is kept, so the result is the same whether or not the exact search ends.
    chosen = initial if objective == initial_plan.objective else optimum
    return finish(chosen, proven)


def _bounds(
    fleet: Fleet, initial: Fleet, demands: Sequence[Demand], items: Sequence[Item]
) -> tuple[Bounds, dict[str, dict[str, int]]]:
    """Return the bounds of a plan, and the dual prices of `lagrangian.cost_lower_bounds`."""
    objective = evaluate(fleet, initial, demands)
    classes = sorted({demand.priority for demand in demands}, reverse=True)
    cost = Cost(objective.fragmentation, objective.reconfigured, objective.moved)
    later, dual_prices = lagrangian.cost_lower_bounds(
        fleet, items, dict(zip(classes, objective.served, strict=True)), cost
    )
    return Bounds(lp_bound.served_upper_bounds(fleet, items, served_by(initial)), *later), dual_prices


def _merge(demands: Sequence[Demand]) -> tuple[list[Demand], dict[str, list[Demand]]]:
    """Merge demands that differ only in name and count. Demands with a spread limit stay separate."""
    groups: dict[tuple[object, ...], list[Demand]] = {}
    for demand in sorted(demands, key=lambda demand: demand.name):
        alone = demand.name if demand.max_per_node is not None else None
        key = demand.priority, demand.profile, demand.memory_mib, demand.compute_slices, alone
        groups.setdefault(key, []).append(demand)
    merged = [replace(group[0], count=sum(demand.count for demand in group)) for group in groups.values()]
    return merged, {group[0].name: group for group in groups.values() if len(group) > 1}


def _split(fleet: Fleet, merged_members: Mapping[str, list[Demand]]) -> Fleet:
    """Distribute the new instances of a merged demand to its members, by name, in the order of the GPUs."""
    if not merged_members:
        return fleet
    names = {
        merged: itertools.chain.from_iterable(itertools.repeat(demand.name, demand.count) for demand in group)
        for merged, group in merged_members.items()
    }
    gpus = []
    for gpu in fleet.gpus:
        if not any(instance.demand in names and not instance.pod for instance in gpu.instances):
            gpus.append(gpu)
            continue
        # Not `replace`, which takes three times as long, for tens of thousands of instances.
        instances = tuple(
            Instance(instance.start, instance.profile, demand=next(names[instance.demand]))
            if not instance.pod and instance.demand in names
            else instance
            for instance in gpu.instances
        )
        gpus.append(FleetGpu(gpu.name, gpu.node, gpu.model, instances))
    return Fleet(tuple(gpus), fleet.scope)


def _make_plan(before: Fleet, after: Fleet, demands: Sequence[Demand], bounds: Bounds) -> Plan:
    counts = served_by(after)
    return Plan(
        after,
        tuple(sorted({demand.priority for demand in demands}, reverse=True)),
        evaluate(before, after, demands),
        bounds,
        {demand.name: counts[demand.name] for demand in demands},
    )
