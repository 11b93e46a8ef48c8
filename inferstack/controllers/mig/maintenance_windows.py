"""When work on nodes may begin: the windows of a rollout. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from inferstack.api import Weekday, Window

_DAYS = tuple(Weekday)


def seconds_until_open(windows: Sequence[Window], now: datetime) -> float:
    """Return 0 while a window is open, else the seconds until the next one opens.

    Args:
        windows: of the rollout; without any, work may always begin.
        now: with time zone.
    """
    if not windows:
        return 0.0
    return min(_until(window, now) for window in windows)


def _until(window: Window, now: datetime) -> float:
    hour, minute = (int(part) for part in window.start.split(":"))
    duration = timedelta(minutes=window.duration_minutes)
    # Yesterday's window may extend into today; the next one is a week away at most.
    openings = [
        (now + timedelta(days=offset)).replace(hour=hour, minute=minute, second=0, microsecond=0)
        for offset in range(-1, 8)
        if _DAYS[(now + timedelta(days=offset)).weekday()] in window.days
    ]
    if any(opening <= now < opening + duration for opening in openings):
        return 0.0
    return min((opening - now).total_seconds() for opening in openings if opening > now)
