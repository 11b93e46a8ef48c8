"""What the planner is given and what it returns."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from inferstack.mig import catalogue
from inferstack.mig.errors import LayoutError

Scope = Literal["instance", "gpu", "node"]
"""What stops when an instance is created: nothing else, the pods of its GPU, or those of all GPUs of its node."""


@dataclass(frozen=True, order=True)
class Instance:
    """One MIG instance and who uses it; without ``pod`` and ``demand`` it is idle and may be removed or used."""

    start: int
    """First unit of the memory axis."""
    profile: str
    pod: str = ""
    """The pod that runs on it, unique in the fleet. In a plan, empty for a demand that is newly served."""
    demand: str = ""
    """The demand that the pod counts for, for the spread limit."""
    pinned: bool = False
    """True: the pod may not be moved."""

    @property
    def idle(self) -> bool:
        """Nobody uses it."""
        return not self.pod and not self.demand


@dataclass(frozen=True)
class FleetGpu:
    """One GPU and the instances on it."""

    name: str
    """Unique in the fleet."""
    node: str
    model: str
    """Name of the board in the catalogue."""
    instances: tuple[Instance, ...] = ()


@dataclass(frozen=True)
class Fleet:
    """All GPUs.

    Raises:
        LayoutError: a name that is used twice, a pinned instance without a pod, or instances that cannot be together.
        CatalogueError: a board that is not in the catalogue.
    """

    gpus: tuple[FleetGpu, ...]
    scope: Scope = "gpu"
    """``gpu``: a GPU is reconfigured as a whole, which stops every pod on it: NVIDIA/mig-parted removes all instances
    of a GPU before it creates any (``SetMigConfig`` in ``pkg/mig/config/config.go``).
    ``node``: the GPU operator's MIG manager acts on a node's label and stops the GPU clients of the whole node first
    (mig-parted ``pkg/mig/reconfigure/reconfigure.go``); a pod's node is known then, and its GPU need not be.
    ``instance``: single instances are removed and created beside running ones, as the driver can."""

    def __post_init__(self) -> None:
        for what, names in (
            ("GPU", [gpu.name for gpu in self.gpus]),
            ("pod", [seat.pod for gpu in self.gpus for seat in gpu.instances if seat.pod]),
        ):
            if twice := sorted(name for name, count in Counter(names).items() if count > 1):
                raise LayoutError(f"the {what} {twice[0]} is in the fleet twice")
        if self.scope not in get_args(Scope):
            raise LayoutError(f"the scope {self.scope!r} is none of {', '.join(get_args(Scope))}")
        for gpu in self.gpus:
            for seat in gpu.instances:
                if seat.pinned and not seat.pod:
                    raise LayoutError(f"{gpu.name}: the instance at {seat.start} is pinned, but no pod is on it")
            if not legal(gpu.model, gpu.instances):
                told = ", ".join(f"{seat.profile}@{seat.start}" for seat in gpu.instances)
                raise LayoutError(f"{gpu.name}: {gpu.model} cannot hold {told}")


@dataclass(frozen=True)
class Demand:
    """Equal instances that somebody wants beyond those that run: by ``profile``, or by what each needs.

    Raises:
        LayoutError: a count below 0, neither or both of profile and need, or a spread limit below 1.
    """

    name: str
    count: int
    priority: int = 0
    """Higher is served first."""
    profile: str = ""
    memory_mib: int = 0
    compute_slices: int = 0
    max_per_node: int | None = None
    """At most so many pods of this demand on one node, those that run already included."""

    def __post_init__(self) -> None:
        if not self.name:
            raise LayoutError("a demand has no name")
        if self.count < 0:
            raise LayoutError(f"{self.name}: a count of {self.count} is below 0")
        if bool(self.profile) == (self.memory_mib > 0 or self.compute_slices > 0):
            raise LayoutError(f"{self.name}: give either a profile or memory and compute slices")
        if self.max_per_node is not None and self.max_per_node < 1:
            raise LayoutError(f"{self.name}: at most {self.max_per_node} a node would never be served")

    def on(self, model: str) -> str:
        """Return the profile that serves this demand on a board, or an empty string.

        A need is served by the smallest sufficient profile (memory slices, then compute slices): a larger one would
        hide free slices inside an instance.
        """
        profiles = catalogue.gpu(model).profiles
        if self.profile:
            return self.profile if self.profile in profiles else ""
        enough = [
            (found.memory_slices, found.compute_slices, found.name)
            for found in profiles.values()
            if not found.media_extensions
            and found.memory_mib >= self.memory_mib
            and found.compute_slices >= self.compute_slices
        ]
        return min(enough)[2] if enough else ""


@dataclass(frozen=True)
class Objective:
    """What a plan is judged by, in this order."""

    served: tuple[int, ...]
    """Demanded instances that are served, by priority class from the highest down."""
    fragmentation: int
    reconfigured: int
    """GPUs on which an instance is created."""
    moved: int
    """Pods that leave their instance, or are stopped there as their GPU is reconfigured as a whole."""

    @property
    def key(self) -> tuple[tuple[int, ...], int, int, int]:
        """Less is better."""
        return tuple(-count for count in self.served), self.fragmentation, self.reconfigured, self.moved


@dataclass(frozen=True)
class Bounds:
    """What no plan can beat.

    ``served[k]`` holds among the plans that serve the higher classes as this plan does, the other criteria among those
    that serve all classes as it does.
    """

    served: tuple[int, ...]
    fragmentation: int = 0
    reconfigured: int = 0
    moved: int = 0


class Gap(NamedTuple):
    """What is between a plan and its bounds, for each criterion."""

    served: tuple[int, ...]
    """Instances more, by priority class from the highest down."""
    fragmentation: int
    reconfigured: int
    moved: int


@dataclass(frozen=True)
class Plan:
    """The fleet as it should become."""

    fleet: Fleet
    """The same GPUs in the same order; new instances carry their demand and no pod."""
    priorities: tuple[int, ...]
    """The priority classes, from the highest down, as in ``objective.served``."""
    objective: Objective
    bounds: Bounds
    served: Mapping[str, int]
    """Newly served instances by demand."""

    @property
    def optimal(self) -> bool:
        """The plan is proven to be the best by all criteria."""
        best = Objective(self.bounds.served, self.bounds.fragmentation, self.bounds.reconfigured, self.bounds.moved)
        return self.objective == best

    @property
    def gap(self) -> Gap:
        """How much better a plan could be at most; see `Bounds`."""
        best, mine = self.bounds, self.objective
        return Gap(
            tuple(most - found for most, found in zip(best.served, mine.served, strict=True)),
            mine.fragmentation - best.fragmentation,
            mine.reconfigured - best.reconfigured,
            mine.moved - best.moved,
        )


class OutOfBudgetError(Exception):
    """The search was stopped before its end."""


class Budget:
    """How long the exact search may go on: by steps, which is deterministic, and by the caller's own clock."""

    def __init__(self, steps: int = 300_000, expired: Callable[[], bool] | None = None) -> None:
        """Allow ``steps`` combinations of two partial plans, and end when ``expired``, asked now and then, is true."""
        self.left = steps
        self._expired = expired
        self._whole: Budget | None = None

    def part(self, steps: int) -> Budget:
        """Return a budget of at most ``steps`` of what is left, which are used up here, too."""
        found = Budget(max(0, min(steps, self.left)), self._expired)
        found._whole = self
        return found

    def take(self, steps: int) -> None:
        """Use up steps; `OutOfBudgetError` where there are not enough, or the time is over."""
        budget: Budget | None = self
        while budget is not None:
            budget.left -= steps
            budget = budget._whole
        if self.left >= 0 and self._expired is not None and self._expired():
            self._end()
        if self.left < 0:
            raise OutOfBudgetError

    def _end(self) -> None:
        """Leave nothing, so that the clock is not asked again."""
        self.left = -1
        if self._whole is not None:
            self._whole._end()


def legal(model: str, seats: tuple[Instance, ...]) -> bool:
    """Tell whether a GPU can carry these instances at these starts: the rules of `inferstack.mig.placement`."""
    return _legal(model, tuple([(seat.start, seat.profile) for seat in seats]))


@functools.lru_cache(maxsize=65536)
def _legal(model: str, seats: tuple[tuple[int, str], ...]) -> bool:
    board = catalogue.gpu(model)
    taken = compute = extended = 0
    media: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for start, name in seats:
        profile = board.profiles.get(name)
        if profile is None or start not in profile.starts:
            return False
        mask = ((1 << profile.memory_slices) - 1) << start
        if taken & mask:
            return False
        taken |= mask
        compute += profile.compute_slices
        extended += profile.media_extensions
        media.update(profile.engines)
        counts[name] += 1
        if counts[name] > profile.max_count:
            return False
    if compute > board.compute_slices or extended > 1:
        return False
    return all(media[engine] <= total for engine, total in board.engines.items() if engine != "copy")
