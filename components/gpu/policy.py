"""The ClusterPolicy, built from chart values like the chart's template does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.gpu.settings import GpuSettings
from components.gpu.values import make_cutting, make_sharing, make_values
from components.objects import LABELS
from inferstack.apimachinery.objects import Object
from inferstack.mig.gpu_operator import API_VERSION

POLICY = "cluster-policy"
_OPERANDS = ("operator", "daemonsets", "toolkit", "gfd", "dcgmExporter", "validator", "psa", "mig")
"""Sections that the policy copies from the values."""


def make_cluster_policy(settings: GpuSettings, *, monitored: bool) -> Object:
    """Return the ClusterPolicy as the chart would render it, limited to the settings of the role.

    Args:
        settings: the role's settings.
        monitored: whether the API server serves the Prometheus operator's kinds.
    """
    values = make_values(settings, monitored=monitored)
    policy = _policy(make_spec(values))
    # It owns nothing in the rehearsal; foreground deletion would wait until the garbage collector discovers its kind.
    policy["metadata"]["annotations"] = {"pulumi.com/deletionPropagationPolicy": "background"}
    return policy


def make_policy_patch(settings: GpuSettings) -> Object:
    """Return the patch of an existing ClusterPolicy: MIG and time-slicing only."""
    spec = _without_create(make_cutting(settings))
    if settings.time_slicing.configs:
        sharing = make_sharing(settings)
        # Set even if empty: otherwise the owner's default would be looked up in this ConfigMap.
        spec["devicePlugin"] = {"config": {"name": sharing["name"], "default": sharing["default"]}}
    return _policy(spec)


def make_spec(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the spec for chart values, with the sections that the CRD requires."""
    cdi = {"enabled": values["cdi"]["enabled"]}
    if values["cdi"]["nriPluginEnabled"]:
        cdi["nriPluginEnabled"] = True
    return {
        "dcgm": {"enabled": False},
        "nodeStatusExporter": {"enabled": False},
        "cdi": cdi,
        "driver": _driver(values["driver"]),
        "devicePlugin": _without_create(values["devicePlugin"]),
        "migManager": _without_create({"manager": values["migManager"]})["manager"],
        **{part: values[part] for part in _OPERANDS},
    }


def _driver(driver: Mapping[str, Any]) -> dict[str, Any]:
    if "upgradePolicy" not in driver:
        return dict(driver)
    upgrade = dict(driver["upgradePolicy"])
    # The CRD uses another name than the chart.
    upgrade["podDeletion"] = upgrade.pop("gpuPodDeletion")
    return {**driver, "upgradePolicy": upgrade}


def _without_create(part: Mapping[str, Any]) -> dict[str, Any]:
    """Return a section without ``create``, which only the chart reads, and without the fields it omits if empty."""
    result: dict[str, Any] = {}
    for key, value in part.items():
        if key == "create" or value in ("", [], {}):
            continue
        inner = _without_create(value) if isinstance(value, Mapping) else value
        if inner != {}:
            result[key] = inner
    return result


def _policy(spec: dict[str, Any]) -> Object:
    return {
        "apiVersion": API_VERSION,
        "kind": "ClusterPolicy",
        "metadata": {"name": POLICY, "labels": LABELS},
        "spec": spec,
    }
