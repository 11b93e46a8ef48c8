"""Times as Kubernetes writes them: RFC 3339, in UTC. Callers pass the time; nothing here reads a clock.

The formats are those of metav1.Time and metav1.MicroTime (kubernetes/apimachinery ``pkg/apis/meta/v1``).
"""

from __future__ import annotations

import math
from datetime import UTC, datetime


def format_time(time: datetime) -> str:
    """Return a time in whole seconds, as in ``metadata.creationTimestamp``: ``2026-01-31T08:00:00Z``."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_micro_time(time: datetime) -> str:
    """Return a time with microseconds, as in ``spec.renewTime`` of a Lease: ``2026-01-31T08:00:00.250000Z``."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def format_epoch(seconds: float) -> str:
    """Return seconds since the epoch as `format_time` does, rounded down."""
    return format_time(datetime.fromtimestamp(math.floor(seconds), UTC))


def parse_time(text: str) -> datetime:
    """Return the time, with its offset from UTC.

    Raises:
        ValueError: the text is not a time in RFC 3339 with an offset.
    """
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise ValueError(f"expected a time with an offset such as 2026-01-31T08:00:00Z, got {text!r}")
    return time


def parse_epoch(text: str) -> float:
    """Return the time in seconds since the epoch.

    Raises:
        ValueError: the text is not a time in RFC 3339 with an offset.
    """
    return parse_time(text).timestamp()
