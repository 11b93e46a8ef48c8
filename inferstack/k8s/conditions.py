"""The conditions in an object's status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def conditions_of(obj: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return all conditions of an object."""
    return (obj.get("status") or {}).get("conditions") or []


def find_condition(obj: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Return the condition of a type, empty where the object has told none of it."""
    return next((condition for condition in conditions_of(obj) if condition.get("type") == kind), {})


def condition_status(obj: Mapping[str, Any], kind: str) -> str | None:
    """Return the status of a condition: ``True``, ``False`` or ``Unknown``; None where there is no such condition."""
    found = find_condition(obj, kind)
    return str(found.get("status")) if found else None
