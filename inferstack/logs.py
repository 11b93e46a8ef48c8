"""The last lines of a log file, for messages about a process that exited."""

from __future__ import annotations

import os
from pathlib import Path


def tail(path: Path, lines: int) -> str:
    """Return the last lines of a file; reads at most its last 256 KiB."""
    with path.open("rb") as file:
        file.seek(0, os.SEEK_END)
        file.seek(max(0, file.tell() - 262_144))
        return "\n".join(file.read().decode(errors="replace").splitlines()[-lines:])
