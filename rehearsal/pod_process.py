"""Processes of pods, each in its own session; a restarted agent adopts them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import psutil

from inferstack.project import project_root
from rehearsal import procfs

UID_MARK = "INFERSTACK_POD_UID"
STATE_MARK = "INFERSTACK_AGENT_STATE"

_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "SSL_CERT_FILE")
"""What a pod's process sees of the agent's environment; a real pod sees none of it, a Python program needs these."""

_LOG_LIMIT = 10 * 1024 * 1024


@dataclass
class Process:
    """One running process and its place on disk."""

    uid: str
    """Of the pod."""
    pid: int
    created: float
    """Start time of the process: with the pid it names one process for good."""
    port: int
    child: asyncio.subprocess.Process | None
    """None where an earlier agent started it: its exit code is lost."""

    def alive(self) -> bool:
        """Return whether this very process still runs."""
        return _lives(self.pid, self.created)

    async def wait(self) -> int | None:
        """Wait for the end; the exit code as a shell gives it (128 + signal), None where it is lost."""
        if self.child is not None:
            code = await self.child.wait()
            return 128 - code if code < 0 else code
        await self._poll(0.5)
        return None

    async def stop(self, grace: float) -> None:
        """SIGTERM to the session's processes, SIGKILL after ``grace`` seconds."""
        self.send(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace):
                await self._wait_exit()
        except TimeoutError:
            self.send(signal.SIGKILL)
            await self._wait_exit()

    async def _wait_exit(self) -> None:
        if self.child is not None:
            await self.child.wait()
            return
        await self._poll(0.05)

    async def _poll(self, period: float) -> None:
        # There is no notification of the end of a process that is not a child.
        while self.alive():  # noqa: ASYNC110
            await asyncio.sleep(period)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process and what it started."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)  # its own session: the group has the leader's id


def _lives(pid: int, created: float) -> bool:
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - created) < 0.02 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def folder_of(state_dir: Path, uid: str) -> Path:
    """Return where a pod's run file and credentials are."""
    return state_dir / "run" / "pods" / uid


def free_port() -> int:
    """Return a TCP port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def start(
    state_dir: Path, *, uid: str, pod: str, name: str, argv: tuple[str, ...], env: Mapping[str, str], port: int
) -> Process:
    """Start a pod's process and write its run file.

    Args:
        state_dir: of the rehearsal.
        uid: of the pod.
        pod: ``namespace/name``, for whoever reads the run file.
        name: of the log file below logs/.
        argv: what to run.
        env: its environment; a little of our own is added.
        port: its health port.

    Raises:
        OSError: the program cannot be started.
    """
    inherited = {key: os.environ[key] for key in _INHERITED if key in os.environ}
    marks = {UID_MARK: uid, STATE_MARK: str(state_dir), "PYTHONUNBUFFERED": "1"}
    # A session of its own: a terminal's Ctrl-C and the agent's death do not reach it.
    with _open_log(state_dir / "logs" / f"{name}.log") as log:
        child = await asyncio.create_subprocess_exec(
            *argv,
            env={**inherited, **env, **marks},
            cwd=project_root(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        created = psutil.Process(child.pid).create_time()
    except psutil.NoSuchProcess:
        created = 0.0  # it has ended; wait() returns at once
    run_file = folder_of(state_dir, uid) / "run.json"
    run_file.parent.mkdir(parents=True, exist_ok=True)
    partial = run_file.with_suffix(".partial")
    partial.write_text(json.dumps({"pod": pod, "pid": child.pid, "created": created, "port": port}) + "\n")
    partial.replace(run_file)
    return Process(uid, child.pid, created, port, child)


def _open_log(path: Path) -> BinaryIO:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > _LOG_LIMIT:
        path.replace(path.with_suffix(".log.1"))
    return path.open("ab")


def find_leftovers(state_dir: Path) -> dict[str, Process]:
    """Return running processes that an earlier agent of this state folder started, by pod uid.

    The run files name them. A process that was started in the instant before its run file is found by the marks in its
    environment; where two are there for one pod, the one without a run file is ended.
    """
    processes: dict[str, Process] = {}
    runs = state_dir / "run" / "pods"
    for run_file in sorted(runs.glob("*/run.json")):
        try:
            content = json.loads(run_file.read_text())
            process = Process(run_file.parent.name, content["pid"], content["created"], content["port"], None)
        except (ValueError, KeyError, OSError):
            continue  # cut short by a kill: the marks still find its process
        if process.alive():
            processes[process.uid] = process
    for running in psutil.process_iter():
        try:
            # Children of a pod's process carry the marks too; the session's leader is the one that was started.
            if not procfs.leads_session(running):
                continue
            env = procfs.environment(running)
            uid = env.get(UID_MARK)
            if uid is None or env.get(STATE_MARK) != str(state_dir):
                continue
            process = Process(uid, running.pid, running.create_time(), int(env.get("INFERSTACK_HEALTH_PORT", 0)), None)
        except (psutil.Error, OSError, ValueError):
            continue
        adopted = processes.setdefault(uid, process)
        if adopted.pid != process.pid:
            process.send(signal.SIGKILL)
    return processes


def forget(state_dir: Path, uid: str) -> None:
    """Remove a pod's run file and credentials."""
    shutil.rmtree(folder_of(state_dir, uid), ignore_errors=True)
