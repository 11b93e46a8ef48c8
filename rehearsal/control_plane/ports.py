"""TCP ports of a rehearsal: chosen once, kept, checked before use."""

from __future__ import annotations

import dataclasses
import json
import random
import socket
import time
from collections.abc import Collection
from pathlib import Path

from inferstack.errors import UserError
from rehearsal.control_plane.model import Ports

# Below the range from which the kernel takes ports for outgoing connections (32768 and up on Linux), so that none of
# those ever sits on a port of ours between a stop and the next start.
_RANGE = range(20000, 32000)

_LAST_THREAD = 2.0
"""Seconds to wait for that; seen with an API server that was killed on a busy machine."""


def is_free(port: int) -> bool:
    """Tell whether nobody listens on a loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def read(path: Path) -> Ports:
    """Return the kept ports."""
    return Ports(**json.loads(path.read_text()))


def propose() -> Ports:
    """Return free ports without keeping them."""
    taken: set[int] = set()
    for _ in dataclasses.fields(Ports):
        taken.add(_fresh(taken))
    return Ports(*sorted(taken))


def choose(path: Path, *, running: Collection[int], apiserver: int | None = None) -> Ports:
    """Return the rehearsal's ports: those kept in ``path``, with new ones for those taken by others meanwhile.

    The API server's port is part of its address, which users and stacks know, so it is never changed silently.

    Args:
        path: JSON file; written when anything changed.
        running: ports on which our own processes listen right now.
        apiserver: the port that the user wants for the API server.

    Raises:
        UserError: the API server's port is taken by another program.
    """
    kept: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
    chosen: dict[str, int] = {}
    for field in dataclasses.fields(Ports):
        port = kept.get(field.name)
        if field.name == "apiserver":
            port = apiserver or port
            if port and port not in running and _stays_taken(port):
                raise UserError(
                    f"port {port}, the API server's, is taken by another program: end that program, or choose "
                    "another one with `inferstack rehearsal start --port N`"
                )
        if port is None or (port not in running and _stays_taken(port)):
            port = _fresh({*chosen.values(), *kept.values()})
        chosen[field.name] = port
    if chosen != kept:
        fresh = path.with_suffix(".partial")
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_text(json.dumps(chosen, indent=1) + "\n")
        fresh.replace(path)
    return Ports(**chosen)


def _stays_taken(port: int) -> bool:
    """Tell whether a port is still taken after a while: a killed process holds it until its last thread has ended."""
    deadline = time.monotonic() + _LAST_THREAD
    while not is_free(port):
        if time.monotonic() > deadline:
            return True
        time.sleep(0.02)
    return False


def _fresh(taken: set[int]) -> int:
    # Random, so that rehearsals that start at the same time hardly ever look at the same port.
    for port in random.SystemRandom().sample(_RANGE, 200):
        if port not in taken and is_free(port):
            return port
    raise UserError(f"no free port was found between {_RANGE.start} and {_RANGE.stop}: end some programs and try again")
