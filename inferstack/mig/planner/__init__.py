"""Which MIG instances each GPU of a fleet should carry: the planner, without I/O and without a clock."""

from __future__ import annotations

from inferstack.mig.fleet import Fleet, FleetGpu, Instance, Scope
from inferstack.mig.planner.diff import Diff, diff
from inferstack.mig.planner.model import Bounds, Budget, Demand, Gap, Objective, Plan
from inferstack.mig.planner.solver import plan

__all__ = [
    "Bounds",
    "Budget",
    "Demand",
    "Diff",
    "Fleet",
    "FleetGpu",
    "Gap",
    "Instance",
    "Objective",
    "Plan",
    "Scope",
    "diff",
    "plan",
]
