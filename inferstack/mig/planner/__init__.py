"""Which MIG instances each GPU of a fleet should carry: the planner, without I/O and without a clock."""

from __future__ import annotations

from inferstack.mig.planner.diff import Diff, diff
from inferstack.mig.planner.model import Bounds, Budget, Demand, Fleet, FleetGpu, Gap, Instance, Objective, Plan, Scope
from inferstack.mig.planner.solve import plan

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
