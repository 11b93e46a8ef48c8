"""The interface of a contestant: it places pods, removes them, and is measured the same way as the others."""

from __future__ import annotations

import abc
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from benchmarks.planner.workload import MODEL, compute_slices, memory_slices
from inferstack.mig import catalogue
from inferstack.mig.fragmentation import Mix, has_room, measure_slices

GPU_MODEL = catalogue.gpu(MODEL)


@dataclass(frozen=True)
class FleetUsage:
    """The usage of a fleet at one moment; slices are memory slices."""

    slices: int
    used: int
    """Of pods' profiles, also where a pod holds more than that."""
    compute_used: int
    gpus_used: int
    unusable: float
    """Free slices that the next pod of the mix cannot use: F_n(M)."""
    blocked: int | None
    """The planner's fragmentation; None where GPUs are not cut at will."""


class Contestant(abc.ABC):
    """A way to place pods on a fleet of equal GPUs."""

    def __init__(self, gpus: int) -> None:
        self.gpus = gpus
        self.moved = 0
        """Pods that were moved so far."""
        self.pods: dict[int, str] = {}
        """Profiles of the pods that run."""

    @abc.abstractmethod
    def arrive(self, pod: int, profile: str) -> bool:
        """Place a pod and return whether it was accepted; a rejected pod changes nothing for the others."""

    @abc.abstractmethod
    def leave(self, pod: int) -> None:
        """Remove a pod; a pod that was rejected is ignored."""

    @abc.abstractmethod
    def usage(self, mix: Mix) -> FleetUsage:
        """Measure."""


class Cluster(Contestant):
    """GPUs that are cut while pods run on them, as the driver can; `choose` is the policy."""

    def __init__(self, gpus: int) -> None:
        super().__init__(gpus)
        self.masks = [0] * gpus
        self.computes = [0] * gpus
        self.placements: dict[int, tuple[int, int]] = {}
        """GPU and start of each pod."""

    @abc.abstractmethod
    def choose(self, profile: str) -> tuple[int, int] | None:
        """Return GPU and start for a pod, or None."""

    def arrive(self, pod: int, profile: str) -> bool:
        """Ask the policy and place the pod; a policy that places illegally is a bug."""
        placement = self.choose(profile)
        if placement is None:
            return False
        gpu, start = placement
        bits = ((1 << memory_slices(profile)) - 1) << start
        assert start in GPU_MODEL.profiles[profile].starts
        assert not self.masks[gpu] & bits
        assert self.computes[gpu] + compute_slices(profile) <= GPU_MODEL.compute_slices
        self.masks[gpu] |= bits
        self.computes[gpu] += compute_slices(profile)
        self.placements[pod], self.pods[pod] = placement, profile
        return True

    def leave(self, pod: int) -> None:
        """Free the pod's slices."""
        if pod not in self.pods:
            return
        profile = self.pods.pop(pod)
        gpu, start = self.placements.pop(pod)
        self.masks[gpu] &= ~(((1 << memory_slices(profile)) - 1) << start)
        self.computes[gpu] -= compute_slices(profile)

    def usage(self, mix: Mix) -> FleetUsage:
        """Measure by the slices in use."""
        return measure_fleet(zip(self.masks, self.computes, strict=True), mix)

    def states(self) -> dict[tuple[int, int], int]:
        """Return the first GPU in each state: GPUs in the same state are equivalent."""
        first_gpus: dict[tuple[int, int], int] = {}
        for gpu, state in enumerate(zip(self.masks, self.computes, strict=True)):
            first_gpus.setdefault(state, gpu)
        return first_gpus


def measure_fleet(states: Iterable[tuple[int, int]], mix: Mix) -> FleetUsage:
    """Measure GPUs by memory mask and compute slices in use."""
    counts: dict[tuple[int, int], int] = {}
    for state in states:
        counts[state] = counts.get(state, 0) + 1
    slices = used = compute = busy = blocked = 0
    unusable = 0.0
    for (mask, taken), count in counts.items():
        slice_usage = measure_slices(MODEL, mask, taken, mix)
        slices += count * slice_usage.memory_slices
        used += count * slice_usage.memory_used
        compute += count * taken
        busy += count * bool(mask)
        blocked += count * slice_usage.blocked
        unusable += count * slice_usage.unusable
    return FleetUsage(slices, used, compute, busy, unusable, blocked)


def room(state: tuple[int, int], profile: str) -> bool:
    """Return whether a GPU in this state has room for a profile."""
    return has_room(MODEL, *state, profile)


def used_slices(pods: Mapping[int, str]) -> tuple[int, int]:
    """Return the memory and compute slices of pods."""
    return sum(map(memory_slices, pods.values())), sum(map(compute_slices, pods.values()))
