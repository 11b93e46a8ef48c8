"""The GPU operator's configuration: those parts of the ClusterPolicy and its ConfigMaps that affect nodes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from inferstack.mig.errors import ConfigError
from inferstack.mig.layout import STRATEGIES, Layout, Strategy
from inferstack.mig.mig_parted import dump_config, make_mig_parted_config, parse_config
from inferstack.mig.sharing import Sharing
from inferstack.mig.sharing import parse as parse_sharing

KIND = "ClusterPolicy"
NAME = "cluster-policy"
NAMESPACE = "gpu-operator"
CONFIG_KEY = "config.yaml"


@dataclass(frozen=True)
class Policy:
    """The ClusterPolicy's settings with the operator's defaults filled in."""

    strategy: Strategy = "single"
    device_plugin: bool = True
    feature_discovery: bool = True
    mig_manager: bool = True
    default_layout: str = "all-disabled"
    """MIG layout of a node without the label; empty means none."""
    config_map: str = ""
    """Name of the mig-parted ConfigMap; if empty, layouts are generated from the hardware."""
    layouts: Mapping[str, Layout] | None = None
    """None while the ConfigMap is missing: the MIG manager's pod waits for the volume and changes nothing."""
    layouts_problem: str | None = None
    sharing_map: str = ""
    """Name of the device plugin's ConfigMap; if empty, nothing is shared regardless of a node's label."""
    sharing_default: str = ""
    """Time-slicing configuration of a node without the label; if empty, such a node shares nothing."""
    sharing: Mapping[str, Sharing | None] | None = None
    """Configurations by name, with None for an unreadable one; None while the ConfigMap is missing."""
    sharing_problem: str | None = None

    def sharing_of(self, label: str) -> Sharing | None:
        """Return how a node shares its devices, or None if its device plugin does not start.

        Args:
            label: value of the node's label; empty if the node has none.
        """
        name = label or self.sharing_default
        if not self.sharing_map or (self.sharing is not None and not name):
            return Sharing()
        return (self.sharing or {}).get(name)


def parse_policy(cluster_policy: Mapping[str, Any], config_maps: Mapping[str, Mapping[str, Any]]) -> Policy:
    """Read a ClusterPolicy.

    Args:
        cluster_policy: the object, whose types the API server has validated.
        config_maps: ConfigMaps of the operator's namespace by name.
    """
    spec = cluster_policy.get("spec") or {}
    manager = spec.get("migManager") or {}
    config = manager.get("config") or {}
    strategy = (spec.get("mig") or {}).get("strategy") or "single"
    name = config.get("name") or ""
    layouts, problem = _layouts(name, config_maps)
    plugin = (spec.get("devicePlugin") or {}).get("config") or {}
    sharing_map = plugin.get("name") or ""
    sharing, sharing_problem = _sharing(sharing_map, config_maps)
    return Policy(
        strategy=cast(Strategy, strategy if strategy in STRATEGIES else "single"),
        device_plugin=_enabled(spec, "devicePlugin"),
        feature_discovery=_enabled(spec, "gfd"),
        mig_manager=_enabled(spec, "migManager"),
        default_layout=config.get("default", "all-disabled"),
        config_map=name,
        layouts=layouts,
        layouts_problem=problem,
        sharing_map=sharing_map,
        sharing_default=plugin.get("default") or "",
        sharing=sharing,
        sharing_problem=sharing_problem,
    )


def _enabled(spec: Mapping[str, Any], part: str) -> bool:
    return (spec.get(part) or {}).get("enabled", True) is not False


def _layouts(name: str, config_maps: Mapping[str, Mapping[str, Any]]) -> tuple[Mapping[str, Layout] | None, str | None]:
    if not name:
        return parse_config(dump_config(make_mig_parted_config())), None
    config_map = config_maps.get(name)
    if config_map is None:
        return None, f"ConfigMap {NAMESPACE}/{name} does not exist"
    text = (config_map.get("data") or {}).get(CONFIG_KEY)
    if text is None:
        return {}, f"ConfigMap {NAMESPACE}/{name} has no key {CONFIG_KEY}"
    try:
        return parse_config(text), None
    except ConfigError as error:
        return {}, f"ConfigMap {NAMESPACE}/{name}: {error}"


def _sharing(
    name: str, config_maps: Mapping[str, Mapping[str, Any]]
) -> tuple[Mapping[str, Sharing | None] | None, str | None]:
    if not name:
        return {}, None
    config_map = config_maps.get(name)
    if config_map is None:
        return None, f"ConfigMap {NAMESPACE}/{name} does not exist"
    read: dict[str, Sharing | None] = {}
    problem = None
    for key, text in (config_map.get("data") or {}).items():
        try:
            read[key] = parse_sharing(text)
        except ConfigError as error:
            read[key], problem = None, f"ConfigMap {NAMESPACE}/{name}, {key}: {error}"
    return read, problem
