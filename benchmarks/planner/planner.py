"""The planner as a contestant: `inferstack.mig.planner.plan` decides, this only keeps the fleet.

Pods come one at a time, as for the peers, and instances are created beside running ones, as for them. Three ways:

* ``Moves.NONE``: all pods are pinned, so the plan only says where the new one goes;
* ``Moves.FOR_ROOM``: where that does not serve the pod, the planner gets the few GPUs with most room, all pods movable
  and the exact search on, and what it plans is carried out;
* ``Moves.TO_TIDY``: and whenever a pod came or went, it gets the few GPUs that are broken up most.

Every pod that leaves its instance counts as moved.
"""

from __future__ import annotations

import enum
from dataclasses import replace

from benchmarks.planner.cluster import Contestant, FleetUsage, measure_fleet
from benchmarks.planner.workload import GPUS_PER_NODE, MODEL, memory_slices
from inferstack.mig.fragmentation import Mix, gpu_fragmentation, used_slices
from inferstack.mig.planner import Budget, Demand, Fleet, FleetGpu, Instance, plan

_WINDOW = 3
"""GPUs in which pods may move at once."""
_STEPS = 50_000
_NEW = "new"


class Moves(enum.IntEnum):
    """What pods may be moved for."""

    NONE = 0
    FOR_ROOM = 1
    TO_TIDY = 2


class Planner(Contestant):
    """The fleet as the planner leaves it."""

    def __init__(self, gpus: int, moves: Moves) -> None:
        super().__init__(gpus)
        self._moves = moves
        self.fleet = [FleetGpu(f"g{gpu:05}", f"n{gpu // GPUS_PER_NODE:04}", MODEL) for gpu in range(gpus)]
        self._where: dict[str, int] = {}
        """GPU of each pod."""
        self._optimal_windows: set[frozenset[FleetGpu]] = set()
        """Windows in which nothing was to be gained."""

    def arrive(self, pod: int, profile: str) -> bool:
        """Plan for one pod."""
        served = self._place(self._candidates(), pod, profile, pinned=True)
        if not served and self._moves:
            served = self._place(self._most_free(memory_slices(profile)), pod, profile, pinned=False)
        if served:
            self.pods[pod] = profile
            self._defragment()
        return served

    def leave(self, pod: int) -> None:
        """Remove the pod and its instance."""
        if pod not in self.pods:
            return
        del self.pods[pod]
        at = self._where.pop(str(pod))
        gpu = self.fleet[at]
        self.fleet[at] = replace(
            gpu, instances=tuple(instance for instance in gpu.instances if instance.pod != str(pod))
        )
        self._defragment()

    def usage(self, mix: Mix) -> FleetUsage:
        """Measure by the slices in use."""
        used = (
            used_slices(gpu.model, [(instance.start, instance.profile) for instance in gpu.instances if instance.pod])
            for gpu in self.fleet
        )
        return measure_fleet(used, mix)

    def _candidates(self) -> list[int]:
        """Return one GPU in each state: the planner treats GPUs in the same state alike."""
        first: dict[tuple[tuple[int, str], ...], int] = {}
        for at, gpu in enumerate(self.fleet):
            first.setdefault(tuple((instance.start, instance.profile) for instance in gpu.instances), at)
        return list(first.values())

    def _free(self, at: int) -> int:
        return 8 - sum(memory_slices(instance.profile) for instance in self.fleet[at].instances)

    def _most_free(self, size: int) -> list[int]:
        """Return the GPUs with the most free slices, where they have enough of them together."""
        gpus = sorted(range(self.gpus), key=lambda at: (-self._free(at), at))[:_WINDOW]
        return gpus if sum(map(self._free, gpus)) >= size else []

    def _defragment(self) -> None:
        """Let pods move on the GPUs that are broken up most, while that lowers fragmentation."""
        if self._moves < Moves.TO_TIDY:
            return
        most_fragmented = sorted(range(self.gpus), key=lambda at: (-gpu_fragmentation(self.fleet[at]), at))[:_WINDOW]
        window = frozenset(self.fleet[at] for at in most_fragmented)
        if window in self._optimal_windows or not gpu_fragmentation(self.fleet[most_fragmented[0]]):
            return
        self._optimal_windows.add(window)
        before = sum(gpu_fragmentation(self.fleet[at]) for at in most_fragmented)
        result = plan(Fleet(tuple(self.fleet[at] for at in most_fragmented), "instance"), [], Budget(_STEPS))
        if result.objective.fragmentation < before:
            self._keep(most_fragmented, result.fleet, None)
            self.moved += result.objective.moved

    def _place(self, where: list[int], pod: int, profile: str, *, pinned: bool) -> bool:
        if not where:
            return False
        gpus = [
            replace(gpu, instances=tuple(replace(instance, pinned=pinned) for instance in gpu.instances))
            for gpu in (self.fleet[at] for at in where)
        ]
        budget = Budget(0 if pinned else _STEPS)
        result = plan(Fleet(tuple(gpus), "instance"), [Demand(_NEW, 1, profile=profile)], budget)
        if not result.served[_NEW]:
            return False
        self._keep(where, result.fleet, str(pod))
        self.moved += result.objective.moved
        return True

    def _keep(self, where: list[int], fleet: Fleet, pod: str | None) -> None:
        """Take over what was planned: idle instances go, as they can be made again."""
        for at, gpu in zip(where, fleet.gpus, strict=True):
            instances = tuple(
                Instance(instance.start, instance.profile, instance.pod or pod or "", _NEW)
                for instance in gpu.instances
                if not instance.idle
            )
            self.fleet[at] = replace(gpu, instances=tuple(sorted(instances)))
            for instance in instances:
                self._where[instance.pod] = at


def gpus_needed(pods: dict[str, int], least: int) -> tuple[int, Fleet]:
    """Return how many empty GPUs the planner needs for all pods, from ``least`` upwards, and its fleet."""
    demands = [Demand(name, count, profile=name) for name, count in sorted(pods.items()) if count]
    gpus = least
    while True:
        fleet = Fleet(tuple(FleetGpu(f"g{g:05}", f"n{g // GPUS_PER_NODE:04}", MODEL) for g in range(gpus)))
        result = plan(fleet, demands)
        if sum(result.served.values()) == sum(pods.values()):
            return gpus, result.fleet
        gpus += 1
