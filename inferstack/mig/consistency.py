"""Consistency checks of ``catalogue.yaml``: within one GPU model, and across all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from inferstack.mig.errors import CatalogueError

if TYPE_CHECKING:
    from inferstack.mig.catalogue import Catalogue, Gpu, Profile

_LEAST_OF_NAME = 0.85
"""Least memory of an instance as a share of the gigabytes in its name, which round up."""


def check_gpu(path: str, gpu: Gpu) -> None:
    """Check a GPU's profiles against its memory axis, slices, engines, memory and each other.

    Raises:
        CatalogueError: two of them contradict each other; the message begins with the path of the field.
    """
    _unique(f"{path}.profiles", "gi_id", ((str(entry.gi_id), name) for name, entry in gpu.profiles.items()))
    if not any((p.compute_slices, p.memory_slices) == (gpu.compute_slices, gpu.memory_slices) for p in _rows(gpu)):
        raise CatalogueError(f"{path}.profiles: none takes the whole GPU")
    sizes: dict[int, Profile] = {}
    for profile in _rows(gpu):
        _check_profile(f"{path}.profiles.{profile.name}", gpu, profile)
        other = sizes.setdefault(profile.memory_slices, profile)
        if other.memory_mib != profile.memory_mib:
            raise CatalogueError(
                f"{path}.profiles.{profile.name}.memory_mib: {profile.memory_mib} for {profile.memory_slices} memory "
                f"slices, of which {other.name} makes {other.memory_mib}"
            )
    rising = [sizes[slices].memory_mib for slices in sorted(sizes)]
    if rising != sorted(set(rising)):
        raise CatalogueError(f"{path}.profiles: memory_mib does not rise with the memory slices: {rising}")


def check_catalogue(catalogue: Catalogue) -> None:
    """Check that GPU models are distinguishable, and that every source is in use.

    Raises:
        CatalogueError: two GPU models share a product or a PCI device ID, or a source is unused.
    """
    gpus = catalogue.gpus
    _unique("gpus", "product", ((entry.product, name) for name, entry in gpus.items()))
    _unique(
        "gpus", "PCI device id", ((device, name) for name, entry in gpus.items() for device in entry.pci_device_ids)
    )
    used = {profile.source for entry in gpus.values() for profile in _rows(entry)}
    used |= {entry.source for entry in catalogue.instance_types.values()}
    if unused := sorted(catalogue.sources.keys() - used):
        raise CatalogueError(f"sources.{unused[0]}: unused")


def max_instances(gpu: Gpu, profile: Profile) -> int:
    """Return how many instances of a profile an empty GPU holds, by starts, compute slices and engines.

    Copy engines count too: no GPU has more instances than they allow.
    """
    end, fitting = 0, 0
    for start in profile.starts:  # all have the same length, so the earliest free start is optimal
        if start >= end:
            end, fitting = start + profile.memory_slices, fitting + 1
    bounds = [gpu.engines[kind] // need for kind, need in profile.engines.items() if need]
    return min(fitting, gpu.compute_slices // profile.compute_slices, *bounds)


def _rows(gpu: Gpu) -> Iterable[Profile]:
    return gpu.profiles.values()


def _check_profile(path: str, gpu: Gpu, profile: Profile) -> None:
    axis = gpu.memory_slices
    if any(start + profile.memory_slices > axis for start in profile.starts):
        raise CatalogueError(f"{path}.starts: an instance would end beyond the axis of {axis}")
    if profile.compute_slices > gpu.compute_slices:
        raise CatalogueError(f"{path}.compute_slices: {profile.compute_slices} exceeds the GPU's {gpu.compute_slices}")
    if profile.memory_mib > gpu.memory_mib:
        raise CatalogueError(f"{path}.memory_mib: {profile.memory_mib} exceeds the GPU's {gpu.memory_mib}")
    if profile.max_count != (bound := max_instances(gpu, profile)):
        raise CatalogueError(f"{path}.max_count: {profile.max_count} is not the {bound} that starts and engines allow")
    if profile.memory_mib * profile.max_count > gpu.memory_mib:
        raise CatalogueError(f"{path}.memory_mib: {profile.max_count} instances exceed the GPU's {gpu.memory_mib}")
    if not _LEAST_OF_NAME * profile.gigabytes <= profile.memory_mib / 1024 <= profile.gigabytes:
        raise CatalogueError(
            f"{path}.memory_mib: {profile.memory_mib} is far from the {profile.gigabytes} GB of the name"
        )


def _unique(path: str, what: str, pairs: Iterable[tuple[str, str]]) -> None:
    owners: dict[str, str] = {}
    for value, owner in pairs:
        if value in owners:
            raise CatalogueError(f"{path}: {owners[value]} and {owner} have the same {what}, {value}")
        owners[value] = owner
