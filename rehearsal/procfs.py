"""What Linux shows of a process, read so that a process in the midst of an exec is not overlooked.

While a process executes its program, Linux shows its command line and its environment as empty for an instant.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sized
from typing import TypeVar

import psutil

Shown = TypeVar("Shown", bound=Sized)

_EXEC_SECONDS = 0.5


def command_line(process: psutil.Process) -> list[str]:
    """Return the arguments of a process.

    Raises:
        psutil.Error: the process has ended, or is another user's.
    """
    return _after_exec(process, process.cmdline)


def environment(process: psutil.Process) -> dict[str, str]:
    """Return the environment with which a process was started.

    Raises:
        psutil.Error: the process has ended, or is another user's.
    """
    return _after_exec(process, process.environ)


def leads_session(process: psutil.Process) -> bool:
    """Return whether a process leads a session, as each process does that outlives the command that started it.

    Raises:
        ProcessLookupError: the process has ended.
    """
    return os.getsid(process.pid) == process.pid


def _after_exec(process: psutil.Process, read: Callable[[], Shown]) -> Shown:
    """Read until there is something, for at most as long as an exec takes; a zombie has nothing to wait for."""
    deadline = time.monotonic() + _EXEC_SECONDS
    while not (shown := read()) and time.monotonic() < deadline and process.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.005)
    return shown
