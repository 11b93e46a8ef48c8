"""Converts pydantic's JSON schema to the structural OpenAPI v3 schema of a CRD.

A structural schema has no ``$ref``, no titles, no ``additionalProperties: false`` and no ``anyOf`` with types, except
for int-or-string. The conversion rejects what it cannot express; it drops nothing silently.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from inferstack.api.base import ApiModel
from inferstack.api.rules import Rule

Schema = dict[str, Any]

_KEPT = (
    "type",
    "format",
    "pattern",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "enum",
    "default",
)
_CONVERTED = {
    "title",
    "description",
    "properties",
    "required",
    "items",
    "additionalProperties",
    "anyOf",
    "const",
    "$ref",
}


class SchemaError(Exception):
    """A model uses a construct that no structural schema can express."""


def structural(
    model: type[ApiModel], rules: Mapping[type[ApiModel], Sequence[Rule]], map_keys: Mapping[str, Sequence[str]]
) -> Schema:
    """Return the structural schema of a model.

    Args:
        model: root of the kind.
        rules: CEL rules by model.
        map_keys: for a list, named by its path (``.spec.env``), the keys that make an entry unique.
    """
    source = model.model_json_schema(by_alias=True)
    by_name = {cls.__name__: entries for cls, entries in rules.items()}
    return _convert(source, "", source.get("$defs", {}), by_name, map_keys)


def _convert(
    node: Mapping[str, Any],
    path: str,
    definitions: Mapping[str, Any],
    rules: Mapping[str, Sequence[Rule]],
    map_keys: Mapping[str, Sequence[str]],
) -> Schema:
    node = _resolve(node, definitions)
    if unknown := set(node) - set(_KEPT) - _CONVERTED - {"$defs"}:
        raise SchemaError(f"{path or '.'}: cannot express {', '.join(sorted(unknown))}")
    schema: Schema = {}
    if text := " ".join(str(node.get("description", "")).split()):
        schema["description"] = text
    if "anyOf" in node:
        return {**schema, **_int_or_string(node, path)}
    schema |= {key: node[key] for key in _KEPT if key in node}
    if schema.get("default") == []:
        del schema["default"]  # no effect, but it would be written into each object
    if "const" in node:
        schema["enum"] = [node["const"]]
    match node.get("type"):
        case "object":
            _object(schema, node, path, definitions, rules, map_keys)
            if validations := rules.get(str(node.get("title"))):
                schema["x-kubernetes-validations"] = [rule.manifest() for rule in validations]
        case "array":
            schema["items"] = _convert(node["items"], f"{path}[]", definitions, rules, map_keys)
            if keys := map_keys.get(path):
                schema |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}
            else:
                schema["x-kubernetes-list-type"] = "atomic"
        case "string":
            if not {"enum", "maxLength", "format"} & schema.keys():
                raise SchemaError(f"{path}: a string needs maxLength, otherwise CEL rules over it are too expensive")
        case "integer" | "boolean":
            pass
        case other:
            raise SchemaError(f"{path or '.'}: cannot express type {other!r}")
    return schema


def _resolve(node: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve a reference, and replace an optional type by the type; the outer description wins."""
    node = dict(node)
    if "anyOf" in node:
        kept = [option for option in node["anyOf"] if option.get("type") != "null"]
        if len(kept) < len(node["anyOf"]) and node.get("default", ...) is None:
            del node["default"]
        if len(kept) == 1:
            del node["anyOf"]
            node = {**kept[0], **node}
        else:
            node["anyOf"] = kept
    if "$ref" in node:
        name = node.pop("$ref").rsplit("/", 1)[1]
        node = {**definitions[name], **node, "title": name}
        return _resolve(node, definitions)
    return node


def _object(
    schema: Schema,
    node: Mapping[str, Any],
    path: str,
    definitions: Mapping[str, Any],
    rules: Mapping[str, Sequence[Rule]],
    map_keys: Mapping[str, Sequence[str]],
) -> None:
    if "properties" in node:
        schema["properties"] = {
            name: _convert(child, f"{path}.{name}", definitions, rules, map_keys)
            for name, child in node["properties"].items()
        }
        if node.get("required"):
            schema["required"] = list(node["required"])
    elif isinstance(node.get("additionalProperties"), dict):
        schema["additionalProperties"] = _convert(
            node["additionalProperties"], f"{path}[*]", definitions, rules, map_keys
        )


def _int_or_string(node: Mapping[str, Any], path: str) -> Schema:
    """Return int-or-string, the only union of a structural schema. The bounds of each type apply to that type only."""
    options = {option.get("type"): option for option in node["anyOf"]}
    if set(options) != {"integer", "string"}:
        raise SchemaError(f"{path}: cannot express a union of {', '.join(map(str, options))}")
    schema: Schema = {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}
    for option in options.values():
        schema |= {key: option[key] for key in _KEPT if key in option and key != "type"}
    if "default" in node:
        schema["default"] = node["default"]
    return schema
