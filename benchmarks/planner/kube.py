"""The default scheduler of Kubernetes 1.34, as far as it decides on which node a GPU pod goes, simulated.

Filter: the node has the extended resource free. Score, with the defaults of ``NodeResourcesFitArgs`` and
``NodeResourcesBalancedAllocationArgs``: LeastAllocated and BalancedAllocation, weight 1 each, over cpu and memory alone
(kubernetes pkg/scheduler/apis/config/v1/defaults.go); extended resources have no part in the score, so pods spread by
cpu and memory. Among the best nodes one is drawn. Left out: spreading by topology (2), affinities, taints and image
locality, which all nodes have alike here; nodes are few enough that all are scored. Which of a node's equal devices a
pod gets is not the scheduler's choice: the kubelet takes any, here a random one.

Each slice asks for a fixed part of the node's cpu and memory, whatever kind of GPU resource the pod gets.
"""

from __future__ import annotations

import abc
import random
from collections.abc import Sequence

from benchmarks.planner.cluster import GPU_MODEL, Cluster, Contestant, FleetUsage, used_slices
from benchmarks.planner.workload import GPUS_PER_NODE, MODEL, compute_slices, memory_slices
from inferstack.mig.fragmentation import Mix, open_starts

CPU, MEMORY = 192, 2048
"""Cores and GiB of a p5.48xlarge."""
CPU_EACH, MEMORY_EACH = 3, 24
"""Cores of a compute slice and GiB of a memory slice: 168 and 1,536 on a full node, so neither is short."""
Layout = Sequence[tuple[int, str]]
"""Start and profile of each instance of a GPU."""


class _Nodes:
    """Requested cpu and memory by node, and the score."""

    def __init__(self, gpus: int, seed: int) -> None:
        self.count = -(-gpus // GPUS_PER_NODE)
        self.cpu = [0] * self.count
        self.memory = [0] * self.count
        self.numbers = random.Random(seed)  # noqa: S311  # ties, no secret

    def score(self, node: int, profile: str) -> int:
        """Return the sum of both scores for a node that would get the pod, each from 0 to 100."""
        cpu = self.cpu[node] + CPU_EACH * compute_slices(profile)
        memory = self.memory[node] + MEMORY_EACH * memory_slices(profile)
        least = ((CPU - cpu) * 100 // CPU + (MEMORY - memory) * 100 // MEMORY) // 2
        balanced = int((1 - abs(cpu / CPU - memory / MEMORY) / 2) * 100)
        return least + balanced

    def draw(self, fitting: Sequence[int], profile: str) -> int | None:
        """Return one of the nodes with the highest score."""
        if not fitting:
            return None
        scores = {node: self.score(node, profile) for node in fitting}
        return self.numbers.choice([node for node in fitting if scores[node] == max(scores.values())])

    def book(self, node: int, profile: str, sign: int) -> None:
        """Add or take off what a pod asks for."""
        self.cpu[node] += sign * CPU_EACH * compute_slices(profile)
        self.memory[node] += sign * MEMORY_EACH * memory_slices(profile)


class _Devices(Contestant):
    """A fixed set of devices; subclasses say which and what they are good for."""

    def __init__(self, gpus: int, seed: int) -> None:
        super().__init__(gpus)
        self.nodes = _Nodes(gpus, seed)
        self.held: dict[int, tuple[int, int, str]] = {}
        """GPU, start and profile of the device of each pod."""
        self.free: list[dict[str, list[tuple[int, int]]]] = [{} for _ in range(self.nodes.count)]
        """By node and resource: GPU and start."""

    @abc.abstractmethod
    def resource(self, profile: str) -> str:
        """Return the profile of the device that a pod asks for."""

    def arrive(self, pod: int, profile: str) -> bool:
        """Filter, score, and take any device of the node."""
        kind = self.resource(profile)
        node = self.nodes.draw([n for n, free in enumerate(self.free) if free.get(kind)], profile)
        if node is None:
            return False
        devices = self.free[node][kind]
        gpu, start = devices.pop(self.nodes.numbers.randrange(len(devices)))
        self.nodes.book(node, profile, 1)
        self.held[pod], self.pods[pod] = (gpu, start, kind), profile
        return True

    def leave(self, pod: int) -> None:
        """Give the device back."""
        if pod not in self.pods:
            return
        profile = self.pods.pop(pod)
        gpu, start, kind = self.held.pop(pod)
        self.nodes.book(gpu // GPUS_PER_NODE, profile, -1)
        self.free[gpu // GPUS_PER_NODE][kind].append((gpu, start))

    def usage(self, mix: Mix) -> FleetUsage:
        """Measure: a GPU is of use to a profile where one of its devices is free and is what the profile asks for."""
        used, compute = used_slices(self.pods)
        by_gpu = [GPU_MODEL.memory_slices] * self.gpus
        for pod, profile in self.pods.items():
            by_gpu[self.held[pod][0]] -= memory_slices(profile)
        offers: list[set[str]] = [set() for _ in range(self.gpus)]
        for node in self.free:
            for kind, devices in node.items():
                for gpu, _ in devices:
                    offers[gpu].add(kind)
        total = sum(mix.values())
        unusable = sum(
            free * sum(share for name, share in mix.items() if self.resource(name) not in kinds) / total
            for free, kinds in zip(by_gpu, offers, strict=True)
        )
        busy = len({gpu for gpu, _, _ in self.held.values()})
        return FleetUsage(self.gpus * GPU_MODEL.memory_slices, used, compute, busy, unusable, None)


class WholeGpus(_Devices):
    """nvidia.com/gpu: every pod gets a GPU of its own."""

    def __init__(self, gpus: int, seed: int) -> None:
        super().__init__(gpus, seed)
        for gpu in range(gpus):
            self.free[gpu // GPUS_PER_NODE].setdefault("", []).append((gpu, 0))

    def resource(self, profile: str) -> str:  # noqa: ARG002  # any pod takes a whole GPU
        """All ask for the same."""
        return ""


class StaticMig(_Devices):
    """nvidia.com/mig-<profile> from layouts that stay as they are."""

    def __init__(self, gpus: int, seed: int, layouts: Sequence[Layout]) -> None:
        super().__init__(gpus, seed)
        for gpu in range(gpus):
            for start, profile in layouts[gpu % len(layouts)]:
                self.free[gpu // GPUS_PER_NODE].setdefault(profile, []).append((gpu, start))

    def resource(self, profile: str) -> str:
        """Each profile is a resource of its own."""
        return profile


class DynamicMig(Cluster):
    """Instances made as pods come (DRA with partitionable devices): the default score, then the node's first fit."""

    def __init__(self, gpus: int, seed: int) -> None:
        super().__init__(gpus)
        self.nodes = _Nodes(gpus, seed)

    def choose(self, profile: str) -> tuple[int, int] | None:
        """Return the first place of the node with the best score."""
        first: dict[int, tuple[int, int]] = {}
        for gpu in range(self.gpus):
            if gpu // GPUS_PER_NODE not in first:
                starts = open_starts(MODEL, self.masks[gpu], self.computes[gpu], profile)
                if starts:
                    first[gpu // GPUS_PER_NODE] = gpu, starts[0]
        node = self.nodes.draw(list(first), profile)
        return None if node is None else first[node]

    def arrive(self, pod: int, profile: str) -> bool:
        """Place, and book cpu and memory."""
        if not super().arrive(pod, profile):
            return False
        self.nodes.book(self.placements[pod][0] // GPUS_PER_NODE, profile, 1)
        return True

    def leave(self, pod: int) -> None:
        """Give all back."""
        if pod in self.pods:
            self.nodes.book(self.placements[pod][0] // GPUS_PER_NODE, self.pods[pod], -1)
        super().leave(pod)


BALANCED: Layout = ((0, "2g.20gb"), (2, "1g.10gb"), (3, "1g.10gb"), (4, "3g.40gb"))
"""mig-parted's all-balanced of this board: 2 x 1g.10gb, 1 x 2g.20gb, 1 x 3g.40gb."""
