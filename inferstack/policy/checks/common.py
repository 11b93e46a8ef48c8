"""Helpers of several checks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from inferstack.policy.resource import UNKNOWN, Resource, get


def given(value: Any, *path: str) -> bool:
    """Return whether a path has a value, or a reference to one that only the update knows."""
    holder = get(value, *path[:-1], default={})
    return path[-1] in holder and (holder[path[-1]] is UNKNOWN or holder[path[-1]] not in (None, ""))


def listed(value: Any) -> list[Any]:
    """Return a value of an AWS policy as a list: it may be a single item."""
    return list(value) if isinstance(value, list | tuple) else [value]


def statements(properties: Mapping[str, Any], *keys: str) -> Iterator[dict[str, Any]]:
    """Yield the statements of the IAM policies at these keys, as JSON strings or objects.

    Raises:
        UnknownError: a policy is not known yet.
    """
    for key in keys:
        document = get(properties, key)
        if document:
            content = json.loads(document) if isinstance(document, str) else document
            yield from listed(content.get("Statement", ()))


def stack_of(resource: Resource) -> str:
    """Return the name of a resource's stack, from its URN."""
    return resource.urn.split(":")[2]
