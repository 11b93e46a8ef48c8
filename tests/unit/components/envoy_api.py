"""Envoy's API as Python types, to hold what an EnvoyFilter patches against it.

Nobody else does: the API server takes any value, and istiod warns of an unknown field and drops it.
"""

from __future__ import annotations

import datetime
import re
import warnings
from collections.abc import Mapping
from typing import Any

import betterproto2
from pydantic.dataclasses import dataclass

with warnings.catch_warnings():
    # The generated code validates its oneofs in a way that pydantic would like to see changed.
    warnings.simplefilter("ignore")
    import envoy_data_plane.google.protobuf as well_known
    from envoy_data_plane.envoy.config.cluster.v3 import Cluster
    from envoy_data_plane.envoy.extensions.filters.network.http_connection_manager.v3 import HttpFilter
    from envoy_data_plane.message_pool import default_message_pool

PATCHED: dict[str, type[betterproto2.Message]] = {"CLUSTER": Cluster, "HTTP_FILTER": HttpFilter}
"""What the value of a patch is a part of, by ``applyTo``."""
_DURATION = re.compile(r"(\d+)(\.\d{1,9})?s")


@dataclass(eq=False, repr=False)
class PeakEwma(betterproto2.Message):
    """The policy: contrib/envoy/extensions/load_balancing_policies/peak_ewma/v3alpha/peak_ewma.proto.

    envoy-data-plane leaves contrib out; these are all five fields, by number and type.
    """

    decay_time: datetime.timedelta | None = betterproto2.field(
        1, betterproto2.TYPE_MESSAGE, unwrap=lambda: well_known.Duration, optional=True
    )
    aggregation_interval: datetime.timedelta | None = betterproto2.field(
        2, betterproto2.TYPE_MESSAGE, unwrap=lambda: well_known.Duration, optional=True
    )
    max_samples_per_host: int | None = betterproto2.field(
        3, betterproto2.TYPE_MESSAGE, unwrap=lambda: well_known.UInt32Value, optional=True
    )
    default_rtt: datetime.timedelta | None = betterproto2.field(
        4, betterproto2.TYPE_MESSAGE, unwrap=lambda: well_known.Duration, optional=True
    )
    penalty_value: float | None = betterproto2.field(
        5, betterproto2.TYPE_MESSAGE, unwrap=lambda: well_known.DoubleValue, optional=True
    )


@dataclass(eq=False, repr=False)
class PeakEwmaConfig(betterproto2.Message):
    """The filter that measures, which has no field: contrib/.../filters/http/peak_ewma/v3alpha/peak_ewma.proto."""


for _package, _type in (
    ("envoy.extensions.load_balancing_policies.peak_ewma.v3alpha", PeakEwma),
    ("envoy.extensions.filters.http.peak_ewma.v3alpha", PeakEwmaConfig),
):
    default_message_pool.register_message(_package, _type.__name__, _type)


def type_of(packed: Any) -> type[betterproto2.Message]:
    """Return the type of the message in an ``Any``."""
    return default_message_pool.url_to_type[packed.type_url]


class NotEnvoysError(Exception):
    """A value that Envoy's API does not have; says where."""


def parse(apply_to: str, value: Mapping[str, Any]) -> betterproto2.Message:
    """Return the value of a patch as Envoy's message.

    The library's own ``from_dict`` bends values to fit (``"yes"`` is true, ``"5"`` is 5) and does not know names with a
    digit in them (``consecutive_5xx``), so the fields are walked here.

    Raises:
        NotEnvoysError: an unknown field, or a value of another type than the field's.
    """
    message: betterproto2.Message = _message(PATCHED[apply_to], value, apply_to)
    # Serialising checks the ranges of numbers.
    bytes(message)
    return message


def _message(kind: Any, value: Any, at: str) -> Any:
    if kind is well_known.Any:
        return _any(value, at)
    if not isinstance(value, Mapping):
        raise NotEnvoysError(f"{at}: {kind.__name__} is a mapping, got {value!r}")
    fields = kind._betterproto.meta_by_field_name
    values = {}
    for name, inner in value.items():
        if name not in fields:
            raise NotEnvoysError(f"{at}.{name}: {kind.__name__} has no such field")
        meta, field = fields[name], kind._betterproto.cls_by_field[name]
        if meta.repeated:
            if not isinstance(inner, list):
                raise NotEnvoysError(f"{at}.{name}: a list, got {inner!r}")
            values[name] = [_one(meta, field, item, f"{at}.{name}[{i}]") for i, item in enumerate(inner)]
        else:
            values[name] = _one(meta, field, inner, f"{at}.{name}")
    return kind(**values)


def _one(meta: Any, field: type, value: Any, at: str) -> Any:
    if meta.proto_type == betterproto2.TYPE_MESSAGE and not meta.unwrap:
        return _message(field, value, at)
    if field is datetime.timedelta:
        if not isinstance(value, str) or not (match := _DURATION.fullmatch(value)):
            raise NotEnvoysError(f"{at}: a duration such as 1.5s, got {value!r}")
        return datetime.timedelta(seconds=float(match[1] + (match[2] or "")))
    if meta.proto_type == betterproto2.TYPE_ENUM:
        if value not in {member.name for member in field}:  # type: ignore[attr-defined]  # an enum
            raise NotEnvoysError(f"{at}: one of {field.__name__}, got {value!r}")
        return field[value]  # type: ignore[index]  # an enum
    if type(value) is not field and not (field is float and type(value) is int):
        raise NotEnvoysError(f"{at}: {field.__name__}, got {value!r}")
    return value


def _any(value: Any, at: str) -> Any:
    url = str(value.get("@type")) if isinstance(value, Mapping) else ""
    kind = default_message_pool.url_to_type.get(url)
    if kind is None:
        raise NotEnvoysError(f'{at}["@type"]: no type of Envoy, got {url!r}')
    inside = _message(kind, {key: item for key, item in value.items() if key != "@type"}, at)
    return well_known.Any(type_url=url, value=bytes(inside))
