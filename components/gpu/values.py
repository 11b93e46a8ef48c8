"""Values of the GPU operator's chart, from which policy.py also builds the ClusterPolicy. Pure."""

from __future__ import annotations

from typing import Any

from components.gpu.config_maps import CONFIG_MAP, counters_name, host_services_name, sharing_name
from components.gpu.settings import Driver, Exporter, GpuSettings, Toleration

_SCRAPE_TIMEOUT = 10
"""Scrape timeout in seconds, the chart's default. The Prometheus operator rejects one above the interval."""


def make_values(settings: GpuSettings, *, monitored: bool) -> dict[str, Any]:
    """Return the values of the operator and its operands.

    Args:
        settings: the role's settings.
        monitored: whether the API server serves the Prometheus operator's kinds.
    """
    return {
        # The chart's own. Left to the kind's default it would be the only field of its object; an update, which owns
        # what the creation got by default and names nothing of it, would leave null there, and that is no object.
        "operator": {"runtimeClass": "nvidia"},
        "nfd": {"enabled": settings.nfd.enabled},
        # This program creates the namespace with the privileged Pod Security Standard.
        "psa": {"enabled": False},
        "cdi": {"enabled": settings.cdi.enabled, "nriPluginEnabled": settings.cdi.nri},
        "daemonsets": {
            "priorityClassName": settings.daemonsets.priority_class_name,
            "tolerations": [_toleration(toleration) for toleration in settings.daemonsets.tolerations],
        },
        "driver": _driver(settings.driver),
        "toolkit": {"enabled": settings.toolkit.installed},
        "devicePlugin": {"enabled": True, "config": make_sharing(settings)},
        "gfd": {"enabled": True},
        "dcgmExporter": _exporter(settings, monitored=monitored),
        "validator": {"plugin": {"env": _env(WITH_WORKLOAD=_flag(settings.validator.workload))}},
        **make_cutting(settings),
    }


def make_cutting(settings: GpuSettings) -> dict[str, Any]:
    """Return the MIG values."""
    manager: dict[str, Any] = {
        "enabled": True,
        "config": {"create": False, "name": CONFIG_MAP, "default": "all-disabled"},
        "env": _env(WITH_REBOOT=_flag(on=True)) if settings.mig.reboot else [],
        "gpuClientsConfig": {"name": host_services_name(settings)},
    }
    return {"mig": {"strategy": settings.mig.strategy.value}, "migManager": manager}


def make_sharing(settings: GpuSettings) -> dict[str, Any]:
    """Return the reference to the time-slicing ConfigMap, which this program creates instead of the chart."""
    return {"create": False, "name": sharing_name(settings), "default": settings.time_slicing.default or ""}


def _driver(driver: Driver) -> dict[str, Any]:
    if not driver.installed:
        return {"enabled": False}
    upgrade = driver.upgrade
    values = {
        "enabled": True,
        "kernelModuleType": driver.kernel_module_type.value,
        "rdma": {"enabled": driver.rdma.enabled, "useHostMofed": driver.rdma.use_host_mofed},
        "upgradePolicy": {
            "autoUpgrade": upgrade.auto,
            "maxParallelUpgrades": upgrade.max_parallel_nodes,
            "maxUnavailable": upgrade.max_unavailable,
            "gpuPodDeletion": {"timeoutSeconds": upgrade.eviction_seconds},
            "drain": {"enable": upgrade.drain},
        },
    }
    return {**values, **({"version": driver.version} if driver.version else {})}


def _exporter(settings: GpuSettings, *, monitored: bool) -> dict[str, Any]:
    exporter = settings.dcgm_exporter
    if not exporter.enabled:
        return {"enabled": False, "serviceMonitor": {"enabled": False}}
    return {
        "enabled": True,
        "config": {"name": counters_name(settings)},
        "env": _env(DCGM_EXPORTER_INTERVAL=str(exporter.interval_seconds * 1000)),
        # The chart's default is on, which fails without the CRDs of the Prometheus operator.
        "serviceMonitor": {"enabled": monitored, **_scrape(exporter)},
    }


def _scrape(exporter: Exporter) -> dict[str, Any]:
    return {
        "interval": f"{exporter.interval_seconds}s",
        "scrapeTimeout": f"{min(exporter.interval_seconds, _SCRAPE_TIMEOUT)}s",
        # pod and namespace are the exporter's; exported_pod and exported_namespace are those of the GPU's user.
        "honorLabels": False,
        "relabelings": [
            {"action": "replace", "sourceLabels": ["__meta_kubernetes_pod_node_name"], "targetLabel": "node"}
        ],
    }


def _toleration(toleration: Toleration) -> dict[str, str]:
    parts = {"value": toleration.value, "effect": toleration.effect}
    return {
        "key": toleration.key,
        "operator": toleration.operator,
        **{key: value for key, value in parts.items() if value is not None},
    }


def _env(**variables: str) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in variables.items()]


def _flag(on: bool) -> str:  # one argument, plain at each call
    return "true" if on else "false"
