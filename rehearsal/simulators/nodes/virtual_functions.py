"""Network device plugins: EFA devices as they are, and the virtual functions that the SR-IOV operator has set up."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from rehearsal.hardware import Hardware, annotations_of
from rehearsal.simulators.desired import Desired

PUBLISHED = "rehearsal.inferstack.dev/sriov-resources"
"""On a node: JSON list of the resources that this plugin has published and must take back."""


def desired(node: Mapping[str, Any], hardware: Hardware, functions: Mapping[str, int]) -> Desired:
    """Return the resources; NICs of one resource add up.

    Args:
        node: as last seen.
        hardware: of the node.
        functions: virtual functions by full resource name, as the operator's daemon has set them up.
    """
    plain: Counter[str] = Counter()
    for nic in hardware.nics:
        plain[nic.resource] += nic.vfs
    resources: dict[str, str | None] = dict.fromkeys(published(node))
    resources |= {name: str(count) for name, count in (plain + Counter(functions)).items()}
    annotation = json.dumps(sorted(functions)) if functions else None
    # None removes, which is for an annotation that is there.
    tell = annotation is not None or PUBLISHED in annotations_of(node)
    return Desired(annotations={PUBLISHED: annotation} if tell else {}, capacity=resources, allocatable=resources)


def published(node: Mapping[str, Any]) -> list[str]:
    """Return what the node says that this plugin has published; nothing where the annotation is no such list."""
    try:
        names = json.loads(annotations_of(node).get(PUBLISHED, "[]"))
    except ValueError:
        return []
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []
