"""A process is identified by pid and start time, and gets SIGTERM before SIGKILL."""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path

import psutil
import pytest

from rehearsal.control_plane import component_process as process

SLEEP = "import time; print('up', flush=True); time.sleep(60)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)"


def launch(folder: Path, code: str, *options: str) -> process.ProcessRecord:
    argv = [sys.executable, "-c", code, *options]
    started = process.start(argv, cwd=folder, log=folder / "x.log", record_path=folder / "x.json", ports=[1])
    deadline = time.monotonic() + 10
    while "up" not in (folder / "x.log").read_text() and time.monotonic() < deadline:
        time.sleep(0.02)
    return started


def test_record_identifies_process(tmp_path: Path) -> None:
    started = launch(tmp_path, SLEEP)
    stored = process.read(tmp_path / "x.json")

    assert stored == started
    running = started.process()
    assert running is not None
    process.stop(running, 5)
    assert started.process() is None


def test_recycled_pid_is_another_process(tmp_path: Path) -> None:
    started = launch(tmp_path, SLEEP)
    running = started.process()

    assert running is not None
    assert dataclasses.replace(started, created=started.created - 100).process() is None
    process.stop(running, 5)


def test_process_ignoring_sigterm_is_killed(tmp_path: Path) -> None:
    started = launch(tmp_path, STUBBORN)
    running = started.process()
    assert running is not None

    process.stop(running, 0.2)

    assert started.process() is None


def test_unrecorded_process_is_stopped(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", SLEEP, f"--config={tmp_path}/own/x"]
    log, record_path = tmp_path / "x.log", tmp_path / "x.json"
    recorded = process.start(argv, cwd=tmp_path, log=log, record_path=record_path, ports=[])
    unrecorded = process.start(argv, cwd=tmp_path, log=log, record_path=record_path, ports=[])

    process.stop_unrecorded(f"{tmp_path}/own/", {recorded.pid})

    assert unrecorded.process() is None
    running = recorded.process()
    assert running is not None
    process.stop(running, 5)


def test_unrecorded_process_during_exec_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    unrecorded = launch(tmp_path, SLEEP, f"--config={tmp_path}/own/x")
    read, executing = psutil.Process.cmdline, {unrecorded.pid}

    def cmdline(running: psutil.Process) -> list[str]:
        """Show no argument of the process at first, as Linux does during its exec."""
        if running.pid in executing:
            executing.remove(running.pid)
            return []
        return read(running)

    monkeypatch.setattr(psutil.Process, "cmdline", cmdline)
    process.stop_unrecorded(f"{tmp_path}/own/", ())

    assert executing == set()
    assert unrecorded.process() is None


def test_missing_program_raises(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        process.start(["/nowhere"], cwd=tmp_path, log=tmp_path / "l", record_path=tmp_path / "r", ports=[])


def test_long_log_is_rotated(tmp_path: Path) -> None:
    with (tmp_path / "x.log").open("wb") as file:
        file.truncate(30 * 1024 * 1024)

    running = launch(tmp_path, SLEEP).process()

    assert running is not None
    process.stop(running, 5)
    assert (tmp_path / "x.log.1").stat().st_size == 30 * 1024 * 1024
    assert (tmp_path / "x.log").stat().st_size < 100
