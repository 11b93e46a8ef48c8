"""What has to be done, and in which order, to get from a fleet to a planned one: pure data.

Only what differs is listed. A GPU is reconfigured once the pods that its change would stop are away; a pod moves once
its new instance exists and is free, so it can be started there before it is stopped here. Where moves wait for one
another in a circle, one pod is parked: stopped without a new place yet, and started again later. Those parked are the
only pods that are down for longer than a move; that their number is the least possible is not proven.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from inferstack.mig.errors import LayoutError
from inferstack.mig.planner.model import Fleet, FleetGpu
from inferstack.mig.planner.patterns import stopped_gpus

Seat = tuple[int, str]
"""Start and profile."""


@dataclass(frozen=True)
class Reconfigure:
    """Remove and create instances on one GPU.

    No pod is on the GPU then where the fleet's scope is ``gpu``, none on its whole node where it is ``node``; the
    changes of one node follow each other there.
    """

    gpu: str
    node: str
    remove: tuple[Seat, ...]
    create: tuple[Seat, ...]


@dataclass(frozen=True)
class Move:
    """Start a pod on another instance, which exists and is free, and stop it on its own."""

    pod: str
    from_gpu: str
    from_seat: Seat
    to_gpu: str
    to_seat: Seat


@dataclass(frozen=True)
class Park:
    """Stop a pod that other steps wait for."""

    pod: str
    gpu: str
    seat: Seat


@dataclass(frozen=True)
class Start:
    """Start a parked pod again, or, with an empty name, a new one of a demand."""

    pod: str
    demand: str
    gpu: str
    seat: Seat


Step = Reconfigure | Move | Park | Start


@dataclass(frozen=True)
class Diff:
    """The steps in order, and a summary of them."""

    steps: tuple[Step, ...]
    uninterrupted: tuple[str, ...]
    """Pods that no step touches."""

    @property
    def reconfigured(self) -> tuple[str, ...]:
        """GPUs that change."""
        return tuple(step.gpu for step in self.steps if isinstance(step, Reconfigure))

    @property
    def nodes(self) -> tuple[str, ...]:
        """Nodes with a GPU that changes, in the order of the first change."""
        return tuple(dict.fromkeys(step.node for step in self.steps if isinstance(step, Reconfigure)))

    @property
    def parked(self) -> tuple[str, ...]:
        """Pods that are down between two steps."""
        return tuple(step.pod for step in self.steps if isinstance(step, Park))


def diff(before: Fleet, after: Fleet) -> Diff:
    """Return the steps from one fleet to another with the same GPUs and all its pods.

    Raises:
        LayoutError: the fleets differ in their GPUs, a pod is lost or new, or a pinned one is stopped.
    """
    work = _Work(before, after)
    while work.left:
        if not work.go():
            work.park()
    return Diff(tuple(work.steps), tuple(sorted(work.stays)))


class _Work:
    """The fleet in the middle of the change, and what is still to be done."""

    def __init__(self, before: Fleet, after: Fleet) -> None:
        old, new = _places(before), _places(after)
        if [(g.name, g.node, g.model) for g in before.gpus] != [(g.name, g.node, g.model) for g in after.gpus]:
            raise LayoutError("the two fleets do not have the same GPUs")
        if missing := sorted(old.keys() ^ new.keys()):
            raise LayoutError(f"the pod {missing[0]} is in one of the two fleets only")
        self._change = {
            gpu.name: gpu
            for old_gpu, gpu in zip(before.gpus, after.gpus, strict=True)
            if _seats(old_gpu) != _seats(gpu)
        }
        stopped = stopped_gpus(before, self._change)
        self.stays = {pod for pod, place in old.items() if new[pod] == place and place[0] not in stopped}
        if pinned := sorted(s.pod for g in before.gpus for s in g.instances if s.pinned and s.pod not in self.stays):
            raise LayoutError(f"the pod {pinned[0]} is pinned and would be stopped")
        self.steps: list[Step] = []
        self._scope = before.scope
        # What is reconfigured at once, a GPU or a node, by GPU; and its GPUs.
        self._unit = {gpu.name: gpu.node if before.scope == "node" else gpu.name for gpu in before.gpus}
        self._gpus: dict[str, list[str]] = {}
        for name, unit in self._unit.items():
            self._gpus.setdefault(unit, []).append(name)
        self._waiting = dict.fromkeys(self._unit[name] for name in self._change)
        self._goal = new
        self._at = dict(old)
        self._taken = {place: pod for pod, place in old.items()}
        self._seats = {gpu.name: _seats(gpu) for gpu in before.gpus}
        self._moves = [pod for pod in old if pod not in self.stays]
        self._parked: list[str] = []
        self._new = [(g.name, s) for g in after.gpus for s in g.instances if s.demand and not s.pod]

    @property
    def left(self) -> bool:
        """Something is still to be done."""
        return bool(self._change or self._moves or self._parked or self._new)

    def go(self) -> bool:
        """Take every step that can be taken now; False where there is none."""
        done = len(self.steps)
        for unit in list(self._waiting):
            self._reconfigure(unit)
        for pod in list(self._parked):
            if self._ready(*self._goal[pod]):
                self._parked.remove(pod)
                self._put(pod, *self._goal[pod])
                self.steps.append(Start(pod, "", *self._goal[pod]))
        for pod in list(self._moves):
            if self._ready(*self._goal[pod]):
                self._moves.remove(pod)
                self.steps.append(Move(pod, *self._at[pod], *self._goal[pod]))
                del self._taken[self._at[pod]]
                self._put(pod, *self._goal[pod])
        waiting = []
        for name, seat in self._new:
            if self._ready(name, (seat.start, seat.profile)):
                self.steps.append(Start("", seat.demand, name, (seat.start, seat.profile)))
                self._taken[name, (seat.start, seat.profile)] = ""
            else:
                waiting.append((name, seat))
        self._new = waiting
        return len(self.steps) > done

    def park(self) -> None:
        """Stop the pod that holds up the change with the fewest pods, or the first of a circle of moves."""
        blocked = [(len(pods), pods) for unit in self._waiting if (pods := self._leaving(unit))]
        pod = min(blocked)[1][0] if blocked else self._moves[0]
        self._moves.remove(pod)
        self._parked.append(pod)
        self.steps.append(Park(pod, *self._at[pod]))
        del self._taken[self._at.pop(pod)]

    def _reconfigure(self, unit: str) -> None:
        names = [name for name in self._gpus[unit] if name in self._change]
        if self._scope == "instance":
            if any(
                (name, seat) in self._taken for name in names for seat in self._seats[name] - _seats(self._change[name])
            ):
                return
        elif any((name, seat) in self._taken for name in self._gpus[unit] for seat in self._seats[name]):
            return
        for name in names:
            gpu = self._change.pop(name)
            now, goal = self._seats[name], _seats(gpu)
            self.steps.append(Reconfigure(name, gpu.node, tuple(sorted(now - goal)), tuple(sorted(goal - now))))
            self._seats[name] = goal
        del self._waiting[unit]

    def _ready(self, name: str, seat: Seat) -> bool:
        if self._scope != "instance" and self._unit[name] in self._waiting:
            return False
        return seat in self._seats[name] and (name, seat) not in self._taken

    def _put(self, pod: str, name: str, seat: Seat) -> None:
        self._at[pod] = (name, seat)
        self._taken[name, seat] = pod

    def _leaving(self, unit: str) -> list[str]:
        """Return the pods that are to leave a GPU or a node and still are there."""
        moving = set(self._moves)
        seats = ((name, seat) for name in self._gpus[unit] for seat in sorted(self._seats[name]))
        return [pod for seat in seats if (pod := self._taken.get(seat)) and pod in moving]


def _places(fleet: Fleet) -> Mapping[str, tuple[str, Seat]]:
    return {s.pod: (gpu.name, (s.start, s.profile)) for gpu in fleet.gpus for s in gpu.instances if s.pod}


def _seats(gpu: FleetGpu) -> frozenset[Seat]:
    return frozenset((seat.start, seat.profile) for seat in gpu.instances)
