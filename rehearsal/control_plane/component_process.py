"""Processes that outlive the command that started them, and are known again by pid and start time."""

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
class Record:
    """What is kept of a started process, as ``run/<component>.json``."""

    pid: int
    created: float
    """Start time of the process, seconds since the epoch: with the pid it names one process for good."""
    argv: list[str]
    ports: list[int]

    def process(self) -> psutil.Process | None:
        """Return the process if it is still this one and no zombie."""
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)  # reaps it where it is our own child
        try:
            found = psutil.Process(self.pid)
            if abs(found.create_time() - self.created) < 1 and found.status() != psutil.STATUS_ZOMBIE:
                return found
        except psutil.NoSuchProcess:
            pass
        return None


def read(path: Path) -> Record | None:
    """Return the record of a component that was started and not stopped."""
    try:
        return Record(**json.loads(path.read_text()))
    except FileNotFoundError:
        return None


def start(argv: Sequence[str], *, cwd: Path, log: Path, record: Path, ports: Sequence[int]) -> Record:
    """Start a process in a session of its own, its output appended to ``log``, and write its record.

    Raises:
        OSError: it cannot be started.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    record.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > _LOG_LIMIT:
        log.replace(log.with_suffix(".log.1"))
    with log.open("ab") as output:
        # A session of its own: a terminal's Ctrl-C does not reach it.
        child = subprocess.Popen(
            argv, cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    try:
        created = psutil.Process(child.pid).create_time()
    except psutil.NoSuchProcess:
        created = time.time()  # ended already; the probe's loop will tell
    made = Record(child.pid, created, list(argv), list(ports))
    partial = record.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(made), indent=1) + "\n")
    partial.replace(record)
    # The process is known by its record from here on; the object's own bookkeeping would warn of a running child.
    child.returncode = 0
    return made


def end_strays(mark: str, known: Collection[int]) -> None:
    """End processes that a killed command started and had no time to record.

    Args:
        mark: stands in an option of every component of this rehearsal and of no other program: its state folder.
        known: pids that have a record.
    """
    for process in psutil.process_iter():
        try:
            if process.pid in known or not procfs.leads_session(process):
                continue
            # Options only, after a "=": an editor or a shell may well have a file below the folder open.
            if any(part.startswith("--") and f"={mark}" in part for part in procfs.command_line(process)):
                stop(process, 10)
        except (psutil.Error, ProcessLookupError):
            continue  # it ended while we looked, or is another user's


def stop(process: psutil.Process, seconds: float) -> None:
    """SIGTERM, and SIGKILL where it has not ended after ``seconds``; returns when it is gone."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
        try:
            _wait(process, seconds)
        except psutil.TimeoutExpired:
            process.kill()
            _wait(process, 10)


def _wait(process: psutil.Process, seconds: float) -> None:
    """Wait for its end; a zombie has ended, whoever has yet to reap it."""
    until = time.monotonic() + seconds
    while True:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(process.pid, os.WNOHANG)
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            return
        if time.monotonic() > until:
            raise psutil.TimeoutExpired(seconds, process.pid)
        time.sleep(0.02)
