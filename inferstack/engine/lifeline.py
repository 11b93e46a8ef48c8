"""End processes together with those that started them, so that a kill leaves nothing behind that goes on working."""

from __future__ import annotations

import os
import select
import shutil
import signal
import sys
import threading

from inferstack.engine.quickstart import relax_gc


def follow_engine() -> None:
    """Exit this process when the engine closes it, and as soon as nobody reads its stdout any more.

    The engine closes a plugin with an interrupt, once all calls are answered. (Its own Ctrl-C does not reach us: it
    starts plugins in a process group of their own.)

    The engine holds the other end of that pipe for as long as it lives; waiting on it costs nothing and, unlike
    asking for the parent's id, needs no clock. A terminal or a file (a person starting the plugin by hand) never
    reports a hang-up before it is closed.
    """
    relax_gc()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(0))
    sys.stdout.flush()
    descriptor = sys.stdout.fileno()

    def wait() -> None:
        poll = select.poll()
        poll.register(descriptor, 0)  # only POLLERR and POLLHUP, which are always reported
        poll.poll()
        os._exit(1)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()


def ending_with_us() -> list[str]:
    """Return the start of a command line whose program is killed when this process dies, empty where there is no way.

    The program must be started from a thread that lives as long as this process: the kernel counts by thread.
    """
    found = shutil.which("setpriv")
    return [found, "--pdeathsig", "KILL"] if found else []
