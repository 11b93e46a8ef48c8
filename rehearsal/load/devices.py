"""Which GPU or slice a pod has: kwok's kubelet gives out none, so they are given out here."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from inferstack.mig.resources import GPU_RESOURCE, mig_resource
from rehearsal.hardware import HardwareError, current_states, hardware_of

_NAMES = uuid.UUID("6f2f0a52-6f0f-4f43-9f5f-6d1f0c9f0d11")
"""So that a device has the same UUID in each run."""


@dataclass(frozen=True)
class Device:
    """A whole GPU or a slice of one."""

    gpu: int
    """Index of the GPU on its node."""
    uuid: str
    """Of the GPU."""
    model: str
    memory_mib: float
    profile: str = ""
    """MIG profile; empty: the GPU is whole."""
    instance: str = ""
    """Number of the GPU instance. Numbered from 1 here; the driver's number tells of the profile too."""


def devices_of(node: Mapping[str, Any]) -> list[Device]:
    """Return what a simulated node has to give, by GPU; empty where it has no GPUs that are described."""
    try:
        hardware = hardware_of(node)
    except HardwareError:
        return []  # the agent complains of it
    if hardware is None or hardware.gpu is None:
        return []
    model = hardware.gpu
    found: list[Device] = []
    for index, state in enumerate(current_states(node, hardware)):
        identity = "GPU-" + str(uuid.uuid5(_NAMES, f"{node['metadata']['name']}/{index}"))
        if not state.enabled:
            found.append(Device(index, identity, model.product, model.memory_mib))
            continue
        names = [name for name, number in state.profiles.items() for _ in range(number)]
        for number, name in enumerate(names, 1):
            share = model.profile(name).memory_slices / model.memory_slices
            found.append(Device(index, identity, model.product, model.memory_mib * share, name, str(number)))
    return found


def allot(devices: Sequence[Device], pods: Sequence[tuple[str, Mapping[str, int]]]) -> dict[Device, str]:
    """Return whose each device is: first come, first served, the lowest GPU first.

    Args:
        devices: of a node.
        pods: uid and requested GPU resources of each pod on it, oldest first.
    """
    free = list(devices)
    given: dict[Device, str] = {}
    for uid, requests in pods:
        for resource, count in requests.items():
            for _ in range(count):
                device = next((one for one in free if _offers(one, resource)), None)
                if device:
                    free.remove(device)
                    given[device] = uid
    return given


def _offers(device: Device, resource: str) -> bool:
    if resource == GPU_RESOURCE:
        return True  # under the strategy "single" slices go by this name too
    return bool(device.profile) and resource == mig_resource(device.profile)
