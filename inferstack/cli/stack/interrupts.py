"""Forwards interrupts to the engine."""

from __future__ import annotations

import contextlib
import queue
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator


class Interrupts:
    """Forwards interrupts to the engine; those that arrive while it starts are kept for it.

    Args:
        report: receives each line, called from a thread: a signal may arrive during a write to the terminal, and a
            handler that writes there too would fail (`reentrant call inside BufferedWriter`).
    """

    def __init__(self, report: Callable[[str], None]) -> None:
        self.count = 0
        self._passed = 0
        self._report = report
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()  # the queue that signal handlers may use
        self._process: subprocess.Popen[str] | None = None

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Handle signals that would raise KeyboardInterrupt; ignored signals stay ignored."""
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
        """Forward past and future interrupts to this process; the third kills it."""
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
