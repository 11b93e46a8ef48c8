"""Conditions of an object's status."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def conditions_of(obj: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return all conditions of an object."""
    return (obj.get("status") or {}).get("conditions") or []


def find_condition(obj: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Return the condition of a type, or an empty mapping if the object has none."""
    return next((condition for condition in conditions_of(obj) if condition.get("type") == kind), {})


def condition_status(obj: Mapping[str, Any], kind: str) -> str | None:
    """Return the status of a condition: ``True``, ``False`` or ``Unknown``; None if there is none."""
    condition = find_condition(obj, kind)
    return str(condition.get("status")) if condition else None
