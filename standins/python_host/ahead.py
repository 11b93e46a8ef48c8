"""The process of a policy pack, made of the language host before it serves.

The engine waits for the language host, then for the packs, and only then runs the program. Both import the SDK first,
which is a tenth of a preview's time; a fork of the host has it already, and while it waits
runs the pack's ``ahead.py``, if there is one.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import runpy
import signal
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

import psutil

_OPTION = "--policy-pack"


class Ahead:
    """A process that waits to be told which pack to be, if there is one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: Forked | None = None

    def begin(self, folder: Path) -> None:
        """Make the process for a pack; before this one has threads, servers or connections."""
        self._waiting = Forked(folder)

    def take(self, arguments: Sequence[str], environment: Mapping[str, str], folder: str) -> Forked | None:
        """Have the process be the pack, as ``python -m pulumi.policy`` is; None where there is none, or no more."""
        with self._lock:
            process, self._waiting = self._waiting, None
        if process is not None:
            process.tell({"arguments": list(arguments), "environment": dict(environment), "folder": folder})
        return process


class Forked:
    """A fork of this process that waits for a line, with pipes in place of its streams.

    Args:
        folder: of the pack that it will most likely be.
    """

    def __init__(self, folder: Path) -> None:
        pipes = [os.pipe() for _ in range(3)]
        self.pid = os.fork()
        if not self.pid:
            (told, _), (_, out), (_, err) = pipes
            _be_told(told, out, err, [end for pipe in pipes for end in pipe], folder / "ahead.py")
        (told, self._input), (output, out), (errors, err) = pipes
        for end in (told, out, err):
            os.close(end)
        self.stdout: IO[bytes] = os.fdopen(output, "rb")
        self.stderr: IO[bytes] = os.fdopen(errors, "rb")

    def tell(self, told: Any) -> None:
        """Say what it is to be; the pipe stays open, for the process ends with it."""
        with os.fdopen(os.dup(self._input), "w") as line:
            line.write(json.dumps(told) + "\n")

    def terminate(self) -> None:
        """End it."""
        os.kill(self.pid, signal.SIGTERM)

    def wait(self) -> int:
        """Return its exit code, once it has ended."""
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


def _be_told(told: int, out: int, err: int, pipes: Sequence[int], first: Path) -> NoReturn:
    """Be the fork: wait for a line, then be the pack, and end with it or with the process that this is a fork of."""
    code = 1
    try:
        os.dup2(out, 1)
        os.dup2(err, 2)
        for end in pipes:
            if end != told:
                os.close(end)
        # As under `python -u`: the engine waits for a line that nobody flushes.
        sys.stdout, sys.stderr = (io.TextIOWrapper(os.fdopen(to, "wb", 0), write_through=True) for to in (1, 2))
        lines = os.fdopen(told)
        if first.exists():
            runpy.run_path(str(first))
        line = lines.readline()
        if line:
            threading.Thread(target=lambda: (lines.read(), os._exit(1)), daemon=True).start()
            code = _run(json.loads(line))
    except BaseException:  # noqa: BLE001  # of a fork nothing may come back into the host
        traceback.print_exc()
    os._exit(code)


def _run(told: Any) -> int:
    os.environ.clear()
    os.environ.update(told["environment"])
    if told["folder"]:
        os.chdir(told["folder"])
    sys.argv = ["pulumi.policy", *told["arguments"]]
    try:
        runpy.run_module("pulumi.policy", run_name="__main__", alter_sys=True)
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    return 0


AHEAD = Ahead()
"""The language host's own."""


def begin() -> None:
    """Make the process where the engine, our parent, was started with a policy pack."""
    try:
        engine = psutil.Process(os.getppid())
        folders = packs(engine.cmdline())
        if folders:
            AHEAD.begin(Path(engine.cwd()) / folders[0])
    except psutil.Error:
        return


def packs(command: Sequence[str]) -> list[Path]:
    """Return the folders of the policy packs that a command line of the engine names."""
    beside = [following for part, following in itertools.pairwise(command) if part == _OPTION]
    joined = [part.removeprefix(f"{_OPTION}=") for part in command if part.startswith(f"{_OPTION}=")]
    return [Path(part) for part in (*beside, *joined)]
