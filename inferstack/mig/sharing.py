"""Time-slicing: the device plugin's configuration file, and its effect on a node's resources and labels.

The file format is that of NVIDIA/k8s-device-plugin ``api/config/v1`` (version v1, ``sharing.timeSlicing``), the labels
are those of its ``internal/lm/resource.go``. A device is advertised once per replica. The users of its replicas share
the device, and their memory use is not limited.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from inferstack.mig.errors import ConfigError

CONFIG_LABEL = "nvidia.com/device-plugin.config"
"""Node label that selects a configuration."""
RENAMED = ".shared"


@dataclass(frozen=True)
class Sharing:
    """One configuration: the replicas of each resource."""

    replicas: Mapping[str, int] = field(default_factory=dict)
    """Replicas by resource; 1 for resources that are not listed."""
    rename: bool = False
    """Whether shared devices are advertised as ``<resource>.shared``."""
    fail_more_than_one: bool = False
    """Whether pods that request several replicas are rejected: they would not get a larger share of the time."""

    def factor(self, resource: str) -> int:
        """Return the replicas of a resource."""
        return self.replicas.get(resource, 1)

    def name(self, resource: str) -> str:
        """Return the name under which a resource is advertised."""
        return resource + RENAMED if self.rename and resource in self.replicas else resource


def dump(sharing: Sharing, strategy: str) -> str:
    """Return a configuration as the device plugin's configuration file.

    Args:
        sharing: the configuration.
        strategy: the MIG strategy. The GPU operator also sets it by a variable, which takes precedence.
    """
    resources = [{"name": name, "replicas": count} for name, count in sorted(sharing.replicas.items())]
    slicing = {
        "renameByDefault": sharing.rename,
        "failRequestsGreaterThanOne": sharing.fail_more_than_one,
        "resources": resources,
    }
    content = {"version": "v1", "flags": {"migStrategy": strategy}, "sharing": {"timeSlicing": slicing}}
    return yaml.safe_dump(content, sort_keys=False)


def parse(text: str) -> Sharing:
    """Parse the time-slicing part of a configuration file.

    Raises:
        ConfigError: the device plugin would reject the file; the message begins with the key path.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"no YAML: {' '.join(str(error).split())}") from None
    if content is None:
        content = {}
    if not isinstance(content, dict):
        raise ConfigError("not a mapping")
    if (version := content.get("version") or "v1") != "v1":
        raise ConfigError(f"version: {version!r} is not 'v1'")
    slicing = _mapping("sharing.timeSlicing", _mapping("sharing", content.get("sharing")).get("timeSlicing"))
    if not slicing:
        return Sharing()
    rows = slicing.get("resources")
    if not isinstance(rows, list) or not rows:
        raise ConfigError("sharing.timeSlicing.resources: needs a list of at least one entry")
    replicas: dict[str, int] = {}
    for index, row in enumerate(rows):
        at = f"sharing.timeSlicing.resources[{index}]"
        name, count = _mapping(at, row).get("name"), _mapping(at, row).get("replicas")
        if not isinstance(name, str) or not name:
            raise ConfigError(f"{at}.name: no resource is named")
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:
            raise ConfigError(f"{at}.replicas: {count!r} is not a number from 1")
        replicas[name] = count
    return Sharing(replicas, bool(slicing.get("renameByDefault")), bool(slicing.get("failRequestsGreaterThanOne")))


def share(resources: Mapping[str, int], sharing: Sharing) -> dict[str, int]:
    """Return the resources of a node under a configuration, with replicas and possibly other names."""
    return {sharing.name(name): count * sharing.factor(name) for name, count in resources.items()}


def share_labels(labels: Mapping[str, str], sharing: Sharing) -> dict[str, str]:
    """Return the labels of GPU feature discovery under a configuration.

    Sets ``<resource>.replicas`` and ``<resource>.sharing-strategy``. Unless the resource is renamed, the product gets
    the suffix ``-SHARED``, by which pods can avoid shared GPUs. Resources with 0 replicas (partitioned GPUs) stay.
    """
    changed = dict(labels)
    for resource, count in sharing.replicas.items():
        if count < 2 or labels.get(f"{resource}.replicas", "0") == "0":
            continue
        changed[f"{resource}.replicas"] = str(count)
        changed[f"{resource}.sharing-strategy"] = "time-slicing"
        if not sharing.rename:
            changed[f"{resource}.product"] += "-SHARED"
    return changed


def _mapping(at: str, value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{at}: not a mapping")
    return value
