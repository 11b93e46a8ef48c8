"""The objects of the gpu role, as pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.addon import AddonName
from components.gpu.settings import GpuSettings
from components.objects import LABELS, Object
from inferstack.mig import mig_parted

NAMESPACE = "gpu-operator"
POLICY = "cluster-policy"
CONFIG_MAP = "inferstack-mig-parted"


def make_config_map(layouts: Mapping[str, Any]) -> Object:
    """Return the MIG manager's layouts. The manager looks for the key ``config.yaml`` and no other."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": CONFIG_MAP, "namespace": NAMESPACE, "labels": LABELS},
        "data": {"config.yaml": mig_parted.dump_config(layouts)},
    }


def make_cluster_policy(settings: GpuSettings) -> Object:
    """Return the ClusterPolicy: the required parts, and what the settings say of them."""
    spec = {
        "operator": {},
        "daemonsets": {},
        "driver": {"enabled": settings.driver.enabled},
        "toolkit": {"enabled": settings.toolkit.enabled},
        "devicePlugin": {"enabled": True},
        "gfd": {"enabled": True},
        "dcgm": {"enabled": False},
        "dcgmExporter": {"enabled": settings.dcgm_exporter.enabled},
        "nodeStatusExporter": {"enabled": False},
        **_mig(settings),
    }
    policy = _policy(spec)
    # It owns nothing in the rehearsal; in the foreground it would wait until the garbage collector knows its kind.
    policy["metadata"]["annotations"] = {"pulumi.com/deletionPropagationPolicy": "background"}
    return policy


def make_policy_patch(settings: GpuSettings) -> Object:
    """Return what we say of a ClusterPolicy that somebody else owns: how GPUs are cut, and nothing else."""
    return _policy(_mig(settings))


def make_charts(settings: GpuSettings, *, monitored: bool) -> dict[AddonName, dict[str, Any]]:
    """Return the GPU operator with the values of its chart, which makes the ClusterPolicy of them.

    Args:
        settings: of the role.
        monitored: whether the kinds of the Prometheus operator are served.
    """
    values = {
        "driver": {"enabled": settings.driver.enabled},
        "toolkit": {"enabled": settings.toolkit.enabled},
        "dcgmExporter": {
            "enabled": settings.dcgm_exporter.enabled,
            # The chart's default is on, and fails where nobody has installed Prometheus' CRDs.
            "serviceMonitor": {"enabled": monitored},
        },
        **_mig(settings),
    }
    return {"gpu-operator": values}


def _mig(settings: GpuSettings) -> dict[str, Any]:
    return {
        "mig": {"strategy": settings.mig.strategy.value},
        "migManager": {"enabled": True, "config": {"name": CONFIG_MAP, "default": "all-disabled"}},
    }


def _policy(spec: dict[str, Any]) -> Object:
    return {
        "apiVersion": "nvidia.com/v1",
        "kind": "ClusterPolicy",
        "metadata": {"name": POLICY, "labels": LABELS},
        "spec": spec,
    }
