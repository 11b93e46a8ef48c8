"""Allocation of GPUs and MIG devices to pods, which kwok's kubelet does not do."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inferstack.mig.resources import GPU_RESOURCE, mig_resource
from rehearsal.hardware import HardwareError, current_states, hardware_of

_NAMES = uuid.UUID("6f2f0a52-6f0f-4f43-9f5f-6d1f0c9f0d11")
"""Namespace of device UUIDs, so that a device has the same UUID in each run."""


@dataclass(frozen=True)
class Device:
    """A GPU or a MIG device."""

    gpu: int
    """Index of the GPU on its node."""
    uuid: str
    """UUID of the GPU."""
    model: str
    memory_mib: float
    profile: str = ""
    """MIG profile; empty for a GPU with MIG disabled."""
    instance: str = ""
    """GPU instance ID, numbered from 1; the driver's IDs also depend on the profile."""


def devices_of(node: Mapping[str, Any]) -> list[Device]:
    """Return the devices of a simulated node in order of GPUs; empty without a valid hardware annotation."""
    try:
        hardware = hardware_of(node)
    except HardwareError:
        return []  # the agent logs it
    if hardware is None or hardware.gpu is None:
        return []
    model = hardware.gpu
    devices: list[Device] = []
    for index, state in enumerate(current_states(node, hardware)):
        identity = "GPU-" + str(uuid.uuid5(_NAMES, f"{node['metadata']['name']}/{index}"))
        if not state.enabled:
            devices.append(Device(index, identity, model.product, model.memory_mib))
            continue
        names = [name for name, number in state.profiles.items() for _ in range(number)]
        for number, name in enumerate(names, 1):
            share = model.profile(name).memory_slices / model.memory_slices
            devices.append(Device(index, identity, model.product, model.memory_mib * share, name, str(number)))
    return devices


def allocate(devices: Sequence[Device], pods: Sequence[tuple[str, Mapping[str, int]]]) -> dict[Device, str]:
    """Return the pod uid of each allocated device: first come, first served, the lowest GPU first.

    Args:
        devices: devices of a node.
        pods: uid and requested GPU resources of each pod on the node, oldest first.
    """
    free = list(devices)
    allocated: dict[Device, str] = {}
    for uid, requests in pods:
        for resource, count in requests.items():
            for _ in range(count):
                device = next((device for device in free if _provides(device, resource)), None)
                if device:
                    free.remove(device)
                    allocated[device] = uid
    return allocated


def _provides(device: Device, resource: str) -> bool:
    if resource == GPU_RESOURCE:
        return True  # with the MIG strategy "single", MIG devices have this resource name too
    return bool(device.profile) and resource == mig_resource(device.profile)
