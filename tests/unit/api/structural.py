"""What the API server does with a CRD's structural schema: defaults, then validation. CEL is left to the rehearsal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

Schema = dict[str, Any]

_TYPES = {"object": dict, "array": list, "string": str, "integer": int, "boolean": bool}


def defaulted(schema: Schema, value: Any) -> Any:
    """Return a value with the schema's defaults filled in."""
    if isinstance(value, dict):
        below = schema.get("properties", {})
        filled = {name: child["default"] for name, child in below.items() if "default" in child and name not in value}
        return {
            name: defaulted(below.get(name) or schema.get("additionalProperties", {}), entry)
            for name, entry in {**value, **filled}.items()
        }
    if isinstance(value, list):
        return [defaulted(schema["items"], entry) for entry in value]
    return value


def faults(schema: Schema, value: Any, path: str = "") -> Iterator[str]:
    """Yield the paths of what the schema does not allow."""
    if schema.get("x-kubernetes-int-or-string"):
        good = isinstance(value, int | str) and not isinstance(value, bool)
    else:
        good = isinstance(value, _TYPES[schema["type"]]) and isinstance(value, bool) == (schema["type"] == "boolean")
    if not good or not all(_holds(schema, key, value) for key in schema):
        yield path
    elif isinstance(value, dict) and "properties" in schema:
        yield from (f"{path}.{name}" for name in schema.get("required", []) if name not in value)
        for name, entry in value.items():
            if name in schema["properties"]:
                yield from faults(schema["properties"][name], entry, f"{path}.{name}")
            else:
                yield f"{path}.{name}"
    elif isinstance(value, dict) and "additionalProperties" in schema:
        for name, entry in value.items():
            yield from faults(schema["additionalProperties"], entry, f"{path}.{name}")
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from faults(schema["items"], entry, f"{path}[{index}]")
        keys = schema.get("x-kubernetes-list-map-keys")
        if keys and len({tuple(entry.get(key) for key in keys) for entry in value}) < len(value):
            yield path


def _holds(schema: Schema, key: str, value: Any) -> bool:
    limit = schema[key]
    match key:
        case "enum":
            return value in limit
        case "minimum" | "maximum":
            return not isinstance(value, int) or (value >= limit if key == "minimum" else value <= limit)
        case "pattern":
            # \Z: as in Go, the end of the text, not the place before a last newline.
            return not isinstance(value, str) or re.search(limit.replace("$", r"\Z"), value) is not None
        case "minLength" | "minItems" | "minProperties":
            return not isinstance(value, str | list | dict) or len(value) >= limit
        case "maxLength" | "maxItems" | "maxProperties":
            return not isinstance(value, str | list | dict) or len(value) <= limit
        case _:
            return True
