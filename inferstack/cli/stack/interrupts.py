"""Interrupts that are the engine's to answer."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Callable, Iterator


class Interrupts:
    """Passes interrupts on to the engine, from the moment at which it is asked for: none gets lost while it starts."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self.count = 0
        self._passed = 0
        self._report = report
        self._process: subprocess.Popen[str] | None = None

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Take what would be a KeyboardInterrupt; a signal that is ignored stays so."""
        numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is signal.default_int_handler]
        for number in numbers:
            signal.signal(number, self._take)
        try:
            yield
        finally:
            for number in numbers:
                signal.signal(number, signal.default_int_handler)

    def pass_to(self, process: subprocess.Popen[str]) -> None:
        """Pass what has come and what comes on to this process; the third one kills it."""
        self._process = process
        self._pass()

    def _take(self, *_: object) -> None:
        self.count += 1
        self._pass()

    def _pass(self) -> None:
        while self._process is not None and self._passed < self.count:
            self._passed += 1
            if self._passed == 1:
                self._report("interrupted: the engine ends what it has begun (interrupt again to stop it at once)")
            self._process.send_signal(signal.SIGINT if self._passed < 3 else signal.SIGKILL)
