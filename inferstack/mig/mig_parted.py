"""The configuration of mig-parted, ``version: v1``: a strict parser, and layouts generated from the catalogue.

The rules are those of NVIDIA/mig-parted ``api/spec/v1/spec.go``: unknown fields are rejected, ``devices`` and
``mig-enabled`` are required, ``mig-devices`` is required if MIG is enabled and must be empty otherwise. The default
layouts are those of its ``deployments/systemd/config-default.yaml``; ``all-balanced`` follows
``pkg/mig/builder/balanced.go``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import yaml

from inferstack.apimachinery import yamltext
from inferstack.mig.catalogue import Gpu, load
from inferstack.mig.errors import ConfigError
from inferstack.mig.placement import find_placement
from inferstack.mig.resources import escape_profile

VERSION = "v1"
_PROFILE = re.compile(r"(?:\d+c\.)?[1-9]g\.\d+gb(?:[+-](?:me|gfx)(?:\.all)?)*")
_BALANCED = {7: {1: 2, 2: 1, 3: 1}, 4: {1: 2, 2: 1}}
"""Instances by compute slices for all-balanced, by the GPU's compute slices (mig-parted's balancedFormula)."""


@dataclass(frozen=True)
class Rule:
    """One entry of a layout: the GPUs of the node that it matches, and their new state."""

    enabled: bool
    devices: tuple[int, ...] | None = None
    """GPU indices; None: all."""
    device_filter: tuple[str, ...] = ()
    """PCI device ids such as ``0x20B010DE``; empty for any."""
    profiles: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    """Instances by profile; empty while enabled: MIG mode on, no instance."""

    def matches(self, index: int, device_ids: Iterable[str]) -> bool:
        """Return whether the rule matches the GPU at ``index`` with these PCI device IDs."""
        if self.devices is not None and index not in self.devices:
            return False
        return not self.device_filter or not {d.upper() for d in self.device_filter}.isdisjoint(
            d.upper() for d in device_ids
        )


Layout = tuple[Rule, ...]


def parse_config(text: str) -> dict[str, Layout]:
    """Parse the text of a ``config.yaml`` into layouts by name.

    Raises:
        ConfigError: not YAML, or not mig-parted's v1; the message begins with the path of the field.
    """
    try:
        content = yamltext.parse(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"config.yaml: not YAML: {' '.join(str(error).split())}") from error
    return read_config(content)


def read_config(content: object) -> dict[str, Layout]:
    """Return the layouts of a configuration by name.

    Raises:
        ConfigError: not mig-parted's v1; the message begins with the path of the field.
    """
    if not isinstance(content, dict):
        raise ConfigError("config.yaml: not a mapping with version and mig-configs")
    if content.get("version") != VERSION:
        raise ConfigError(f"version: {content.get('version')!r} is not {VERSION!r}")
    if extra := sorted(str(key) for key in content.keys() - {"version", "mig-configs"}):
        raise ConfigError(f"{extra[0]}: unknown field; known are version and mig-configs")
    configs = content.get("mig-configs", {})
    if not isinstance(configs, dict) or not configs:
        raise ConfigError("mig-configs: needs at least one layout")
    return {str(name): _layout(f"mig-configs.{name}", entries) for name, entries in configs.items()}


def _layout(path: str, entries: Any) -> Layout:
    if not isinstance(entries, list) or not entries:
        raise ConfigError(f"{path}: needs a list of at least one entry")
    return tuple(_rule(f"{path}[{index}]", entry) for index, entry in enumerate(entries))


def _rule(path: str, entry: Any) -> Rule:
    if not isinstance(entry, dict):
        raise ConfigError(f"{path}: not a mapping")
    known_fields = {"device-filter", "devices", "mig-enabled", "mig-devices"}
    if extra := sorted(str(key) for key in entry.keys() - known_fields):
        raise ConfigError(f"{path}.{extra[0]}: unknown field; known are {', '.join(sorted(known_fields))}")
    for required in ("devices", "mig-enabled"):
        if required not in entry:
            raise ConfigError(f"{path}.{required}: missing")
    enabled = entry["mig-enabled"]
    if not isinstance(enabled, bool):
        raise ConfigError(f"{path}.mig-enabled: {enabled!r} is not true or false")
    profiles = _profiles(f"{path}.mig-devices", entry.get("mig-devices"))
    if enabled and "mig-devices" not in entry:
        raise ConfigError(f"{path}.mig-devices: missing while mig-enabled is true; {{}} means no instance")
    if not enabled and profiles:
        raise ConfigError(f"{path}.mig-devices: must be empty while mig-enabled is false")
    return Rule(
        enabled=enabled,
        devices=_devices(f"{path}.devices", entry["devices"]),
        device_filter=_filter(f"{path}.device-filter", entry.get("device-filter")),
        profiles=MappingProxyType(profiles),
    )


def _devices(path: str, value: Any) -> tuple[int, ...] | None:
    if value == "all":
        return None
    if isinstance(value, list) and all(type(item) is int and item >= 0 for item in value):
        return tuple(value)
    raise ConfigError(f"{path}: {value!r} is neither all nor a list of GPU indices")


def _filter(path: str, value: Any) -> tuple[str, ...]:
    if value is None or value == "":
        return ()
    filters = [value] if isinstance(value, str) else value
    if not isinstance(filters, list) or not all(isinstance(item, str) for item in filters):
        raise ConfigError(f'{path}: {value!r} is neither a PCI device id such as "0x20B010DE" nor a list of them')
    for item in filters:
        if not re.fullmatch(r"0[xX][0-9A-Fa-f]{8}", item):
            raise ConfigError(f"{path}: {item!r} is not a PCI device id such as 0x20B010DE")
    return tuple(filters)


def _profiles(path: str, value: Any) -> dict[str, int]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: not a mapping from profile to count")
    for name, count in value.items():
        if not isinstance(name, str) or not _PROFILE.fullmatch(name):
            raise ConfigError(f"{path}: {name!r} is not a MIG profile such as 1g.5gb")
        if type(count) is not int or count < 0:
            raise ConfigError(f"{path}.{name}: {count!r} is not a count")
    return dict(value)


def layout_name(profile: str) -> str:
    """Return mig-parted's name for the layout that fills each GPU with one profile."""
    return "all-" + escape_profile(profile)


def make_mig_parted_config(gpus: Iterable[str] | None = None) -> dict[str, Any]:
    """Return the default layouts as the content of a mig-parted ``config.yaml``.

    These are ``all-disabled``, ``all-enabled``, ``all-<profile>`` for each profile, and ``all-balanced``. If GPU models
    differ in the meaning of a name, each gets an entry with its ``device-filter``.

    Args:
        gpus: names of the GPU models (default: all of the catalogue).
    """
    catalogue = load()
    models = [catalogue.gpus[name] for name in (catalogue.gpus if gpus is None else gpus)]
    configs: dict[str, list[dict[str, Any]]] = {
        "all-disabled": [{"devices": "all", "mig-enabled": False}],
        "all-enabled": [{"devices": "all", "mig-enabled": True, "mig-devices": {}}],
    }
    per_gpu: dict[str, list[tuple[Gpu, dict[str, int]]]] = {}
    for model in models:
        for profile in model.profiles.values():
            per_gpu.setdefault(layout_name(profile.name), []).append((model, {profile.name: profile.max_count}))
        if balanced := _balanced(model):
            per_gpu.setdefault("all-balanced", []).append((model, balanced))
    for name, pairs in sorted(per_gpu.items()):
        configs[name] = _entries(pairs)
    return {"version": VERSION, "mig-configs": configs}


def _balanced(model: Gpu) -> dict[str, int] | None:
    """Return about a third each of small, medium and large instances, or None if the GPU lacks a size."""
    requested: dict[str, int] = {}
    for slices, count in _BALANCED.get(model.compute_slices, {}).items():
        fitting = [p for p in model.profiles.values() if p.compute_slices == slices and not p.media_extensions]
        if not fitting:
            return None
        # Of two profiles with the same compute slices, the one with less memory leaves more room.
        requested[max(fitting, key=lambda profile: profile.max_count).name] = count
    return requested if requested and find_placement(model, requested) is not None else None


def _entries(pairs: list[tuple[Gpu, dict[str, int]]]) -> list[dict[str, Any]]:
    """Merge GPU models with equal content; without a filter if there is only one content.

    As upstream, a GPU that lacks the profile then fails on the layout instead of being skipped silently.
    """
    merged: list[tuple[list[str], dict[str, int]]] = []
    for model, devices in pairs:
        for filters, known_fields in merged:
            if known_fields == devices:
                filters.extend(model.pci_device_ids)
                break
        else:
            merged.append((list(model.pci_device_ids), devices))
    return [
        {
            **({} if len(merged) == 1 else {"device-filter": filters}),
            "devices": "all",
            "mig-enabled": True,
            "mig-devices": devices,
        }
        for filters, devices in merged
    ]


def dump_config(config: Mapping[str, Any]) -> str:
    """Return a configuration as the YAML text of the ConfigMap key ``config.yaml``."""
    return yaml.safe_dump(dict(config), sort_keys=False)
