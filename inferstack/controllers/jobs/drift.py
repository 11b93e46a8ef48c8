"""Whether a live object differs from the desired one. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inferstack.apimachinery.objects import Object


def covers(live: Any, desired: Any) -> bool:
    """Return whether ``live`` has all fields of ``desired``; fields that others or defaults added do not count.

    Lists are compared as a whole: an additional element is a difference.
    """
    if isinstance(desired, dict):
        return isinstance(live, dict) and all(
            key in live and covers(live[key], value) for key, value in desired.items()
        )
    if isinstance(desired, list):
        same = isinstance(live, list) and len(live) == len(desired)
        return same and all(covers(*pair) for pair in zip(live, desired, strict=True))
    return bool(live == desired)


def controller(obj: Object) -> Object | None:
    """Return the owner reference of the object's controller."""
    for reference in obj["metadata"].get("ownerReferences") or []:
        if reference.get("controller"):
            return dict(reference)
    return None


def edition(obj: Object) -> tuple[str, str]:
    """Return what changes whenever an object's content does: its generation, or its version if it has none."""
    meta = obj["metadata"]
    return str(meta["uid"]), str(meta.get("generation") or meta.get("resourceVersion"))


def created(obj: Object, manager: str) -> bool:
    """Return whether ``manager`` owns fields of the object by its creation rather than by an apply."""
    return any(_is_creation(entry, manager) for entry in obj["metadata"].get("managedFields") or [])


def as_applied(entries: Sequence[Object], manager: str) -> list[Object]:
    """Return managedFields in which the fields that ``manager`` created count as applied.

    An apply removes a field that it no longer names, unless the same manager also owns the field by creation.
    """
    return [{**entry, "operation": "Apply"} if _is_creation(entry, manager) else entry for entry in entries]


def _is_creation(entry: Object, manager: str) -> bool:
    return entry["manager"] == manager and entry["operation"] == "Update" and "subresource" not in entry
