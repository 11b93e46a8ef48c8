"""Mend what a rule finds, where that is safe: labels and tags that are missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from inferstack.policy.model import Rule

_PLACES = {"labels": ("metadata", "labels"), "tags": ("tags",)}
"""Where a remedy writes, below the properties of a resource."""


def mend(rule: Rule, properties: Any, config: Mapping[str, Any]) -> Any | None:
    """Add what a rule asks for and a resource lacks; returns the properties, None where there is nothing to add.

    Args:
        rule: with a ``remedy``.
        properties: of the resource, changed in place.
        config: the rule's configuration; ``required`` maps keys to values, an empty value cannot be filled in.
    """
    assert rule.remedy is not None  # noqa: S101  # by the caller
    at = properties
    for key in _PLACES[rule.remedy]:
        if key not in at:
            at[key] = {}
        at = at[key]
    lacking = {key: value for key, value in config["required"].items() if value and not _has(at, key)}
    for key, value in lacking.items():
        at[key] = value
    return properties if lacking else None


def _has(mapping: Any, key: str) -> bool:
    return key in mapping and mapping[key] not in (None, "")
