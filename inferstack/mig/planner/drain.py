"""Drain whole GPUs or nodes and reschedule their pods, to improve plans of large fleets.

The greedy plans do not touch a GPU on which a change would stop a pod; under the scope ``node`` one pod blocks a whole
node. Here GPUs or nodes whose pods are all movable are drained, those with the fewest pods first: all of them, a half,
a quarter. Their pods become demands above all others, so that each is placed again. The best of these plans is kept. A
pod keeps its instance if the instance still exists and its GPU or node is not reconfigured after all.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from inferstack.mig.fleet import Fleet, FleetGpu, Instance
from inferstack.mig.planner import greedy
from inferstack.mig.planner.model import Budget, Demand, OutOfBudgetError
from inferstack.mig.planner.objective import evaluate

_STEPS = 20
"""Budget steps per GPU of one attempt."""

_SHARES = (1, 2, 4)

PodGroup = tuple[str, str, str]
"""GPU model, profile and demand of pods."""


def solve(before: Fleet, after: Fleet, demands: Sequence[Demand], budget: Budget) -> Fleet:
    """Return a plan at least as good as ``after``.

    Args:
        before: the current fleet.
        after: a plan for it in which no pod moves.
        demands: the demands to serve.
        budget: limits the number of attempts.
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
        planned = _drain(before, units[:count], demands)
        if planned is not None and (objective_key := evaluate(before, planned, demands).key) < key:
            best, key = planned, objective_key
    return best


def _unserved(fleet: Fleet, demands: Sequence[Demand]) -> list[int]:
    counts = Counter(s.demand for gpu in fleet.gpus for s in gpu.instances if s.demand and not s.pod)
    return [demand.count - counts[demand.name] for demand in demands]


def _units(fleet: Fleet, limited: set[str]) -> list[set[str]]:
    """Return the GPU names of each unit (GPU or node) whose pods are all movable, fewest pods first."""
    planned: dict[str, list[FleetGpu]] = {}
    for gpu in fleet.gpus:
        planned.setdefault(gpu.node if fleet.scope == "node" else gpu.name, []).append(gpu)
    ranked: list[tuple[int, int, set[str]]] = []
    for gpus in planned.values():
        pods = [instance for gpu in gpus for instance in gpu.instances if instance.pod]
        if pods and not any(instance.pinned or instance.demand in limited for instance in pods):
            ranked.append((len(pods), len(ranked), {gpu.name for gpu in gpus}))
    return [names for _, _, names in sorted(ranked, key=lambda unit: unit[:2])]


def _drain(before: Fleet, units: Sequence[set[str]], demands: Sequence[Demand]) -> Fleet | None:
    """Return a plan with these units drained, or None if a pod cannot be placed again."""
    names = set().union(*units)
    origins: dict[PodGroup, dict[tuple[str, Instance], None]] = {}
    gpus = []
    for gpu in before.gpus:
        if gpu.name in names:
            for instance in gpu.instances:
                if instance.pod:
                    origins.setdefault((gpu.model, instance.profile, instance.demand), {})[gpu.name, instance] = None
            gpus.append(replace(gpu, instances=tuple(Instance(s.start, s.profile) for s in gpu.instances)))
        else:
            gpus.append(gpu)
    top = max((demand.priority for demand in demands), default=0) + 1
    # A demand of a user cannot have such a name: neither YAML files nor object names can contain NUL.
    groups = {f"\0{number}": group for number, group in enumerate(sorted(origins))}
    pods = [Demand(name, len(origins[group]), top, group[1]) for name, group in groups.items()]
    planned = greedy.solve(
        Fleet(tuple(gpus), before.scope), [*pods, *demands], {name: group[0] for name, group in groups.items()}
    )
    counts = Counter(instance.demand for gpu in planned.gpus for instance in gpu.instances)
    if any(counts[demand.name] < demand.count for demand in pods):
        return None
    return _assign_pods(planned, groups, origins)


def _assign_pods(
    planned: Fleet, groups: dict[str, PodGroup], origins: dict[PodGroup, dict[tuple[str, Instance], None]]
) -> Fleet:
    """Assign the drained pods to the instances planned for them, each to its own instance where possible."""
    assigned: dict[tuple[str, int], Instance] = {}
    unassigned: list[tuple[str, Instance]] = []
    for gpu in planned.gpus:
        for instance in gpu.instances:
            if instance.demand in groups:
                group = groups[instance.demand]
                own = next((at for at in origins[group] if at[0] == gpu.name and at[1].start == instance.start), None)
                if own is None:
                    unassigned.append((gpu.name, instance))
                else:
                    del origins[group][own]
                    assigned[gpu.name, instance.start] = own[1]
    for name, instance in unassigned:
        origin = next(iter(origins[groups[instance.demand]]))
        del origins[groups[instance.demand]][origin]
        assigned[name, instance.start] = origin[1]
    gpus = []
    for gpu in planned.gpus:
        instances = tuple(
            replace(
                instance, pod=assigned[gpu.name, instance.start].pod, demand=assigned[gpu.name, instance.start].demand
            )
            if (gpu.name, instance.start) in assigned
            else instance
            for instance in gpu.instances
        )
        gpus.append(gpu if instances == gpu.instances else replace(gpu, instances=instances))
    return Fleet(tuple(gpus), planned.scope)
