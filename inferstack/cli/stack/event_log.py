"""The engine's event log: a file that exists only while a command reads it.

The events contain debug messages of the program, with inputs of providers such as a kubeconfig. Only the owner may
therefore read the file, and it is removed afterwards.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Event = dict[str, Any]


@contextlib.contextmanager
def event_log(state: Path, name: str) -> Iterator[Path]:
    """Yield an empty file for ``--event-log``.

    Args:
        state: the state folder.
        name: of the run that writes it.
    """
    path = state / "logs" / f"pulumi-{name}.events"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def read(log: Path) -> list[Event]:
    """Return the events of a log."""
    return [json.loads(line) for line in log.read_text().splitlines()]
