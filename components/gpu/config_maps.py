"""ConfigMaps for the pods of the GPU operator.

The operator restarts no pod when a ConfigMap changes. ConfigMaps that pods read only at start (time-slicing, counters,
host services) have a hash of their content in the name: a change renames the ConfigMap, changes the ClusterPolicy and
recreates the pods. The MIG manager reads its layouts when a label changes, so that ConfigMap has a constant name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import yaml

from components.gpu.counters import CSV_KEY, make_csv
from components.gpu.settings import GpuSettings, TimeSlicingConfiguration
from components.objects import LABELS
from inferstack.apimachinery.objects import Object
from inferstack.mig import mig_parted, sharing

NAMESPACE = "gpu-operator"
CONFIG_MAP = "inferstack-mig-parted"


def make_config_map(layouts: Mapping[str, Any]) -> Object:
    """Return the ConfigMap of the MIG manager, which reads only the key ``config.yaml``."""
    return _config_map(CONFIG_MAP, {"config.yaml": mig_parted.dump_config(layouts)})


def make_config_maps(settings: GpuSettings) -> dict[str, Object]:
    """Return the other ConfigMaps that the settings require, by Pulumi name."""
    named = {
        "time-slicing": (sharing_name(settings), _sharing(settings)),
        "dcgm-counters": (counters_name(settings), _counters(settings)),
        "mig-host-services": (host_services_name(settings), _host_services(settings)),
    }
    return {key: _config_map(name, data) for key, (name, data) in named.items() if data}


def sharing_name(settings: GpuSettings) -> str:
    """Return the name of the ConfigMap with time-slicing configurations; empty without any."""
    return _named("inferstack-time-slicing", _sharing(settings))


def counters_name(settings: GpuSettings) -> str:
    """Return the name of the ConfigMap with the counters of dcgm-exporter; empty if it is disabled."""
    return _named("inferstack-dcgm-counters", _counters(settings))


def host_services_name(settings: GpuSettings) -> str:
    """Return the name of the ConfigMap with host services that use GPUs; empty for the operator's default."""
    return _named("inferstack-host-services", _host_services(settings))


def shared_of(config: TimeSlicingConfiguration) -> sharing.Sharing:
    """Return a configuration in the format of the device plugin."""
    return sharing.Sharing(
        dict(config.resources),
        rename=config.rename_by_default,
        fail_more_than_one=config.fail_requests_greater_than_one,
    )


def _sharing(settings: GpuSettings) -> dict[str, str]:
    strategy = settings.mig.strategy.value
    configs = settings.time_slicing.configs
    return {name: sharing.dump(shared_of(config), strategy) for name, config in configs.items()}


def _counters(settings: GpuSettings) -> dict[str, str]:
    exporter = settings.dcgm_exporter
    return {CSV_KEY: make_csv(exporter.groups)} if exporter.enabled else {}


def _host_services(settings: GpuSettings) -> dict[str, str]:
    services = list(settings.mig.host_services)
    return {"clients.yaml": yaml.safe_dump({"version": "v1", "systemd-services": services})} if services else {}


def _named(prefix: str, data: Mapping[str, str]) -> str:
    content = "\0".join(part for item in sorted(data.items()) for part in item)
    return f"{prefix}-{hashlib.sha256(content.encode()).hexdigest()[:8]}" if data else ""


def _config_map(name: str, data: Mapping[str, str]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": LABELS},
        "data": dict(data),
    }
