"""Processes that outlive the command that started them, and are identified by pid and start time."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from rehearsal import procfs

_LOG_LIMIT = 20 * 1024 * 1024


@dataclass(frozen=True)
class ProcessRecord:
    """The record of a started process, stored as ``run/<component>.json``."""

    pid: int
    created: float
    """Start time of the process, in seconds since the epoch."""
    argv: list[str]
    ports: list[int]

    def process(self) -> psutil.Process | None:
        """Return the process if it still runs."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)  # reap it if it is a child of this process
        try:
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.created) < 1 and process.status() != psutil.STATUS_ZOMBIE:
                return process
        except psutil.NoSuchProcess:
            pass
        return None


def read(path: Path) -> ProcessRecord | None:
    """Return the record of a component, None if the component was not started or was stopped."""
    try:
        return ProcessRecord(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None


def start(argv: Sequence[str], *, cwd: Path, log: Path, record_path: Path, ports: Sequence[int]) -> ProcessRecord:
    """Start a process in a new session, append its output to ``log``, and write its record.

    Raises:
        OSError: the program cannot be started.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    record_path.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > _LOG_LIMIT:
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as output:
        # In a new session, Ctrl-C in the terminal does not reach the process.
        child = subprocess.Popen(
            argv, cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        created = psutil.Process(child.pid).create_time()
    except psutil.NoSuchProcess:
        created = time.time()  # it has ended; the readiness loop reports that
    started = ProcessRecord(child.pid, created, list(argv), list(ports))
    partial = record_path.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(started), indent=1) + "\n")
    partial.replace(record_path)
    # From here on, the record identifies the process. Without an exit code, Popen warns of a running child.
    child.returncode = 0
    return started


def stop_unrecorded(mark: str, recorded: Collection[int]) -> None:
    """Stop processes that a command started and did not record because it was killed.

    Args:
        mark: the state folder, which occurs in an option of each component of this rehearsal and of no other program.
        recorded: pids that have a record.
    """
    for process in psutil.process_iter():
        try:
            if process.pid in recorded or not procfs.leads_session(process):
                continue
            # Match options only, after "=": an editor or a shell may have a file of the folder as an argument.
            if any(part.startswith("--") and f"={mark}" in part for part in procfs.command_line(process)):
                stop(process, 10)
        except (psutil.Error, ProcessLookupError):
            continue  # it has ended, or belongs to another user


def stop(process: psutil.Process, seconds: float) -> None:
    """Send SIGTERM, then SIGKILL after ``seconds``; return when the process has ended."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
        try:
            _wait_exit(process, seconds)
        except psutil.TimeoutExpired:
            process.kill()
            _wait_exit(process, 10)


def _wait_exit(process: psutil.Process, seconds: float) -> None:
    """Wait until the process has ended. A zombie has ended, even if its parent did not reap it yet."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process.pid, os.WNOHANG)
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return
        if time.monotonic() > deadline:
            raise psutil.TimeoutExpired(seconds, process.pid)
        time.sleep(0.02)
