"""Whether a live object is as the operator wants it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from inferstack.api.labels import Object


def covers(live: Any, wanted: Any) -> bool:
    """Tell whether ``live`` has all that ``wanted`` says; what others or defaults added beside it does not count.

    Lists count as wholes: an element more or less is a difference.
    """
    if isinstance(wanted, dict):
        return isinstance(live, dict) and all(key in live and covers(live[key], value) for key, value in wanted.items())
    if isinstance(wanted, list):
        same = isinstance(live, list) and len(live) == len(wanted)
        return same and all(covers(one, other) for one, other in zip(live, wanted, strict=True))
    return bool(live == wanted)


def controller(obj: Object) -> Object | None:
    """Return the owner reference of the object's controller."""
    for reference in obj["metadata"].get("ownerReferences") or []:
        if reference.get("controller"):
            return dict(reference)
    return None


def edition(obj: Object) -> tuple[str, str]:
    """Return what changes when an object's content does: its generation where it has one, else its version."""
    meta = obj["metadata"]
    return str(meta["uid"]), str(meta.get("generation") or meta.get("resourceVersion"))


def created(obj: Object, manager: str) -> bool:
    """Tell whether the object still counts fields as ``manager``'s from its creation, so not from an apply."""
    return any(_is_creation(entry, manager) for entry in obj["metadata"].get("managedFields") or [])


def as_applied(entries: Sequence[Object], manager: str) -> list[Object]:
    """Return managedFields in which what ``manager`` created counts as applied.

    An apply lets go of a field that it no longer names, unless the same manager holds it through a creation too.
    """
    return [{**entry, "operation": "Apply"} if _is_creation(entry, manager) else entry for entry in entries]


def _is_creation(entry: Object, manager: str) -> bool:
    return entry["manager"] == manager and entry["operation"] == "Update" and "subresource" not in entry
