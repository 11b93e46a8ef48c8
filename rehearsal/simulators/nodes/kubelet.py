"""The kubelet: the machine's CPU, memory, pods and storage, and the Ready condition."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rehearsal.hardware import Faults, Hardware
from rehearsal.simulators.desired import Condition, Desired

_NOT_READY = Condition("Ready", "False", "KubeletNotReady", "made not ready by inferstack node not-ready")
_READY = Condition("Ready", "True", "KubeletReady", "kubelet is posting ready status")


def desired(node: Mapping[str, Any], hardware: Hardware, faults: Faults) -> Desired:
    """Return capacity and conditions; allocatable equals capacity because nothing is reserved for system daemons."""
    resources = {
        "cpu": hardware.cpu,
        "memory": hardware.memory,
        "pods": str(hardware.pods),
        "ephemeral-storage": hardware.ephemeral_storage,
    }
    return Desired(capacity=resources, allocatable=resources, conditions=_conditions(node, faults))


def _conditions(node: Mapping[str, Any], faults: Faults) -> tuple[Condition, ...]:
    if faults.not_ready:
        return (_NOT_READY,)
    ready = {c["type"]: c for c in (node.get("status") or {}).get("conditions") or []}.get("Ready", {})
    # kwok makes nodes ready and renews their leases; repair only what this simulator broke.
    broken_by_us = ready.get("status") == "False" and ready.get("reason") == _NOT_READY.reason
    return (_READY,) if broken_by_us else ()
