"""Hardware and faults of a simulated node, read from its annotations.

``rehearsal.inferstack.dev/hardware`` is JSON: ``{"instanceType", "cpu", "memory", "pods", "gpu", "gpus", "nics"}``.
An entry of nics is {"resource", "vfs"}, advertised as it is, or {"vendor", "deviceID", "pfNames", "maxVfs",
"linkType"}, configured by SR-IOV policies. ``ephemeralStorage`` (quantity) and ``migSeconds`` (duration of a MIG
reconfiguration) are optional.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inferstack.apimachinery.labels import HARDWARE
from inferstack.apimachinery.quantity import parse_quantity
from inferstack.mig.catalogue import Gpu, gpu
from inferstack.mig.errors import LayoutError, MigError
from inferstack.mig.layout import GpuState, load_states, mig_disabled

LOST_GPUS = "rehearsal.inferstack.dev/lost-gpus"
NOT_READY = "rehearsal.inferstack.dev/not-ready"
MIG_DEVICES = "rehearsal.inferstack.dev/mig-devices"
"""The MIG devices of the GPUs: the state of the simulated machine."""

_REQUIRED = frozenset({"instanceType", "cpu", "memory", "pods"})
_OPTIONAL = frozenset({"gpu", "gpus", "nics", "ephemeralStorage", "migSeconds"})


class HardwareError(Exception):
    """The annotation is invalid; the message begins with the invalid key."""


@dataclass(frozen=True)
class Nic:
    """Devices that a device plugin advertises without a policy (EFA)."""

    resource: str
    vfs: int


@dataclass(frozen=True)
class Port:
    """One physical function of a NIC, on which an SR-IOV policy may create virtual functions."""

    vendor: str
    device_id: str
    name: str
    max_vfs: int
    link_type: str
    """eth or ib."""


@dataclass(frozen=True)
class Hardware:
    """One simulated machine."""

    instance_type: str
    cpu: str
    memory: str
    pods: int
    ephemeral_storage: str
    gpu: Gpu | None
    gpus: int
    nics: tuple[Nic, ...]
    ports: tuple[Port, ...]
    mig_seconds: float | None
    """None: the agent's default."""


@dataclass(frozen=True)
class Faults:
    """Injected faults."""

    lost_gpus: int = 0
    not_ready: bool = False


def annotations_of(node: Mapping[str, Any]) -> Mapping[str, str]:
    """Return a node's annotations, empty if there are none."""
    return node["metadata"].get("annotations") or {}


def hardware_of(node: Mapping[str, Any]) -> Hardware | None:
    """Return a node's hardware, None if the annotation is missing (the node is not simulated).

    Raises:
        HardwareError: the annotation is invalid.
    """
    text = annotations_of(node).get(HARDWARE)
    return None if text is None else parse_hardware(text)


def parse_hardware(text: str) -> Hardware:
    """Parse the annotation's value.

    Raises:
        HardwareError: the text is not JSON, a key is missing or unknown, or a value is out of range.
    """
    try:
        content = json.loads(text)
    except ValueError as error:
        raise HardwareError(f"not JSON: {error}") from error
    if not isinstance(content, dict):
        raise HardwareError("not a JSON object")
    if missing := sorted(_REQUIRED - content.keys()):
        raise HardwareError(f"{missing[0]}: missing")
    if extra := sorted(content.keys() - _REQUIRED - _OPTIONAL):
        raise HardwareError(f"{extra[0]}: unknown key")
    for key in ("cpu", "memory", "ephemeralStorage"):
        try:
            parse_quantity(content.get(key, "0"))
        except ValueError as error:
            raise HardwareError(f"{key}: {error}") from error
    try:
        model = gpu(content["gpu"]) if content.get("gpu") else None
    except MigError as error:
        raise HardwareError(f"gpu: {error}") from error
    gpus = _count("gpus", content.get("gpus", 0))
    if bool(gpus) != bool(model):
        raise HardwareError(f"gpus: {gpus} contradicts gpu: {content.get('gpu')!r}")
    seconds = content.get("migSeconds")
    if seconds is not None and (isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds < 0):
        raise HardwareError(f"migSeconds: {seconds!r} is not a number of seconds")
    nics, ports = _nics(content.get("nics", []))
    return Hardware(
        instance_type=str(content["instanceType"]),
        cpu=str(content["cpu"]),
        memory=str(content["memory"]),
        pods=_count("pods", content["pods"]),
        ephemeral_storage=str(content.get("ephemeralStorage", "100Gi")),
        gpu=model,
        gpus=gpus,
        nics=nics,
        ports=ports,
        mig_seconds=seconds,
    )


def _count(key: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise HardwareError(f"{key}: {value!r} is not a count")
    return value


def _nics(entries: Any) -> tuple[tuple[Nic, ...], tuple[Port, ...]]:
    """Return the devices that need no policy, and the ports that SR-IOV policies configure."""
    nics: list[Nic] = []
    ports: list[Port] = []
    if not isinstance(entries, list):
        raise HardwareError("nics: not a list")
    for entry in entries:
        keys = entry.keys() if isinstance(entry, dict) else set()
        if keys == {"resource", "vfs"}:
            nics.append(Nic(str(entry["resource"]), _count("nics.vfs", entry["vfs"])))
        elif keys == {"vendor", "deviceID", "pfNames", "maxVfs", "linkType"}:
            vfs = _count("nics.maxVfs", entry["maxVfs"])
            if entry["linkType"] not in ("eth", "ib"):
                raise HardwareError(f"nics.linkType: {entry['linkType']!r} is neither eth nor ib")
            ports += [
                Port(str(entry["vendor"]), str(entry["deviceID"]), str(name), vfs, entry["linkType"])
                for name in entry["pfNames"]
            ]
        else:
            raise HardwareError(
                'nics: not a list of {"resource", "vfs"} or {"vendor", "deviceID", "pfNames", "maxVfs", "linkType"}'
            )
    if len({port.name for port in ports}) < len(ports):
        raise HardwareError("nics.pfNames: duplicate name")
    return tuple(nics), tuple(ports)


def faults_of(node: Mapping[str, Any]) -> Faults:
    """Return the injected faults; a lost-gpus value that is not a number counts as 0."""
    annotations = annotations_of(node)
    lost = annotations.get(LOST_GPUS, "0")
    return Faults(lost_gpus=int(lost) if lost.isdecimal() else 0, not_ready=annotations.get(NOT_READY) == "true")


def current_states(node: Mapping[str, Any], hardware: Hardware) -> tuple[GpuState, ...]:
    """Return the MIG state of the node's GPUs; MIG is disabled if the annotation is missing or does not match."""
    text = annotations_of(node).get(MIG_DEVICES)
    if text is None or hardware.gpu is None:
        return mig_disabled(hardware.gpus)
    try:
        states = load_states(text)
    except LayoutError:
        return mig_disabled(hardware.gpus)
    valid = all(name in hardware.gpu.profiles for state in states for name in state.profiles)
    return states if valid and len(states) == hardware.gpus else mig_disabled(hardware.gpus)
