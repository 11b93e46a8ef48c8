"""Names of GPU resources: the codec between MIG profiles and the extended resources of the NVIDIA device plugin.

The plugin names the resource of a profile ``mig-`` and the profile with each ``+`` replaced by ``.``, because a
resource name may not contain ``+`` (NVIDIA/k8s-device-plugin ``internal/rm/rm.go``, ``AddDefaultResourcesToConfig``).
GPU feature discovery and mig-parted write profiles the same way in label values and in names of layouts.
"""

from __future__ import annotations

import re
from typing import Final

GPU_RESOURCE: Final = "nvidia.com/gpu"
"""A whole GPU; under the MIG strategy ``single`` also a MIG instance."""
MIG_PREFIX: Final = "nvidia.com/mig-"
WHOLE: Final = "whole"
"""Stands in the place of a profile for a GPU that is not partitioned."""

_ATTRIBUTES = re.compile(r"(?P<size>.*?gb)\.(?P<attributes>.+)")


def escape_profile(profile: str) -> str:
    """Return a profile as resource names, label values and layout names write it: ``1g.5gb+me`` as ``1g.5gb.me``."""
    return profile.replace("+", ".")


def unescape_profile(escaped: str) -> str:
    """Return the profile that `escape_profile` was given: ``1g.24gb.me.all`` as ``1g.24gb+me.all``.

    Attributes follow the size after one ``+``; ``-me`` (no media engines) has none.
    """
    match = _ATTRIBUTES.fullmatch(escaped)
    return f"{match['size']}+{match['attributes']}" if match else escaped


def mig_resource(profile: str) -> str:
    """Return the extended resource of a profile under the MIG strategy ``mixed``."""
    return MIG_PREFIX + escape_profile(profile)


def profile_of(resource: str) -> str:
    """Return the profile of a GPU resource as the driver writes it, or `WHOLE` for ``nvidia.com/gpu``."""
    return WHOLE if resource == GPU_RESOURCE else unescape_profile(resource.removeprefix(MIG_PREFIX))


def is_nvidia(resource: str) -> bool:
    """Return whether a resource is NVIDIA's: a GPU, a MIG profile's, or one renamed for time-slicing."""
    return resource.startswith("nvidia.com/")


def is_mig(resource: str) -> bool:
    """Return whether a resource is a MIG profile's."""
    return resource.startswith(MIG_PREFIX)


def is_gpu(resource: str) -> bool:
    """Return whether a resource is a GPU or a MIG profile's."""
    return resource == GPU_RESOURCE or is_mig(resource)
