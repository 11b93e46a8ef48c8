"""Utilisation and fragmentation of a GPU, a node or a fleet.

There are two complementary measures of fragmentation:

* **blocked starts**, which the planner minimises (`fragmentation_score`). Each profile for which enough slices are free
  counts its memory slices for each of its blocked starts. The measure follows M. Zambianco, L. Fasol and
  R. Doriguzzi-Corin, "An Online Fragmentation-Aware GPU Scheduler for Multi-Tenant MIG-based Clouds" (arXiv 2511.18906,
  2025). Their formula was not available: which slices count, that compute slices must suffice too, and the ratio are
  choices of this project, so the numbers are not comparable with the paper's. Profiles that differ only in media
  engines count once.
* **unusable share**, the measure of Q. Weng and others, "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with
  Fragmentation Gradient Descent" (USENIX ATC 2023): ``F_n(M) = sum over m of p_m * F_n(m)``, where M is the workload,
  p_m the share of its tasks of kind m, and F_n(m) the free capacity of n that such a task cannot use. Divided by the
  free capacity it is a rate. The paper does not cover MIG. Here capacity is memory slices, and a profile can use a GPU
  if one of its starts is free and compute slices suffice.

An empty GPU and a full GPU have 0 of both. Only slices that pods use count as used: an idle instance can be removed.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from inferstack.mig import catalogue
from inferstack.mig.errors import LayoutError
from inferstack.mig.fleet import FleetGpu

Mix = Mapping[str, float]
"""Share of each profile in a workload; only their ratios matter."""


@dataclass(frozen=True)
class Measure:
    """Utilisation and fragmentation of any number of GPUs. All counts are additive."""

    gpus: int = 0
    memory_slices: int = 0
    memory_used: int = 0
    """Memory slices of instances that pods use."""
    compute_slices: int = 0
    compute_used: int = 0
    blocked: int = 0
    """Memory slices of profiles, summed over their starts that are blocked although enough slices are free."""
    open_and_blocked: int = 0
    """The same sum over all their starts."""
    unusable: float = 0.0
    """Mean free memory slices that the next pod of the workload cannot use: F_n(M)."""

    def plus(self, other: Measure) -> Measure:
        """Add up."""
        return Measure(
            self.gpus + other.gpus,
            self.memory_slices + other.memory_slices,
            self.memory_used + other.memory_used,
            self.compute_slices + other.compute_slices,
            self.compute_used + other.compute_used,
            self.blocked + other.blocked,
            self.open_and_blocked + other.open_and_blocked,
            self.unusable + other.unusable,
        )

    @property
    def blocked_ratio(self) -> float:
        """Share of blocked starts, weighted by memory slices, from 0 to 1."""
        return self.blocked / self.open_and_blocked if self.open_and_blocked else 0.0

    @property
    def unusable_ratio(self) -> float:
        """Share of the free memory slices that the next pod cannot use, from 0 to 1."""
        free = self.memory_slices - self.memory_used
        return self.unusable / free if free else 0.0

    @property
    def memory_utilisation(self) -> float:
        """Share of the memory slices that pods use."""
        return self.memory_used / self.memory_slices if self.memory_slices else 0.0

    @property
    def compute_utilisation(self) -> float:
        """Share of the compute slices that pods use."""
        return self.compute_used / self.compute_slices if self.compute_slices else 0.0


def used_slices(model: str, instances: Iterable[tuple[int, str]]) -> tuple[int, int]:
    """Return the memory slices in use, as bits, and the number of compute slices in use."""
    profiles = catalogue.gpu(model).profiles
    mask = compute = 0
    for start, name in instances:
        mask |= ((1 << profiles[name].memory_slices) - 1) << start
        compute += profiles[name].compute_slices
    return mask, compute


@functools.cache
def _footprints(model: str) -> tuple[tuple[int, int, tuple[int, ...]], ...]:
    """Return the distinct memory slices, compute slices and starts of the profiles."""
    rows = catalogue.gpu(model).profiles.values()
    return tuple(sorted({(p.memory_slices, p.compute_slices, p.starts) for p in rows if not p.media_extensions}))


@functools.cache
def fragmentation_score(model: str, mask: int, compute: int) -> int:
    """Return the blocked starts of a GPU whose pods use the memory slices ``mask`` and ``compute`` compute slices."""
    gpu_model = catalogue.gpu(model)
    free = gpu_model.memory_slices - mask.bit_count()
    total = 0
    for size, slices, starts in _footprints(model):
        if size <= free and slices <= gpu_model.compute_slices - compute:
            total += size * sum(1 for start in starts if mask >> start & ((1 << size) - 1))
    return total


def gpu_fragmentation(gpu: FleetGpu) -> int:
    """Return the fragmentation score of a GPU with its instances in use."""
    return fragmentation_score(
        gpu.model, *used_slices(gpu.model, ((s.start, s.profile) for s in gpu.instances if not s.idle))
    )


def even_mix(model: str) -> Mix:
    """Return the default workload: each profile without a suffix (such as ``+me``) equally often."""
    return MappingProxyType(
        {name: 1.0 for name in catalogue.gpu(model).profiles if "+" not in name and "-me" not in name}
    )


def unusable(model: str, mask: int, compute: int, mix: Mix) -> float:
    """Return the mean free memory slices that a pod of the workload cannot use.

    Args:
        model: name of the GPU model.
        mask: memory slices in use, as bits.
        compute: compute slices in use.
        mix: the workload. Profiles that the GPU model lacks are ignored: their pods would not be scheduled there.

    Raises:
        LayoutError: a share below 0.
    """
    if wrong := sorted(name for name, share in mix.items() if share < 0):
        raise LayoutError(f"the workload's share of {wrong[0]} is below 0")
    gpu_model = catalogue.gpu(model)
    known = {name: share for name, share in mix.items() if name in gpu_model.profiles}
    total = sum(known.values())
    if not total:
        return 0.0
    free = gpu_model.memory_slices - mask.bit_count()
    return sum(share for name, share in known.items() if not has_room(model, mask, compute, name)) / total * free


@functools.cache
def has_room(model: str, mask: int, compute: int, profile: str) -> bool:
    """Return whether an instance of a profile can be created beside the slices in use."""
    return bool(open_starts(model, mask, compute, profile))


@functools.cache
def open_starts(model: str, mask: int, compute: int, profile: str) -> tuple[int, ...]:
    """Return the free starts of a profile; none if there are too few compute slices."""
    gpu_model = catalogue.gpu(model)
    mig_profile = gpu_model.profile(profile)
    if mig_profile.compute_slices > gpu_model.compute_slices - compute:
        return ()
    return tuple(start for start in mig_profile.starts if not mask >> start & ((1 << mig_profile.memory_slices) - 1))


@functools.cache
def _all_starts(model: str, mask: int, compute: int) -> int:
    """Return what `fragmentation_score` would be if no start were free."""
    gpu_model = catalogue.gpu(model)
    sizes = {
        (profile.memory_slices, profile.compute_slices, profile.starts)
        for profile in gpu_model.profiles.values()
        if not profile.media_extensions
    }
    free = gpu_model.memory_slices - mask.bit_count(), gpu_model.compute_slices - compute
    return sum(memory * len(starts) for memory, slices, starts in sizes if memory <= free[0] and slices <= free[1])


def measure_slices(model: str, mask: int, compute: int, mix: Mix | None = None) -> Measure:
    """Measure one GPU by the slices that pods use; the arguments are those of `unusable`."""
    gpu_model = catalogue.gpu(model)
    return Measure(
        1,
        gpu_model.memory_slices,
        mask.bit_count(),
        gpu_model.compute_slices,
        compute,
        fragmentation_score(model, mask, compute),
        _all_starts(model, mask, compute),
        unusable(model, mask, compute, even_mix(model) if mix is None else mix),
    )


def measure(gpus: Iterable[FleetGpu], mix: Mix | None = None) -> Measure:
    """Measure GPUs together.

    Args:
        gpus: any GPUs; without GPUs all counts are 0.
        mix: the expected workload (default: `even_mix` of each GPU model).
    """
    total = Measure()
    for gpu in gpus:
        used = used_slices(
            gpu.model, ((instance.start, instance.profile) for instance in gpu.instances if not instance.idle)
        )
        total = total.plus(measure_slices(gpu.model, *used, mix))
    return total


def by_node(gpus: Iterable[FleetGpu], mix: Mix | None = None) -> dict[str, Measure]:
    """Measure the GPUs of each node, in the order of each node's first GPU."""
    nodes: dict[str, list[FleetGpu]] = {}
    for gpu in gpus:
        nodes.setdefault(gpu.node, []).append(gpu)
    return {node: measure(gpus_of_node, mix) for node, gpus_of_node in nodes.items()}
