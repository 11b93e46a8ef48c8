"""Read the command line and the environment of processes, including processes during an exec.

During an exec, Linux briefly shows both as empty.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sized
from typing import TypeVar

import psutil

Content = TypeVar("Content", bound=Sized)

_EXEC_SECONDS = 0.5


def command_line(process: psutil.Process) -> list[str]:
    """Return the arguments of a process.

    Raises:
        psutil.Error: the process has ended, or is another user's.
    """
    return _after_exec(process, process.cmdline)


def environment(process: psutil.Process) -> dict[str, str]:
    """Return the environment of a process at its start.

    Raises:
        psutil.Error: the process has ended, or is another user's.
    """
    return _after_exec(process, process.environ)


def leads_session(process: psutil.Process) -> bool:
    """Return whether a process leads a session. Each process that outlives the command that started it does.

    Raises:
        ProcessLookupError: the process has ended.
    """
    return os.getsid(process.pid) == process.pid


def _after_exec(process: psutil.Process, read: Callable[[], Content]) -> Content:
    """Read until the result is not empty, at most for `_EXEC_SECONDS`; do not wait for a zombie."""
    deadline = time.monotonic() + _EXEC_SECONDS
    while not (content := read()) and time.monotonic() < deadline and process.status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.005)
    return content
