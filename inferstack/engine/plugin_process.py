"""The process of a plugin: it ends with the engine that started it, so that a kill leaves nothing running."""

from __future__ import annotations

import gc
import os
import select
import shutil
import signal
import sys
import threading

# A few hundred resources allocate some hundred thousand objects, nearly all in use until the process ends.
_GC_THRESHOLD = 200_000


def tune_gc() -> None:
    """Collect garbage less often: plugins live for seconds."""
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, 20, 20)


def exit_with_engine() -> None:
    """Exit this process when the engine closes it or dies.

    The engine closes a plugin with an interrupt once all calls are answered. The terminal's Ctrl-C does not arrive:
    the engine starts plugins in a process group of their own.

    The engine holds the other end of stdout for as long as it lives. Waiting for a hang-up costs nothing and, unlike
    checking the parent's id, needs no timer. A terminal or a file never reports a hang-up before it is closed.
    """
    tune_gc()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))
    sys.stdout.flush()
    descriptor = sys.stdout.fileno()

    def wait() -> None:
        poll = select.poll()
        poll.register(descriptor, 0)  # POLLERR and POLLHUP are always reported
        poll.poll()
        os._exit(1)

    threading.Thread(target=wait, name="exit-with-engine", daemon=True).start()


def kill_with_parent() -> list[str]:
    """Return a command prefix that has the kernel kill a program when this process dies; empty where unsupported.

    Start the program from a thread that lives as long as this process: the kernel watches the thread.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []
