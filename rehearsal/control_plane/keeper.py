"""Keep a control plane up for as long as something works on it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from inferstack.errors import UserError
from rehearsal.control_plane.rehearsal import Rehearsal

_LOOK_SECONDS = 0.5
"""A look reads a few small files; whoever waits for a dead component waits at least that long."""


class Keeper:
    """While it is entered, components that die are started again: an update would wait for them in vain.

    Args:
        rehearsal: which has been started.
        report: takes a line for each step; called from a thread.
    """

    def __init__(self, rehearsal: Rehearsal, report: Callable[[str], None]) -> None:
        self._rehearsal = rehearsal
        self._report = report
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="keeper", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def _keep(self) -> None:
        while not self._done.wait(_LOOK_SECONDS):
            try:
                self._rehearsal.revive(self._report)
            except UserError as error:
                self._report(f"the control plane is not complete: {error}")
                return
