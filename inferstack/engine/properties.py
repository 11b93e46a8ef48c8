"""Codec of property values: the engine's wire format and plain Python.

Secrets and unknown values are encoded in a ``Struct`` with signatures (sdk/proto: "property values"). In Python a
secret is a `Secret` around its value, an unknown value is `UNKNOWN`, everything else is JSON.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import struct_pb2

from inferstack.state.checks import SECRET, SIGNATURE

_OUTPUT: Final = "d0e6a833031e9bbcd3f4e8bde6ca49a4"
_UNKNOWNS: Final = frozenset(
    {
        "04da6b54-80e4-46f7-96ec-b56ff0331ba9",
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
        "030794c1-ac77-496b-92df-f27374a8bd58",
        "e48ece36-62e2-4504-bad9-02848725956a",
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
    }
)

Properties = dict[str, Any]


class _Unknown:
    """The value of a property that only the update knows."""

    def __repr__(self) -> str:
        return "<unknown>"

    def __deepcopy__(self, memo: object) -> _Unknown:
        return self


UNKNOWN: Final = _Unknown()


@dataclass(frozen=True, repr=False)
class Secret:
    """A value that is encrypted in the state and hidden in output."""

    value: Any

    def __repr__(self) -> str:
        return "<secret>"


# Names in the Python SDK have no dashes: the provider translates these keys both ways, as the vendor's does.
_DASHED: Final = {
    name.replace("-", "_"): name
    for name in (
        "x-kubernetes-embedded-resource",
        "x-kubernetes-int-or-string",
        "x-kubernetes-list-map-keys",
        "x-kubernetes-list-type",
        "x-kubernetes-map-type",
        "x-kubernetes-preserve-unknown-fields",
        "x-kubernetes-validations",
    )
}
_UNDERSCORED: Final = {dashed: name for name, dashed in _DASHED.items()}


def decode(message: struct_pb2.Struct) -> Properties:
    """Convert a ``Struct`` to Python values, keys in Kubernetes' spelling."""
    return {_DASHED.get(key, key): _decode(value) for key, value in message.fields.items()}


def _decode(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        text = value.string_value
        return UNKNOWN if text in _UNKNOWNS else text
    if kind == "struct_value":
        fields = value.struct_value.fields
        if SIGNATURE in fields:
            return _decode_marked(fields)
        return {_DASHED.get(key, key): _decode(item) for key, item in fields.items()}
    if kind == "list_value":
        return [_decode(item) for item in value.list_value.values]
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    if kind == "bool_value":
        return value.bool_value
    return None


def _decode_marked(fields: Mapping[str, struct_pb2.Value]) -> Any:
    mark = fields[SIGNATURE].string_value
    if mark == SECRET:
        inner = _decode(fields["value"])
        return UNKNOWN if inner is UNKNOWN else Secret(inner)
    if mark == _OUTPUT:
        inner = _decode(fields["value"]) if "value" in fields else UNKNOWN
        hidden = "secret" in fields and fields["secret"].bool_value
        return Secret(inner) if hidden and inner is not UNKNOWN else inner
    # Assets, archives and references to resources: a chart given as an archive carries its path.
    return {key: _decode(item) for key, item in fields.items() if key != SIGNATURE}


def encode(properties: Mapping[str, Any]) -> struct_pb2.Struct:
    """Convert Python values to a ``Struct``, the inverse of `decode`."""
    message = struct_pb2.Struct()
    _fill(message, properties)
    return message


def _fill(message: struct_pb2.Struct, properties: Mapping[str, Any]) -> None:
    fields = message.fields
    for key, value in properties.items():
        _encode(fields[_UNDERSCORED.get(key, key)], value)


def _encode(target: struct_pb2.Value, value: Any) -> None:
    if isinstance(value, str):
        target.string_value = value
    elif isinstance(value, dict):
        target.struct_value.SetInParent()
        _fill(target.struct_value, value)
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int | float):
        target.number_value = value
    elif isinstance(value, list | tuple):
        target.list_value.SetInParent()
        values = target.list_value.values
        for item in value:
            _encode(values.add(), item)
    elif isinstance(value, Secret):
        fields = target.struct_value.fields
        fields[SIGNATURE].string_value = SECRET
        _encode(fields["value"], value.value)
    elif value is UNKNOWN:
        target.string_value = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
    else:
        target.null_value = struct_pb2.NULL_VALUE


def reveal(value: Any) -> Any:
    """Return a value with all secrets in plain text, for the API server only."""
    if isinstance(value, Secret):
        return reveal(value.value)
    if isinstance(value, dict):
        return {key: reveal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [reveal(item) for item in value]
    return value


def has_unknown(value: Any) -> bool:
    """Return whether a value or anything in it is unknown."""
    if value is UNKNOWN:
        return True
    if isinstance(value, Secret):
        return has_unknown(value.value)
    if isinstance(value, dict):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(has_unknown(item) for item in value)
    return False


def has_secret(value: Any) -> bool:
    """Return whether a value or anything in it is secret."""
    if isinstance(value, Secret):
        return True
    if isinstance(value, dict):
        return any(has_secret(item) for item in value.values())
    if isinstance(value, list):
        return any(has_secret(item) for item in value)
    return False


def without_nulls(value: Any) -> Any:
    """Return a value without the null members of its objects, which Kubernetes treats as absent."""
    if isinstance(value, dict):
        return {key: without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value


_MIN_SECRET_LENGTH = 4


def redact(text: str, marked: Any) -> str:
    """Return a message without the secrets in ``marked``: servers quote rejected values."""
    for hidden in sorted(_texts(marked, inside=False), key=len, reverse=True):
        text = text.replace(hidden, "[secret]")
    return text


def _texts(value: Any, *, inside: bool) -> set[str]:
    """Return the strings inside secrets, in plain text and in base64."""
    if isinstance(value, Secret):
        return _texts(value.value, inside=True)
    if isinstance(value, dict):
        return {text for item in value.values() for text in _texts(item, inside=inside)}
    if isinstance(value, list):
        return {text for item in value for text in _texts(item, inside=inside)}
    if not inside or value is None or isinstance(value, bool) or len(str(value)) < _MIN_SECRET_LENGTH:
        return set()
    return {str(value), base64.b64encode(str(value).encode()).decode()}
