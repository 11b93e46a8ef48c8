"""Field ownership in ``metadata.managedFields``, as server-side apply records it."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from inferstack.apimachinery.rfc3339 import format_time

Fields = dict[str, Any]

CREATOR = "pulumi-kubernetes"
"""Field manager of objects that were created and not yet updated."""

# An update takes over the fields of Pulumi's creations and those that kubectl set before Pulumi managed the object.
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


def upgrade_managed_fields(live: Mapping[str, Any], manager: str) -> list[Fields] | None:
    """Return managedFields in which ``manager`` applies the fields of earlier managers, or None if there are none."""
    entries = live["metadata"].get("managedFields") or []
    applied_fields: Fields | None = None
    kept, merged = [], False
    for entry in entries:
        if entry.get("subresource"):
            kept.append(entry)
        elif entry.get("manager") == manager and entry.get("operation") == "Apply":
            applied_fields = _merge(applied_fields or {}, entry.get("fieldsV1") or {})
        elif (entry.get("manager"), entry.get("operation")) in _TAKEN_OVER:
            applied_fields = _merge(applied_fields or {}, entry.get("fieldsV1") or {})
            merged = True
        else:
            kept.append(entry)
    if not merged:
        return None
    applied_entry = {
        "manager": manager,
        "operation": "Apply",
        "apiVersion": live["apiVersion"],
        "time": format_time(datetime.datetime.now(datetime.UTC)),
        "fieldsType": "FieldsV1",
        "fieldsV1": applied_fields,
    }
    return [applied_entry, *kept]


def _merge(left: Fields, right: Fields) -> Fields:
    merged = dict(left)
    for key, value in right.items():
        current = merged.get(key)
        merged[key] = _merge(current, value) if isinstance(current, dict) and isinstance(value, dict) else value
    return merged


def field_managers(live: Mapping[str, Any], path: tuple[str | int, ...]) -> set[str]:
    """Return the managers of a field. Paths through lists are not resolved and have no managers."""
    managers = set()
    for entry in live["metadata"].get("managedFields") or []:
        node: Any = entry.get("fieldsV1") or {}
        for part in path:
            node = node.get(f"f:{part}") if isinstance(node, dict) else None
        if node is not None:
            managers.add(str(entry.get("manager")))
    return managers


def created_by_pulumi(live: Mapping[str, Any]) -> bool:
    """Return whether an object still has the field manager of its creation."""
    return any(
        entry.get("operation") == "Update" and entry.get("manager") == CREATOR
        for entry in live["metadata"].get("managedFields") or []
    )
