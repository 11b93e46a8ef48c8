"""Resources as the engine sends them, decoded once for all policies.

`pulumi_policy` decodes a resource anew for each policy: with as many policies as there are rules this took longer than
all checks together (docs/benchmarks.md). It also takes whole numbers for fractions, and an unknown value inside a list
for a text. So three names in its module are put in place of ours, before it serves:

* ``json_format.MessageToDict`` and ``deserialize_properties`` leave a message as it is, inside `Properties`;
* ``unknown_checking_proxy`` is left out: unknown values are `UNKNOWN`.

``tests/unit/policies/test_wire.py`` fails where a new release of the SDK no longer has or uses them.
"""

from __future__ import annotations

import functools
from types import SimpleNamespace
from typing import Any, Final

from google.protobuf import json_format, struct_pb2
from pulumi_policy import deserialize, policy

from inferstack.engine import properties as values
from inferstack.policy.resource import UNKNOWN

Object = dict[str, Any]


class Properties:
    """The properties of one resource, decoded when they are first looked at.

    Args:
        message: as it came.
    """

    def __init__(self, message: struct_pb2.Struct) -> None:
        self.message = message

    @functools.cached_property
    def plain(self) -> Object:
        """Plain values; `UNKNOWN` where a preview has none, secrets without their mark."""
        return plain(self.message)

    def marked(self) -> Any:
        """Return a mapping in the SDK's form, which keeps marks of secrets and of unknown values when it is changed."""
        return deserialize.deserialize_properties(json_format.MessageToDict(self.message), True)


def plain(message: struct_pb2.Struct) -> Object:
    """Return what is in a message, as plain values."""
    return {key: _plain(value) for key, value in values.decode(message).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(below) for key, below in value.items()}
    if isinstance(value, list):
        return [_plain(below) for below in value]
    if isinstance(value, values.Secret):
        return _plain(value.value)
    return UNKNOWN if value is values.UNKNOWN else value


def install() -> None:
    """Have the SDK decode nothing by itself, in this process."""
    for name, ours in OURS.items():
        setattr(policy, name, ours)


def _wrapped(message: struct_pb2.Struct, _proxy_secrets: bool = False) -> Properties:
    return Properties(message)


def _as_it_is(value: Any) -> Any:
    return value


OURS: Final = {
    "json_format": SimpleNamespace(MessageToDict=_as_it_is),
    "deserialize_properties": _wrapped,
    "unknown_checking_proxy": _as_it_is,
}
"""What `install` puts in place of names of the SDK's module."""
