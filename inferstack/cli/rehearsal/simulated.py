"""The simulated hardware of a node, as commands that work on any cluster see it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from inferstack.apimachinery.labels import HARDWARE
from inferstack.errors import UserError
from rehearsal.hardware import (
    Hardware,
    HardwareError,
    annotations_of,
    faults_of,
    hardware_of,
)
from rehearsal.simulators.nodes.mig_manager import MIG_DONE


class SimulatedGpus(NamedTuple):
    """The GPUs of a simulated node."""

    model: str | None
    """None without GPUs; the error where the annotation is invalid."""
    total: int
    lost: int


def simulated_gpus(node: Mapping[str, Any]) -> SimulatedGpus | None:
    """Return the GPUs of a simulated node; None for a real node."""
    lost = faults_of(node).lost_gpus
    try:
        hardware = hardware_of(node)
    except HardwareError as error:
        return SimulatedGpus(f"? ({error})", 0, lost)
    if hardware is None:
        return None
    return SimulatedGpus(hardware.gpu.name if hardware.gpu else None, hardware.gpus, lost)


def require_simulated(node: Mapping[str, Any]) -> Hardware:
    """Return the hardware of a simulated node.

    Raises:
        UserError: the node is real, or its annotation is invalid.
    """
    name = node["metadata"]["name"]
    try:
        hardware = hardware_of(node)
    except HardwareError as error:
        raise UserError(f"Node {name}: annotation {HARDWARE}: {error}") from error
    if hardware is None:
        raise UserError(f"Node {name} has no annotation {HARDWARE}: faults can be injected into simulated nodes only.")
    return hardware


def completed_layout(node: Mapping[str, Any]) -> str | None:
    """Return the layout that the simulated MIG manager completed last; None for a real node."""
    return annotations_of(node).get(MIG_DONE, "") if HARDWARE in annotations_of(node) else None
