"""Lists that have at least one entry."""

from __future__ import annotations

from typing import Annotated, TypeVar

from pydantic import AfterValidator

Value = TypeVar("Value")


def _some(value: tuple[Value, ...]) -> tuple[Value, ...]:
    if not value:
        raise ValueError("needs 1 or more entries")
    return value


# Not Field(min_length=1): that also complains of a list whose entries are wrong.
Some = Annotated[tuple[Value, ...], AfterValidator(_some)]
"""A list that is not empty."""
