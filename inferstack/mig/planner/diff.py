"""The ordered steps from a fleet to a planned one, as data.

Only differences are listed. A GPU is reconfigured once the pods that this would stop have left. A pod moves once its
new instance exists and is free, so it can start there before it stops on the old one. Where moves wait for each other
in a cycle, one pod is parked: stopped without a new instance, and started again later. Parked pods are the only ones
that are down longer than a move. Their number is not proven to be minimal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from inferstack.mig.errors import LayoutError
from inferstack.mig.fleet import Fleet, FleetGpu
from inferstack.mig.planner.objective import stopped_gpus

Placement = tuple[int, str]
"""Start and profile."""


@dataclass(frozen=True)
class Reconfigure:
    """Remove and create instances on one GPU.

    By then no pod is left on the GPU (scope ``gpu``) or on its whole node (scope ``node``, where the changes of one
    node follow each other).
    """

    gpu: str
    node: str
    remove: tuple[Placement, ...]
    create: tuple[Placement, ...]


@dataclass(frozen=True)
class Move:
    """Start a pod on another instance, which exists and is free, and stop it on the old one."""

    pod: str
    from_gpu: str
    from_placement: Placement
    to_gpu: str
    to_placement: Placement


@dataclass(frozen=True)
class Park:
    """Stop a pod that blocks other steps."""

    pod: str
    gpu: str
    placement: Placement


@dataclass(frozen=True)
class Start:
    """Start a parked pod again or, if ``pod`` is empty, a new pod of a demand."""

    pod: str
    demand: str
    gpu: str
    placement: Placement


Step = Reconfigure | Move | Park | Start


@dataclass(frozen=True)
class Diff:
    """The steps in order, and a summary of them."""

    steps: tuple[Step, ...]
    uninterrupted: tuple[str, ...]
    """Pods that no step touches."""

    @property
    def reconfigured(self) -> tuple[str, ...]:
        """GPUs that are reconfigured."""
        return tuple(step.gpu for step in self.steps if isinstance(step, Reconfigure))

    @property
    def nodes(self) -> tuple[str, ...]:
        """Nodes with a reconfigured GPU, in the order of the first reconfiguration."""
        return tuple(dict.fromkeys(step.node for step in self.steps if isinstance(step, Reconfigure)))

    @property
    def parked(self) -> tuple[str, ...]:
        """Pods that are down between two steps."""
        return tuple(step.pod for step in self.steps if isinstance(step, Park))


def diff(before: Fleet, after: Fleet) -> Diff:
    """Return the steps from one fleet to another with the same GPUs and pods.

    Raises:
        LayoutError: the fleets differ in their GPUs or pods, or a pinned pod would be stopped.
    """
    transition = _Transition(before, after)
    while transition.pending:
        if not transition.advance():
            transition.park()
    return Diff(tuple(transition.steps), tuple(sorted(transition.undisturbed)))


class _Transition:
    """The fleet during the transition, and the work that is left."""

    def __init__(self, before: Fleet, after: Fleet) -> None:
        old, new = _placement_by_pod(before), _placement_by_pod(after)
        if [(g.name, g.node, g.model) for g in before.gpus] != [(g.name, g.node, g.model) for g in after.gpus]:
            raise LayoutError("the two fleets do not have the same GPUs")
        if missing := sorted(old.keys() ^ new.keys()):
            raise LayoutError(f"the pod {missing[0]} is in one of the two fleets only")
        self._changing = {
            gpu.name: gpu
            for old_gpu, gpu in zip(before.gpus, after.gpus, strict=True)
            if _placements_of(old_gpu) != _placements_of(gpu)
        }
        stopped = stopped_gpus(before, self._changing)
        self.undisturbed = {pod for pod, place in old.items() if new[pod] == place and place[0] not in stopped}
        if pinned := sorted(
            s.pod for g in before.gpus for s in g.instances if s.pinned and s.pod not in self.undisturbed
        ):
            raise LayoutError(f"the pod {pinned[0]} is pinned and would be stopped")
        self.steps: list[Step] = []
        self._scope = before.scope
        # A unit is what is reconfigured at once: a GPU or a node.
        self._unit = {gpu.name: gpu.node if before.scope == "node" else gpu.name for gpu in before.gpus}
        self._gpus: dict[str, list[str]] = {}
        for name, unit in self._unit.items():
            self._gpus.setdefault(unit, []).append(name)
        self._waiting = dict.fromkeys(self._unit[name] for name in self._changing)
        self._target = new
        self._placement_by_pod = dict(old)
        self._occupied = {place: pod for pod, place in old.items()}
        self._placements = {gpu.name: _placements_of(gpu) for gpu in before.gpus}
        self._moves = [pod for pod in old if pod not in self.undisturbed]
        self._parked: list[str] = []
        self._new = [(g.name, s) for g in after.gpus for s in g.instances if s.demand and not s.pod]

    @property
    def pending(self) -> bool:
        """Whether work is left."""
        return bool(self._changing or self._moves or self._parked or self._new)

    def advance(self) -> bool:
        """Take every step that is possible now. Return whether there was one."""
        count = len(self.steps)
        for unit in list(self._waiting):
            self._reconfigure(unit)
        for pod in list(self._parked):
            if self._ready(*self._target[pod]):
                self._parked.remove(pod)
                self._assign(pod, *self._target[pod])
                self.steps.append(Start(pod, "", *self._target[pod]))
        for pod in list(self._moves):
            if self._ready(*self._target[pod]):
                self._moves.remove(pod)
                self.steps.append(Move(pod, *self._placement_by_pod[pod], *self._target[pod]))
                del self._occupied[self._placement_by_pod[pod]]
                self._assign(pod, *self._target[pod])
        waiting = []
        for name, placement in self._new:
            if self._ready(name, (placement.start, placement.profile)):
                self.steps.append(Start("", placement.demand, name, (placement.start, placement.profile)))
                self._occupied[name, (placement.start, placement.profile)] = ""
            else:
                waiting.append((name, placement))
        self._new = waiting
        return len(self.steps) > count

    def park(self) -> None:
        """Park the pod that blocks the reconfiguration with the fewest pods, or the first pod of a cycle of moves."""
        blocked = [(len(pods), pods) for unit in self._waiting if (pods := self._pods_leaving(unit))]
        pod = min(blocked)[1][0] if blocked else self._moves[0]
        self._moves.remove(pod)
        self._parked.append(pod)
        self.steps.append(Park(pod, *self._placement_by_pod[pod]))
        del self._occupied[self._placement_by_pod.pop(pod)]

    def _reconfigure(self, unit: str) -> None:
        names = [name for name in self._gpus[unit] if name in self._changing]
        if self._scope == "instance":
            if any(
                (name, placement) in self._occupied
                for name in names
                for placement in self._placements[name] - _placements_of(self._changing[name])
            ):
                return
        elif any(
            (name, placement) in self._occupied for name in self._gpus[unit] for placement in self._placements[name]
        ):
            return
        for name in names:
            gpu = self._changing.pop(name)
            current, target = self._placements[name], _placements_of(gpu)
            self.steps.append(
                Reconfigure(name, gpu.node, tuple(sorted(current - target)), tuple(sorted(target - current)))
            )
            self._placements[name] = target
        del self._waiting[unit]

    def _ready(self, name: str, placement: Placement) -> bool:
        if self._scope != "instance" and self._unit[name] in self._waiting:
            return False
        return placement in self._placements[name] and (name, placement) not in self._occupied

    def _assign(self, pod: str, name: str, placement: Placement) -> None:
        self._placement_by_pod[pod] = (name, placement)
        self._occupied[name, placement] = pod

    def _pods_leaving(self, unit: str) -> list[str]:
        """Return the pods on a GPU or node that are yet to leave it."""
        moving = set(self._moves)
        placements = ((name, placement) for name in self._gpus[unit] for placement in sorted(self._placements[name]))
        return [pod for placement in placements if (pod := self._occupied.get(placement)) and pod in moving]


def _placement_by_pod(fleet: Fleet) -> Mapping[str, tuple[str, Placement]]:
    return {s.pod: (gpu.name, (s.start, s.profile)) for gpu in fleet.gpus for s in gpu.instances if s.pod}


def _placements_of(gpu: FleetGpu) -> frozenset[Placement]:
    return frozenset((placement.start, placement.profile) for placement in gpu.instances)
