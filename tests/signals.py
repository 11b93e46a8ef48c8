"""Signals of the processes that tests start."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator


@contextlib.contextmanager
def default_interrupts() -> Iterator[None]:
    """Give processes that are started meanwhile the default action of SIGINT.

    A shell starts its background jobs with SIGINT ignored; pytest and each process that it starts would inherit that.
    """
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, inherited)
