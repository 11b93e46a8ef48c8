"""Durations and sizes in Prometheus' notation, as types for settings and as numbers."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Annotated

from pydantic import BeforeValidator

from inferstack.apimachinery.quantity import parse_quantity

_DURATION = re.compile(r"(?:(\d+)y)?(?:(\d+)w)?(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?")
_DURATION_SECONDS = (31_536_000, 604_800, 86_400, 3_600, 60, 1)
# In Prometheus KB is 1024 bytes, like KiB (documentation of storage.tsdb.retention.size).
_SIZE = re.compile(r"(\d+(?:\.\d+)?)([KMGTPE])i?B")


def seconds(text: str) -> int:
    """Return the seconds of a duration such as ``15s`` or ``1h30m``; a year has 365 days, as in Prometheus.

    Raises:
        ValueError: the text is no duration, or the duration is 0.
    """
    match = _DURATION.fullmatch(text)
    parts = [int(part or 0) for part in match.groups()] if match else []
    if not any(parts):
        raise ValueError(f"expected a duration such as 15s, 10m or 15d, got {text!r}")
    return sum(part * unit for part, unit in zip(parts, _DURATION_SECONDS, strict=True))


def prometheus_bytes(text: str) -> Fraction:
    """Return the bytes of a size such as ``45GB``.

    Raises:
        ValueError: the text is no size.
    """
    match = _SIZE.fullmatch(text)
    if not match:
        raise ValueError(f"expected a size such as 45GB, got {text!r}; Kubernetes' own form (45Gi) lacks the B")
    return parse_quantity(f"{match[1]}{match[2]}i")


def _text(value: object) -> str:
    # A plain number has no unit; in Python, true is a number.
    return value if isinstance(value, str) else repr(value)


def duration(value: object) -> str:
    """Validate a duration in settings."""
    seconds(_text(value))
    return str(value)


def size(value: object) -> str:
    """Validate a size for Prometheus in settings."""
    prometheus_bytes(_text(value))
    return str(value)


Duration = Annotated[str, BeforeValidator(duration)]
Size = Annotated[str, BeforeValidator(size)]
