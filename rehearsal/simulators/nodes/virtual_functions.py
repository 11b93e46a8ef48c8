"""Network device plugins: EFA devices, and the virtual functions that the SR-IOV operator configured."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from rehearsal.hardware import Hardware, annotations_of
from rehearsal.simulators.desired import Desired

PUBLISHED = "rehearsal.inferstack.dev/sriov-resources"
"""Annotation of a node: JSON list of the resources that this plugin has published and must withdraw later."""


def desired(node: Mapping[str, Any], hardware: Hardware, functions: Mapping[str, int]) -> Desired:
    """Return the resources; the counts of NICs with the same resource are added.

    Args:
        node: last observed state of the node.
        hardware: hardware of the node.
        functions: virtual functions by full resource name, as configured by the operator's daemon.
    """
    plain: Counter[str] = Counter()
    for nic in hardware.nics:
        plain[nic.resource] += nic.vfs
    resources: dict[str, str | None] = dict.fromkeys(published(node))
    resources |= {name: str(count) for name, count in (plain + Counter(functions)).items()}
    annotation = json.dumps(sorted(functions)) if functions else None
    # None removes an annotation, so it is set only if the annotation exists.
    tell = annotation is not None or PUBLISHED in annotations_of(node)
    return Desired(annotations={PUBLISHED: annotation} if tell else {}, capacity=resources, allocatable=resources)


def published(node: Mapping[str, Any]) -> list[str]:
    """Return the resources that this plugin has published on a node; empty if the annotation is not a list of them."""
    try:
        names = json.loads(annotations_of(node).get(PUBLISHED, "[]"))
    except ValueError:
        return []
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
