"""Interrupts that are the engine's to answer."""

from __future__ import annotations

import contextlib
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator


class Interrupts:
    """Passes interrupts on to the engine, from the moment at which it is asked for: none gets lost while it starts.

    Args:
        report: takes a line for the user. Called from a thread: a signal may come in the midst of a write to the
            terminal, and a handler that wrote there as well would fail (`reentrant call inside BufferedWriter`).
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self.count = 0
        self._passed = 0
        self._report = report
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()  # the queue that signal handlers may use
        self._process: subprocess.Popen[str] | None = None

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Take what would be a KeyboardInterrupt; a signal that is ignored stays so."""
        numbers = [n for n in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(n) is signal.default_int_handler]
        reporter = threading.Thread(target=self._report_lines, name="interrupts", daemon=True)
        reporter.start()
        for number in numbers:
            signal.signal(number, self._take)
        try:
            yield
        finally:
            for number in numbers:
                signal.signal(number, signal.default_int_handler)
            self._lines.put(None)
            reporter.join()

    def _report_lines(self) -> None:
        while (line := self._lines.get()) is not None:
            self._report(line)

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
                self._lines.put("interrupted: the engine ends what it has begun (interrupt again to stop it at once)")
            self._process.send_signal(signal.SIGINT if self._passed < 3 else signal.SIGKILL)
