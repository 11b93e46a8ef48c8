"""Kinds of values: amounts of bytes as Kubernetes writes them, lists with something in them."""

from __future__ import annotations

import re
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BeforeValidator

Value = TypeVar("Value")

_FORM = re.compile(r"([0-9]+(?:\.[0-9]+)?)([kMGTP]|[KMGTP]i)?")
_FACTORS: dict[str | None, int] = {
    None: 1,
    **{unit: 1000**power for power, unit in enumerate("kMGTP", start=1)},
    **{f"{unit}i": 1024**power for power, unit in enumerate("KMGTP", start=1)},
}


def number_of(quantity: str) -> int:
    """Return the bytes of a quantity.

    Raises:
        ValueError: it is none.
    """
    match = _FORM.fullmatch(quantity)
    if match is None:
        raise ValueError(f"expected a number of bytes such as 16Gi or 500G, got {quantity!r}")
    return int(float(match[1]) * _FACTORS[match[2]])


def _bytes(value: object) -> str:
    text = str(value) if isinstance(value, int | str) and not isinstance(value, bool) else repr(value)
    if number_of(text) <= 0:
        raise ValueError(f"expected more than no bytes, got {value!r}")
    return text


Bytes = Annotated[str, BeforeValidator(_bytes)]
"""More than none, as it was written."""


def _some(value: tuple[Value, ...]) -> tuple[Value, ...]:
    if not value:
        raise ValueError("needs 1 or more entries")
    return value


# Not Field(min_length=1): that also complains of a list whose entries are wrong.
Some = Annotated[tuple[Value, ...], AfterValidator(_some)]
"""A list that is not empty."""
