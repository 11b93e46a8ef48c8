"""Add the labels and tags that a rule requires and a resource lacks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import struct_pb2

from inferstack.policy.model import Rule
from inferstack.state.checks import SECRET, SIGNATURE

_PATHS = {"labels": ("metadata", "labels"), "tags": ("tags",)}
"""Path of the mapping that a remedy extends, in the properties of a resource."""


def remediate(rule: Rule, properties: struct_pb2.Struct, config: Mapping[str, Any]) -> bool:
    """Add what a rule requires and a resource lacks, and return whether anything was added.

    The properties are changed in the wire format, so that marks of secrets, assets and unknown values stay as they are.

    Args:
        rule: with a ``remedy``.
        properties: of the resource, changed in place.
        config: the rule's configuration; ``required`` maps keys to values, an empty value cannot be filled in.
    """
    assert rule.remedy is not None  # noqa: S101  # checked by the caller
    missing = {key: value for key, value in config["required"].items() if value}
    target = properties
    for key in _PATHS[rule.remedy]:
        if key not in target.fields:
            target.fields[key].struct_value.SetInParent()
        if target.fields[key].WhichOneof("kind") != "struct_value":
            return False  # an unknown value: the update decides
        target = _unwrap(target.fields[key].struct_value)
    added = {key: value for key, value in missing.items() if _is_empty(target, key)}
    for key, value in added.items():
        target.fields[key].string_value = value
    return bool(added)


def _unwrap(value: struct_pb2.Struct) -> struct_pb2.Struct:
    """Return the mapping inside a secret, or the mapping itself."""
    if SIGNATURE in value.fields and value.fields[SIGNATURE].string_value == SECRET:
        return value.fields["value"].struct_value
    return value


def _is_empty(mapping: struct_pb2.Struct, key: str) -> bool:
    if key not in mapping.fields:
        return True
    value = mapping.fields[key]
    return value.WhichOneof("kind") in (None, "null_value") or value == struct_pb2.Value(string_value="")
