"""Settings as files: which there are on this node, what they hold, and how they are written."""

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
"""Where each kind of setting may lie; whatever the configuration says, nothing else is written."""


class ConfigError(Exception):
    """A configuration that this agent does not take; nothing has been changed."""


@dataclass(frozen=True)
class Finding:
    """What was found of one file, or done to it."""

    status: str
    """ok, differs, set, refused, absent, held, restored, gone, left or advice."""
    key: str
    text: str
    path: str = ""
    """From the root."""


@dataclass(frozen=True)
class Setting:
    """One setting that is wanted."""

    key: str
    kind: str
    path: str
    """From the root; * stands for any part of a name. Empty for interrupts."""
    value: str
    unit: str


@dataclass(frozen=True)
class Config:
    """What the stack asks for."""

    mode: str
    period: float
    """Seconds between two looks at the node."""
    settings: tuple[Setting, ...]
    interfaces: tuple[str, ...]
    """Cards whose interrupts go to CPUs of their own NUMA node."""
    advice: tuple[dict[str, str], ...]


@dataclass(frozen=True)
class Target:
    """One file with what it should hold."""

    key: str
    path: str
    desired: str
    unit: str


def load(path: Path) -> Config:
    """Return the configuration.

    Raises:
        ConfigError: it is none, or names something that this agent must not touch.
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
    """Yield the files of this node for each setting, or a finding where there is none."""
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
    """Return what a file holds, as it is to be written to have the same again."""
    text = (root / path).read_text().strip()
    # A choice shows all its values, with brackets around the one that holds.
    return next((word[1:-1] for word in text.split() if word.startswith("[") and word.endswith("]")), text)


def write(root: Path, path: str, value: str) -> None:
    """Write a file that is there; none is ever made."""
    descriptor = os.open(root / path, os.O_WRONLY | os.O_TRUNC)
    try:
        os.write(descriptor, f"{value}\n".encode())
    finally:
        os.close(descriptor)


def same(path: str, first: str, second: str) -> bool:
    """Tell whether two contents mean the same."""
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
    """Keeps a device open that forgets what was asked of it once it is closed (kernel: power/pm_qos_interface)."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._held: dict[str, tuple[int, str]] = {}

    def look(self, setting: Setting) -> Finding:
        """Say what holds now, and change nothing."""
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
        """Ask for the value and keep the device open."""
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
        """Let go of all: the kernel does the rest."""
        for descriptor, _ in self._held.values():
            os.close(descriptor)
        self._held.clear()


def _no_device(setting: Setting, error: OSError) -> Finding:
    status = "absent" if isinstance(error, FileNotFoundError) else "refused"
    return Finding(status, setting.key, str(error.strerror), setting.path)
