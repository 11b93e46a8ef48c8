"""The command lines of all processes while something runs: everybody on a machine may read them."""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

_PAUSE = 0.03
"""Seconds between two looks: even what an engine only asks for its version lives longer."""
_LOOKS = 3
"""At each process: after its start it may yet become another program."""


@contextlib.contextmanager
def sampled() -> Iterator[set[bytes]]:
    """Collect command lines for as long as the context lasts."""
    seen: set[bytes] = set()
    looks: Counter[str] = Counter()
    done = threading.Event()

    def look() -> None:
        while not done.wait(_PAUSE):
            pids = {entry.name for entry in Path("/proc").iterdir() if entry.name.isdecimal()}
            for gone in looks.keys() - pids:
                del looks[gone]
            for pid in pids:
                if looks[pid] < _LOOKS:
                    looks[pid] += 1
                    with contextlib.suppress(OSError):  # it ended while we looked
                        seen.add(Path("/proc", pid, "cmdline").read_bytes().replace(b"\0", b" "))

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()
