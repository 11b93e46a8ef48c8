"""Restart the components of a control plane that end while something works on it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from inferstack.errors import UserError
from rehearsal.control_plane.rehearsal import Rehearsal

_PERIOD_SECONDS = 0.5
"""A check reads a few small files. A dead component stays down for up to this long."""


class Supervisor:
    """Context manager that restarts components that end, so that an update does not wait for them forever.

    Args:
        rehearsal: a started rehearsal.
        report: called with one line per step, from a thread.
    """

    def __init__(self, rehearsal: Rehearsal, report: Callable[[str], None]) -> None:
        self._rehearsal = rehearsal
        self._report = report
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._supervise, name="supervisor", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def _supervise(self) -> None:
        while not self._stop.wait(_PERIOD_SECONDS):
            try:
                self._rehearsal.restart_dead_components(self._report)
            except UserError as error:
                self._report(f"cannot restart the control plane: {error}")
                return
