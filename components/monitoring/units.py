"""Durations and sizes as Prometheus and Kubernetes write them, as types for settings and as numbers."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Annotated

from pydantic import BeforeValidator

_DURATION = re.compile(r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_DURATION_SECONDS = (31_536_000, 604_800, 86_400, 3_600, 60, 1)
# Prometheus counts KB as 1024 bytes, as KiB (its documentation of storage.tsdb.retention.size).
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGTPE])i?B")
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?")
_SCALE = {
    "": Fraction(1),
    "m": Fraction(1, 1000),
    "k": Fraction(1000),
    **{letter: Fraction(1000) ** power for power, letter in enumerate("MGTPE", 2)},
    **{f"{letter}i": Fraction(1024) ** power for power, letter in enumerate("KMGTPE", 1)},
}


def seconds(text: str) -> int:
    """Return the seconds of a duration such as ``15s`` or ``1h30m``; a year has 365 days, as Prometheus counts.

    Raises:
        ValueError: it is none, or nothing.
    """
    match = _DURATION.fullmatch(text)
    parts = [int(part or 0) for part in match.groups()] if match else []
    if not any(parts):
        raise ValueError(f"expected a duration such as 15s, 10m or 15d, got {text!r}")
    return sum(part * unit for part, unit in zip(parts, _DURATION_SECONDS, strict=True))


def prometheus_bytes(text: str) -> Fraction:
    """Return the bytes of a size such as ``45GB``.

    Raises:
        ValueError: it is none.
    """
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError(f"expected a size such as 45GB, got {text!r}; Kubernetes' own form (45Gi) lacks the B")
    return Fraction(match[1]) * _SCALE[f"{match[2]}i"]


def quantity_value(text: str) -> Fraction:
    """Return a Kubernetes quantity as a number: bytes, or cores.

    Raises:
        ValueError: it is none.
    """
    match = _QUANTITY.fullmatch(text)
    if not match:
        raise ValueError(f"expected a quantity such as 500m, 2 or 60Gi, got {text!r}")
    return Fraction(match[1]) * _SCALE[match[2] or ""]


def _text(value: object) -> str:
    # A plain number has no unit; true is one to Python.
    return value if isinstance(value, str) else repr(value)


def duration(value: object) -> str:
    """Check a setting that is a duration."""
    seconds(_text(value))
    return str(value)


def size(value: object) -> str:
    """Check a setting that is a size for Prometheus."""
    prometheus_bytes(_text(value))
    return str(value)


def quantity(value: object) -> str:
    """Check a setting that is a Kubernetes quantity; a whole number needs no quotes."""
    quantity_value(str(value) if isinstance(value, int) and not isinstance(value, bool) else _text(value))
    return str(value)


Duration = Annotated[str, BeforeValidator(duration)]
Size = Annotated[str, BeforeValidator(size)]
Quantity = Annotated[str, BeforeValidator(quantity)]
