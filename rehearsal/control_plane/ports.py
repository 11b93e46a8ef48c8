"""TCP ports of a rehearsal: allocated once, stored, and checked before each start."""

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

# Below the ephemeral port range (32768 and up on Linux), so that no outgoing connection takes one of these ports
# between a stop and the next start.
_RANGE = range(20000, 32000)

_RELEASE_SECONDS = 2.0
"""A killed process holds its ports until its last thread has ended; measured with an API server on a busy machine."""


def is_free(port: int) -> bool:
    """Return whether no process listens on a loopback port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def read(path: Path) -> Ports:
    """Return the stored ports."""
    return Ports(**json.loads(path.read_text()))


def propose_free() -> Ports:
    """Return free ports without storing them."""
    reserved: set[int] = set()
    for _ in dataclasses.fields(Ports):
        reserved.add(_free_port(reserved))
    return Ports(*sorted(reserved))


def allocate(path: Path, *, running: Collection[int], apiserver: int | None = None) -> Ports:
    """Return the ports stored in ``path``, with a new port for each one that another program uses now.

    The API server's port never changes without the user's request: kubeconfigs and stacks contain it.

    Args:
        path: JSON file; written if anything changed.
        running: ports on which the rehearsal's own processes listen.
        apiserver: port of the API server, if the user chose one.

    Raises:
        UserError: another program uses the API server's port.
    """
    stored: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
    allocated: dict[str, int] = {}
    for field in dataclasses.fields(Ports):
        port = stored.get(field.name)
        if field.name == "apiserver":
            port = apiserver or port
            if port and port not in running and _remains_in_use(port):
                raise UserError(
                    f"another program uses port {port} of the API server: stop that program, or choose "
                    "another port with `inferstack rehearsal start --port N`"
                )
        if port is None or (port not in running and _remains_in_use(port)):
            port = _free_port({*allocated.values(), *stored.values()})
        allocated[field.name] = port
    if allocated != stored:
        partial = path.with_suffix(".partial")
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(allocated, indent=1) + "\n")
        partial.replace(path)
    return Ports(**allocated)


def _remains_in_use(port: int) -> bool:
    """Return whether a port is still in use after `_RELEASE_SECONDS`."""
    deadline = time.monotonic() + _RELEASE_SECONDS
    while not is_free(port):
        if time.monotonic() > deadline:
            return True
        time.sleep(0.02)
    return False


def _free_port(reserved: set[int]) -> int:
    # Random, so that rehearsals that start at the same time rarely try the same port.
    for port in random.SystemRandom().sample(_RANGE, 200):
        if port not in reserved and is_free(port):
            return port
    raise UserError(f"no free port between {_RANGE.start} and {_RANGE.stop}: stop some programs and try again")
