"""The SR-IOV network device plugin: virtual functions of the NICs as extended resources."""

from __future__ import annotations

from collections import Counter

from inferstack.rehearsal.agent.desired import Desired
from inferstack.rehearsal.agent.hardware import Hardware


def desired(hardware: Hardware) -> Desired:
    """Return the virtual functions by resource; NICs of one resource add up."""
    functions: Counter[str] = Counter()
    for nic in hardware.nics:
        functions[nic.resource] += nic.vfs
    resources = {resource: str(count) for resource, count in functions.items()}
    return Desired(capacity=resources, allocatable=resources)
