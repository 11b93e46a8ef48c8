"""A process is known by pid and start time, and is ended gently first."""

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


def launch(folder: Path, code: str, *options: str) -> process.Record:
    argv = [sys.executable, "-c", code, *options]
    made = process.start(argv, cwd=folder, log=folder / "x.log", record=folder / "x.json", ports=[1])
    until = time.monotonic() + 10
    while "up" not in (folder / "x.log").read_text() and time.monotonic() < until:
        time.sleep(0.02)
    return made


def test_the_record_finds_the_process(tmp_path: Path) -> None:
    made = launch(tmp_path, SLEEP)
    kept = process.read(tmp_path / "x.json")

    assert kept == made
    running = made.process()
    assert running is not None
    process.stop(running, 5)
    assert made.process() is None


def test_a_recycled_pid_is_another_process(tmp_path: Path) -> None:
    made = launch(tmp_path, SLEEP)
    running = made.process()

    assert running is not None
    assert dataclasses.replace(made, created=made.created - 100).process() is None
    process.stop(running, 5)


def test_one_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    made = launch(tmp_path, STUBBORN)
    running = made.process()
    assert running is not None

    process.stop(running, 0.2)

    assert made.process() is None


def test_a_process_without_record_is_ended(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", SLEEP, f"--config={tmp_path}/own/x"]
    log, record = tmp_path / "x.log", tmp_path / "x.json"
    known = process.start(argv, cwd=tmp_path, log=log, record=record, ports=[])
    stray = process.start(argv, cwd=tmp_path, log=log, record=record, ports=[])

    process.end_strays(f"{tmp_path}/own/", {known.pid})

    assert stray.process() is None
    running = known.process()
    assert running is not None
    process.stop(running, 5)


def test_process_in_the_midst_of_exec_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stray = launch(tmp_path, SLEEP, f"--config={tmp_path}/own/x")
    read, executing = psutil.Process.cmdline, {stray.pid}

    def cmdline(running: psutil.Process) -> list[str]:
        """Show no argument of the stray at first, as Linux does during its exec."""
        if running.pid in executing:
            executing.remove(running.pid)
            return []
        return read(running)

    monkeypatch.setattr(psutil.Process, "cmdline", cmdline)
    process.end_strays(f"{tmp_path}/own/", ())

    assert executing == set()
    assert stray.process() is None


def test_a_missing_program_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"):
        process.start(["/nowhere"], cwd=tmp_path, log=tmp_path / "l", record=tmp_path / "r", ports=[])


def test_a_long_log_is_put_aside(tmp_path: Path) -> None:
    with (tmp_path / "x.log").open("wb") as file:
        file.truncate(30 * 1024 * 1024)

    running = launch(tmp_path, SLEEP).process()

    assert running is not None
    process.stop(running, 5)
    assert (tmp_path / "x.log.1").stat().st_size == 30 * 1024 * 1024
    assert (tmp_path / "x.log").stat().st_size < 100
