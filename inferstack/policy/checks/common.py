"""What several checks look things up with."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from inferstack.policy.resource import UNKNOWN, Resource, get


def given(value: Any, *path: str) -> bool:
    """Tell whether there is something at a path: a value, or a reference to one that only the update will know."""
    holder = get(value, *path[:-1], default={})
    return path[-1] in holder and (holder[path[-1]] is UNKNOWN or holder[path[-1]] not in (None, ""))


def listed(value: Any) -> list[Any]:
    """Return what a policy of AWS gives as one or as many."""
    return list(value) if isinstance(value, list | tuple) else [value]


def statements(properties: Mapping[str, Any], *keys: str) -> Iterator[dict[str, Any]]:
    """Yield the statements of the policies of AWS under these keys, text as JSON or objects.

    Raises:
        UnknownError: one of them is not known yet.
    """
    for key in keys:
        document = get(properties, key)
        if document:
            content = json.loads(document) if isinstance(document, str) else document
            yield from listed(content.get("Statement", ()))


def stack_of(resource: Resource) -> str:
    """Return the name of the stack that a resource is in, as its URN tells it."""
    return resource.urn.split(":")[2]
