"""Who manages which fields of an object (``metadata.managedFields``), as server-side apply records it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from inferstack.apimachinery.rfc3339 import format_time

Fields = dict[str, Any]

CREATOR = "pulumi-kubernetes"
"""Manager of objects that were created rather than applied, until their first update."""

# Whose fields an update takes over: our own creations, and what kubectl applied before Pulumi managed the object.
_TAKEN_OVER = frozenset(
    {
        ("kubectl", "Apply"),
        ("kubectl", "Update"),
        ("before-first-apply", "Update"),
        (CREATOR, "Update"),
        ("pulumi-kubernetes.exe", "Update"),
        ("pulumi-resource-kubernetes", "Update"),
    }
)


def taken_over(live: Mapping[str, Any], manager: str) -> list[Fields] | None:
    """Return managedFields in which ``manager`` applies what its predecessors managed, None where there are none."""
    entries = live["metadata"].get("managedFields") or []
    ours: Fields | None = None
    kept, merged = [], False
    for entry in entries:
        if entry.get("subresource"):
            kept.append(entry)
        elif entry.get("manager") == manager and entry.get("operation") == "Apply":
            ours = _merge(ours or {}, entry.get("fieldsV1") or {})
        elif (entry.get("manager"), entry.get("operation")) in _TAKEN_OVER:
            ours = _merge(ours or {}, entry.get("fieldsV1") or {})
            merged = True
        else:
            kept.append(entry)
    if not merged:
        return None
    applied = {
        "manager": manager,
        "operation": "Apply",
        "apiVersion": live["apiVersion"],
        "time": format_time(datetime.datetime.now(datetime.UTC)),
        "fieldsType": "FieldsV1",
        "fieldsV1": ours,
    }
    return [applied, *kept]


def _merge(left: Fields, right: Fields) -> Fields:
    merged = dict(left)
    for key, value in right.items():
        mine = merged.get(key)
        merged[key] = _merge(mine, value) if isinstance(mine, dict) and isinstance(value, dict) else value
    return merged


def owners(live: Mapping[str, Any], path: tuple[str | int, ...]) -> set[str]:
    """Return the managers of a field; paths through lists are not resolved and belong to nobody."""
    paths = set()
    for entry in live["metadata"].get("managedFields") or []:
        node: Any = entry.get("fieldsV1") or {}
        for part in path:
            node = node.get(f"f:{part}") if isinstance(node, dict) else None
        if node is not None:
            paths.add(str(entry.get("manager")))
    return paths


def created_by_us(live: Mapping[str, Any]) -> bool:
    """Return whether an object still carries the manager of a creation."""
    return any(
        entry.get("operation") == "Update" and entry.get("manager") == CREATOR
        for entry in live["metadata"].get("managedFields") or []
    )
