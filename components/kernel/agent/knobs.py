"""Settings as files of the node: discovery, reading and writing."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MODES = ("dryRun", "apply", "rollback")
_FOLDERS = {"sysctl": "proc/sys/", "sysfs": "sys/", "hold": "dev/cpu_dma_latency"}
"""Allowed paths by kind of setting; nothing else is written."""


class ConfigError(Exception):
    """The configuration is invalid; nothing was changed."""


@dataclass(frozen=True)
class Finding:
    """The state of a file, or the result of a write."""

    status: str
    """ok, differs, set, refused, absent, held, restored, gone, left or advice."""
    key: str
    text: str
    path: str = ""
    """Path from the root."""


@dataclass(frozen=True)
class Setting:
    """A desired setting."""

    key: str
    kind: str
    path: str
    """Path from the root, with * as a wildcard. Empty for interrupts."""
    value: str
    unit: str


@dataclass(frozen=True)
class Config:
    """The configuration of the agent."""

    mode: str
    period: float
    """Seconds between two passes."""
    settings: tuple[Setting, ...]
    interfaces: tuple[str, ...]
    """NICs whose interrupts are pinned to CPUs of the same NUMA node."""
    advice: tuple[dict[str, str], ...]


@dataclass(frozen=True)
class Target:
    """A file with its desired content."""

    key: str
    path: str
    desired: str
    unit: str


def load(path: Path) -> Config:
    """Return the configuration.

    Raises:
        ConfigError: the file is not a configuration, or names a path that the agent must not write.
    """
    try:
        given: dict[str, Any] = json.loads(path.read_text())
        config = Config(
            mode=given["mode"],
            period=float(given["period"]),
            settings=tuple(Setting(**setting) for setting in given["settings"]),
            interfaces=tuple(given["interfaces"]),
            advice=tuple(given["advice"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path}: {type(error).__name__}: {error}") from None
    if config.mode not in MODES:
        raise ConfigError(f"{path}: mode {config.mode!r} is none of {', '.join(MODES)}")
    for setting in config.settings:
        folder = _FOLDERS.get(setting.kind)
        if folder is None:
            raise ConfigError(f"{path}: {setting.key}: unknown kind {setting.kind!r}")
        if not setting.path.startswith(folder) or ".." in setting.path.split("/"):
            raise ConfigError(f"{path}: {setting.key}: {setting.path} is no file of kind {setting.kind}")
    for name in config.interfaces:
        if not name or "/" in name or name in (".", ".."):
            raise ConfigError(f"{path}: {name!r} is no network card")
    return config


def targets(config: Config, root: Path) -> Iterator[Target | Finding]:
    """Yield the files of each setting on this node, or a finding if there is none."""
    for setting in config.settings:
        if setting.kind == "hold":
            continue
        files = sorted(root.glob(setting.path))
        if not files:
            yield Finding("absent", setting.key, "this kernel or machine has no such file", setting.path)
        for file in files:
            yield Target(setting.key, str(file.relative_to(root)), setting.value, setting.unit)
    for name in config.interfaces:
        yield from _interrupts(name, root)


def _interrupts(name: str, root: Path) -> Iterator[Target | Finding]:
    device = root / "sys/class/net" / name / "device"
    try:
        near = (device / "local_cpulist").read_text().strip()
        numbers = sorted(int(entry.name) for entry in (device / "msi_irqs").iterdir())
    except OSError as error:
        yield Finding("absent", "nic-interrupts", f"{name}: {error.strerror}", f"sys/class/net/{name}")
        return
    for number in numbers:
        yield Target("nic-interrupts", f"proc/irq/{number}/smp_affinity_list", near, "CPUs")


def read(root: Path, path: str) -> str:
    """Return the content of a file in the form that restores it when written."""
    text = (root / path).read_text().strip()
    # A choice lists all values, with the current one in brackets.
    return next((word[1:-1] for word in text.split() if word.startswith("[") and word.endswith("]")), text)


def write(root: Path, path: str, value: str) -> None:
    """Write an existing file; never create one."""
    descriptor = os.open(root / path, os.O_WRONLY | os.O_TRUNC)
    try:
        os.write(descriptor, f"{value}\n".encode())
    finally:
        os.close(descriptor)


def same(path: str, first: str, second: str) -> bool:
    """Return whether two contents are equivalent."""
    if path.endswith("smp_affinity_list"):
        return _cpus(first) == _cpus(second)
    return first.split() == second.split()


def _cpus(text: str) -> frozenset[int]:
    cpus: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        cpus.update(range(int(first), int(last or first) + 1))
    return frozenset(cpus)


class Holder:
    """Keeps open a device that drops its request when closed (kernel: power/pm_qos_interface)."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._held: dict[str, tuple[int, str]] = {}

    def look(self, setting: Setting) -> Finding:
        """Report the current value, without a change."""
        try:
            with (self._root / setting.path).open("rb", buffering=0) as device:
                raw = device.read(4)
        except OSError as error:
            return _no_device(setting, error)
        now = str(struct.unpack("=i", raw)[0]) if len(raw) == 4 else "nothing"
        if now == setting.value:
            return Finding("ok", setting.key, now, setting.path)
        return Finding("differs", setting.key, f"{now}, would be held at {setting.value} {setting.unit}", setting.path)

    def hold(self, setting: Setting) -> Finding:
        """Request the value and keep the device open."""
        descriptor, value = self._held.get(setting.key, (-1, ""))
        if value == setting.value:
            return Finding("held", setting.key, f"{value} {setting.unit}", setting.path)
        if descriptor >= 0:
            os.close(descriptor)
        try:
            descriptor = os.open(self._root / setting.path, os.O_WRONLY)
            os.write(descriptor, struct.pack("=i", int(setting.value)))
        except OSError as error:
            return _no_device(setting, error)
        self._held[setting.key] = (descriptor, setting.value)
        return Finding("held", setting.key, f"{setting.value} {setting.unit}", setting.path)

    def release(self) -> None:
        """Close all devices; the kernel then drops the requests."""
        for descriptor, _ in self._held.values():
            os.close(descriptor)
        self._held.clear()


def _no_device(setting: Setting, error: OSError) -> Finding:
    status = "absent" if isinstance(error, FileNotFoundError) else "refused"
    return Finding(status, setting.key, str(error.strerror), setting.path)
