"""Virtual functions of a port as the operator writes them: ``ens1f0`` for all, ``ens1f0#0-7`` for a part."""

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
        """Tell whether both name a function of the same port."""
        return self.port == other.port and self.first <= other.last and other.first <= self.last

    def __str__(self) -> str:
        return f"{self.first}-{self.last}"


def parse(text: str, vfs: int) -> Range:
    """Return the range that an entry of ``pfNames`` means.

    Args:
        text: the entry.
        vfs: functions that the port is cut into, one or more; without a range the entry means all of them.

    Raises:
        ValueError: not of this form, backwards, or past the last function.
    """
    match = _FORM.fullmatch(text)
    if not match:
        raise ValueError(f'"{text}" is neither a port (ens1f0) nor a part of its functions (ens1f0#0-7)')
    if match["first"] is None:
        return Range(match["port"], 0, vfs - 1)
    first, last = int(match["first"]), int(match["last"])
    if last < first:
        raise ValueError(f'"{text}" ends before it begins')
    if last >= vfs:
        raise ValueError(f'"{text}" goes past function {vfs - 1}, the last of {vfs}')
    return Range(match["port"], first, last)
