"""Input and output of the planner: demands, objective, bounds, plan and search budget."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from inferstack.mig import catalogue
from inferstack.mig.errors import LayoutError
from inferstack.mig.fleet import Fleet


@dataclass(frozen=True)
class Demand:
    """Equal instances requested on top of those that run, by ``profile`` or by the resources that each needs.

    Raises:
        LayoutError: a count below 0, neither or both of profile and resources, or a spread limit below 1.
    """

    name: str
    count: int
    priority: int = 0
    """Higher is served first."""
    profile: str = ""
    memory_mib: int = 0
    compute_slices: int = 0
    max_per_node: int | None = None
    """Maximum pods of this demand per node, running pods included."""

    def __post_init__(self) -> None:
        if not self.name:
            raise LayoutError("a demand has no name")
        if self.count < 0:
            raise LayoutError(f"{self.name}: a count of {self.count} is below 0")
        if bool(self.profile) == (self.memory_mib > 0 or self.compute_slices > 0):
            raise LayoutError(f"{self.name}: give either a profile or memory and compute slices")
        if self.max_per_node is not None and self.max_per_node < 1:
            raise LayoutError(f"{self.name}: a limit of {self.max_per_node} per node is below 1")

    def on(self, model: str) -> str:
        """Return the profile that serves this demand on a GPU model, or an empty string.

        Resources are served by the smallest sufficient profile (memory slices, then compute slices). A larger profile
        would hide free slices inside an instance.
        """
        profiles = catalogue.gpu(model).profiles
        if self.profile:
            return self.profile if self.profile in profiles else ""
        sufficient = [
            (profile.memory_slices, profile.compute_slices, profile.name)
            for profile in profiles.values()
            if not profile.media_extensions
            and profile.memory_mib >= self.memory_mib
            and profile.compute_slices >= self.compute_slices
        ]
        return min(sufficient)[2] if sufficient else ""


@dataclass(frozen=True)
class Objective:
    """The criteria of a plan, in lexicographic order."""

    served: tuple[int, ...]
    """Served instances by priority class, from the highest down."""
    fragmentation: int
    reconfigured: int
    """GPUs on which an instance is created."""
    moved: int
    """Pods that leave their instance, or are stopped on it because their GPU is reconfigured as a whole."""

    @property
    def key(self) -> tuple[tuple[int, ...], int, int, int]:
        """Sort key; lower is better."""
        return tuple(-count for count in self.served), self.fragmentation, self.reconfigured, self.moved


@dataclass(frozen=True)
class Bounds:
    """Bounds on the objective of any plan.

    ``served[k]`` is an upper bound among the plans that serve the higher classes as this plan does. The other criteria
    are lower bounds among the plans that serve all classes as this plan does.
    """

    served: tuple[int, ...]
    fragmentation: int = 0
    reconfigured: int = 0
    moved: int = 0


class Gap(NamedTuple):
    """The difference between a plan and its bounds, by criterion."""

    served: tuple[int, ...]
    """Additional instances by priority class, from the highest down."""
    fragmentation: int
    reconfigured: int
    moved: int


@dataclass(frozen=True)
class Plan:
    """The target fleet, with its objective and bounds."""

    fleet: Fleet
    """The same GPUs in the same order. New instances carry their demand and no pod."""
    priorities: tuple[int, ...]
    """The priority classes, from the highest down, as in ``objective.served``."""
    objective: Objective
    bounds: Bounds
    served: Mapping[str, int]
    """Newly served instances by demand."""

    @property
    def optimal(self) -> bool:
        """Whether the plan is proven optimal by all criteria."""
        best = Objective(self.bounds.served, self.bounds.fragmentation, self.bounds.reconfigured, self.bounds.moved)
        return self.objective == best

    @property
    def gap(self) -> Gap:
        """How much better a plan could be at most; see `Bounds`."""
        bounds, objective = self.bounds, self.objective
        return Gap(
            tuple(bound - served for bound, served in zip(bounds.served, objective.served, strict=True)),
            objective.fragmentation - bounds.fragmentation,
            objective.reconfigured - bounds.reconfigured,
            objective.moved - bounds.moved,
        )


class OutOfBudgetError(Exception):
    """The search ran out of budget."""


class Budget:
    """Limits the search by steps, which is deterministic, and by the caller's clock."""

    def __init__(self, steps: int = 300_000, expired: Callable[[], bool] | None = None) -> None:
        """Allow ``steps`` combinations of two partial plans, and stop once ``expired``, polled in between, is true."""
        self.left = steps
        self._expired = expired
        self._parent: Budget | None = None

    def part(self, steps: int) -> Budget:
        """Return a budget of at most ``steps``; its steps are also taken from this one."""
        child = Budget(max(0, min(steps, self.left)), self._expired)
        child._parent = self
        return child

    def take(self, steps: int) -> None:
        """Use steps.

        Raises:
            OutOfBudgetError: too few steps are left, or the time has expired.
        """
        budget: Budget | None = self
        while budget is not None:
            budget.left -= steps
            budget = budget._parent
        if self.left >= 0 and self._expired is not None and self._expired():
            self._end()
        if self.left < 0:
            raise OutOfBudgetError

    def _end(self) -> None:
        """Leave no steps, so that the clock is not polled again."""
        self.left = -1
        if self._parent is not None:
            self._parent._end()
