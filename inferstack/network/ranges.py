"""Ranges of virtual functions in ``pfNames`` of the SR-IOV network operator: ``ens1f0`` (all), ``ens1f0#0-7``."""

from __future__ import annotations

import re
from dataclasses import dataclass

_FORM = re.compile(r"(?P<port>[^#\s]+)(#(?P<first>\d+)-(?P<last>\d+))?")


@dataclass(frozen=True)
class Range:
    """A port, and its virtual functions from ``first`` to ``last``, both included."""

    port: str
    first: int
    last: int

    def overlaps(self, other: Range) -> bool:
        """Return whether both contain a function of the same port."""
        return self.port == other.port and self.first <= other.last and other.first <= self.last

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


def parse(text: str, vfs: int) -> Range:
    """Return the range of an entry of ``pfNames``.

    Args:
        text: the entry.
        vfs: number of virtual functions of the port, at least 1. An entry without a range means all of them.

    Raises:
        ValueError: the entry has another format, or its range is reversed or exceeds the last function.
    """
    match = _FORM.fullmatch(text)
    if not match:
        raise ValueError(f'"{text}" is neither a port (ens1f0) nor a range of its functions (ens1f0#0-7)')
    if match["first"] is None:
        return Range(match["port"], 0, vfs - 1)
    first, last = int(match["first"]), int(match["last"])
    if last < first:
        raise ValueError(f'"{text}" ends before it begins')
    if last >= vfs:
        raise ValueError(f'"{text}" exceeds function {vfs - 1}, the last of {vfs}')
    return Range(match["port"], first, last)
