"""Kubernetes objects and the chart of the gpu role. Pure."""

from __future__ import annotations

from typing import Any

from components.addon.catalogue import AddonName
from components.gpu.config_maps import CONFIG_MAP, NAMESPACE, make_config_map, make_config_maps
from components.gpu.policy import POLICY, make_cluster_policy, make_policy_patch
from components.gpu.settings import GpuSettings
from components.gpu.values import make_values

__all__ = [
    "CONFIG_MAP",
    "NAMESPACE",
    "POLICY",
    "make_charts",
    "make_cluster_policy",
    "make_config_map",
    "make_config_maps",
    "make_policy_patch",
]


def make_charts(settings: GpuSettings, *, monitored: bool) -> dict[AddonName, dict[str, Any]]:
    """Return the GPU operator with the values of its chart, which renders the ClusterPolicy from them.

    Args:
        settings: the role's settings.
        monitored: whether the API server serves the Prometheus operator's kinds.
    """
    return {"gpu-operator": make_values(settings, monitored=monitored)}
