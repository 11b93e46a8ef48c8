"""The ClusterPolicy, made of the values of the chart as the chart's own template makes it."""

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
"""Parts that are in the policy as they are in the values."""


def make_cluster_policy(settings: GpuSettings, *, monitored: bool) -> Object:
    """Return the ClusterPolicy as the chart would make it, as far as the settings speak of it.

    Args:
        settings: the role's settings.
        monitored: whether the API server serves the Prometheus operator's kinds.
    """
    values = make_values(settings, monitored=monitored)
    policy = _policy(make_spec(values))
    # It owns nothing in the rehearsal; in the foreground it would wait until the garbage collector knows its kind.
    policy["metadata"]["annotations"] = {"pulumi.com/deletionPropagationPolicy": "background"}
    return policy


def make_policy_patch(settings: GpuSettings) -> Object:
    """Return what we say of a ClusterPolicy that somebody else owns: how GPUs are cut and shared, and nothing else."""
    spec = _without_create(make_cutting(settings))
    if settings.time_slicing.configs:
        sharing = make_sharing(settings)
        # An empty default is said: the owner's would be looked for in our ConfigMap.
        spec["devicePlugin"] = {"config": {"name": sharing["name"], "default": sharing["default"]}}
    return _policy(spec)


def make_spec(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the policy's spec for values of the chart, with the parts that its kind requires."""
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
    # The kind's name for it is another than the chart's.
    upgrade["podDeletion"] = upgrade.pop("gpuPodDeletion")
    return {**driver, "upgradePolicy": upgrade}


def _without_create(part: Mapping[str, Any]) -> dict[str, Any]:
    """Return a part without ``create``, which is the chart's, and without what it leaves out when it is empty."""
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
