"""Waits for a condition: of a test, and of an engine that is a script."""

from __future__ import annotations

import time
from collections.abc import Callable

# Ends by itself after some seconds, so that a test that fails leaves no process.
WAIT = 'for n in $(seq 200); do [ -e "{file}" ] && break; sleep 0.05; done\n'


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds; ``what`` says what it means that it never does."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
