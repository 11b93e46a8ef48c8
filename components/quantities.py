"""Setting types for Kubernetes quantities; an integer needs no quotes."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator

from inferstack.apimachinery.quantity import parse_quantity


def _quantity(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"expected a quantity such as 500m, 2 or 64Gi, got {value!r}")  # noqa: TRY004  # pydantic's kind
    if parse_quantity(value) < 0:
        raise ValueError(f"expected a quantity of 0 or more, got {value!r}")
    return str(value)


def _bytes(value: object) -> str:
    text = _quantity(value)
    if parse_quantity(text) <= 0:
        raise ValueError(f"expected more than 0 bytes, got {value!r}")
    return text


Quantity = Annotated[str, BeforeValidator(_quantity)]
"""A quantity of 0 or more, as written."""
Bytes = Annotated[str, BeforeValidator(_bytes)]
"""A quantity of memory or storage, more than 0, as written."""
