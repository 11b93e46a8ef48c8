"""Start the Python of a policy pack before the engine asks for it.

The engine waits for the language host, then for the packs, and only then runs the program; the Python of a pack takes
as long to import the SDK as the host does. Where the engine was started with a pack, both import at once.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence

import psutil

from inferstack.rehearsal.providers.lifeline import ending_with_us

_OPTION = "--policy-pack"
# What `python -m pulumi.policy` imports in any case; then it is that, with the arguments and in the place it is told.
_SOURCE = """
import json, os, runpy, sys
import pulumi_policy
told = json.loads(sys.stdin.readline() or "null")
if told:
    os.environ.clear()
    os.environ.update(told["environment"])
    os.chdir(told["folder"])
    sys.argv = ["pulumi.policy", *told["arguments"]]
    runpy.run_module("pulumi.policy", run_name="__main__", alter_sys=True)
"""


class Ahead:
    """One process that waits for its arguments, if there is one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: subprocess.Popen[bytes] | None = None

    def begin(self) -> None:
        """Start the process; from a thread that lives as long as this process."""
        self._waiting = subprocess.Popen(
            [*ending_with_us(), sys.executable, "-P", "-u", "-c", _SOURCE],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def take(
        self, arguments: Sequence[str], environment: Mapping[str, str], folder: str
    ) -> subprocess.Popen[bytes] | None:
        """Have the process run the pack, as ``python -m pulumi.policy`` does; None where there is none, or no more."""
        with self._lock:
            process, self._waiting = self._waiting, None
        if process is None or process.poll() is not None:
            return None
        told = {"arguments": list(arguments), "environment": dict(environment), "folder": folder or os.getcwd()}  # noqa: PTH109
        assert process.stdin is not None  # noqa: S101  # a pipe, see `begin`
        process.stdin.write(json.dumps(told).encode() + b"\n")
        process.stdin.close()
        return process


AHEAD = Ahead()
"""The language host's own."""


def begin() -> None:
    """Start the process where the engine, our parent, was started with a policy pack."""
    try:
        command = psutil.Process(os.getppid()).cmdline()
    except psutil.Error:
        return
    if any(part == _OPTION or part.startswith(f"{_OPTION}=") for part in command):
        AHEAD.begin()


def main() -> None:
    """Be the language host, with the process of a pack started before the host imports what it needs itself."""
    begin()
    from inferstack.rehearsal.providers.language_host import main as serve  # noqa: PLC0415  # see above

    serve()
