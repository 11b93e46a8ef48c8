"""Reports on a plan as plain data, for tables, files and other programs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from inferstack.mig import catalogue
from inferstack.mig.fleet import Fleet
from inferstack.mig.fragmentation import gpu_fragmentation
from inferstack.mig.planner.diff import Diff, Move, Park, Reconfigure, Step
from inferstack.mig.planner.driver_choice import DriverChoice, find_driver_choices
from inferstack.mig.planner.layouts import Output, node_order
from inferstack.mig.planner.model import Demand, Plan

Row = dict[str, Any]


def make_report(before: Fleet, demands: Sequence[Demand], plan: Plan, steps: Diff, output: Output) -> Row:
    """Return the report on a plan.

    Args:
        before: the current fleet.
        demands: the demands.
        plan: the plan for these demands.
        steps: from `inferstack.mig.planner.diff`.
        output: from `inferstack.mig.planner.layouts.make_output`.
    """
    gap = plan.gap
    demanded: Counter[int] = Counter()
    for demand in demands:
        demanded[demand.priority] += demand.count
    return {
        "optimal": plan.optimal,
        "priorities": [
            {"priority": priority, "wanted": demanded[priority], "served": served, "moreAtMost": more}
            for priority, served, more in zip(plan.priorities, plan.objective.served, gap.served, strict=True)
        ],
        "demands": [
            {"name": d.name, "priority": d.priority, "wanted": d.count, "served": plan.served[d.name]} for d in demands
        ],
        "fragmentation": {
            "before": sum(gpu_fragmentation(gpu) for gpu in before.gpus),
            "after": plan.objective.fragmentation,
            "lessAtMost": gap.fragmentation,
        },
        "memorySlices": _slices(before, plan.fleet),
        "gpusChanged": {"count": plan.objective.reconfigured, "lessAtMost": gap.reconfigured},
        "podsMoved": {"count": plan.objective.moved, "lessAtMost": gap.moved},
        "driverMayChooseWorse": [_driver_choice_row(item) for item in find_driver_choices(before, plan.fleet)],
        **make_transition(steps, output),
    }


def make_transition(steps: Diff, output: Output) -> Row:
    """Return the part of the report on the transition to the plan."""
    return {
        "nodes": [{"node": item.node, "layout": item.layout} for item in node_order(steps, output.layouts)],
        "newLayouts": list(output.added),
        "podsParked": list(steps.parked),
        "steps": [step_row(number, step) for number, step in enumerate(steps.steps, 1)],
        "neverInterrupted": list(steps.uninterrupted),
    }


def _slices(before: Fleet, after: Fleet) -> Row:
    def used(fleet: Fleet) -> int:
        return sum(
            catalogue.gpu(gpu.model).profiles[instance.profile].memory_slices
            for gpu in fleet.gpus
            for instance in gpu.instances
            if not instance.idle
        )

    total = sum(catalogue.gpu(gpu.model).memory_slices for gpu in before.gpus)
    return {"total": total, "usedBefore": used(before), "usedAfter": used(after)}


def _driver_choice_row(item: DriverChoice) -> Row:
    why = "its starts are the driver's choice" if item.reconfigured else "its counts stay, so it is not cut anew"
    return {"gpu": item.gpu, "planned": item.planned, "worst": item.worst, "why": why}


def step_row(number: int, step: Step) -> Row:
    """Return one step, with the same keys for each kind of step."""
    if isinstance(step, Reconfigure):
        return _row(
            number,
            "reconfigure",
            step.gpu,
            change=f"{_format_placements(step.remove, '-')} {_format_placements(step.create, '+')}",
        )
    if isinstance(step, Move):
        return _row(
            number,
            "move",
            step.from_gpu,
            step.pod,
            _format_placement(step.from_placement),
            f"{step.to_gpu} {_format_placement(step.to_placement)}",
        )
    if isinstance(step, Park):
        return _row(number, "park", step.gpu, step.pod, _format_placement(step.placement))
    return _row(number, "start", step.gpu, step.pod or f"new, for {step.demand}", _format_placement(step.placement))


def _row(number: int, action: str, gpu: str, pod: str = "", change: str = "", to: str = "") -> Row:
    return {"step": number, "action": action, "gpu": gpu, "pod": pod, "instance": change.strip(), "to": to}


def _format_placement(instance: tuple[int, str]) -> str:
    return f"{instance[1]}@{instance[0]}"


def _format_placements(placements: Sequence[tuple[int, str]], sign: str) -> str:
    counts = Counter(name for _, name in placements)
    return " ".join(f"{sign}{count}x{name}" for name, count in sorted(counts.items()))


def make_labels(layouts: Mapping[str, str], label: str) -> list[Row]:
    """Return Node objects with nothing but the label, for a server-side apply."""
    return [
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "labels": {label: layout}}}
        for node, layout in layouts.items()
    ]
