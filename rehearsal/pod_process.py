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
"""Variables of the agent that a pod's process inherits because Python needs them; a real pod inherits none."""

_LOG_LIMIT = 10 * 1024 * 1024


@dataclass
class Process:
    """A running process and its folder."""

    uid: str
    """The uid of the pod."""
    pid: int
    created: float
    """Start time of the process, which together with the pid identifies the process uniquely."""
    port: int
    child: asyncio.subprocess.Process | None
    """None if an earlier agent started the process, so that its exit code is lost."""

    def alive(self) -> bool:
        """Return whether this process is still running."""
        return _lives(self.pid, self.created)

    async def wait(self) -> int | None:
        """Wait for the process; return its exit code as a shell does (128 + signal), or None if the code is lost."""
        if self.child is not None:
            code = await self.child.wait()
            return 128 - code if code < 0 else code
        await self._poll(0.5)
        return None

    async def stop(self, grace: float) -> None:
        """Send SIGTERM to the processes of the session, and SIGKILL after ``grace`` seconds."""
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
        # The kernel notifies only the parent of the end of a process, so others must poll.
        while self.alive():  # noqa: ASYNC110
            await asyncio.sleep(period)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process and its descendants in the process group."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)  # the process leads its own session, so its pid is the group id


def _lives(pid: int, created: float) -> bool:
    try:
        process = psutil.Process(pid)
        return abs(process.create_time() - created) < 0.02 and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def folder_of(state_dir: Path, uid: str) -> Path:
    """Return the folder of a pod's run file and credentials."""
    return state_dir / "run" / "pods" / uid


def free_port() -> int:
    """Return a TCP port that is currently free."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def start(
    state_dir: Path, *, uid: str, pod: str, name: str, argv: tuple[str, ...], env: Mapping[str, str], port: int
) -> Process:
    """Start a pod's process and write its run file.

    Args:
        state_dir: state folder of the rehearsal.
        uid: uid of the pod.
        pod: ``namespace/name``, for readers of the run file.
        name: name of the log file in logs/.
        argv: command to run.
        env: environment of the process; a few variables are added.
        port: health port of the process.

    Raises:
        OSError: the program cannot be started.
    """
    inherited = {key: os.environ[key] for key in _INHERITED if key in os.environ}
    marks = {UID_MARK: uid, STATE_MARK: str(state_dir), "PYTHONUNBUFFERED": "1"}
    # With a separate session, Ctrl-C in the terminal and the end of the agent do not affect the process.
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
        created = 0.0  # the process has exited; wait() returns at once
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

    Run files identify the processes. A process without a run file, because the agent was killed before writing one, is
    identified by marker variables in its environment. If a pod has two processes, the one without a run file is killed.
    """
    processes: dict[str, Process] = {}
    runs = state_dir / "run" / "pods"
    for run_file in sorted(runs.glob("*/run.json")):
        try:
            content = json.loads(run_file.read_text())
            process = Process(run_file.parent.name, content["pid"], content["created"], content["port"], None)
        except (ValueError, KeyError, OSError):
            continue  # truncated by a kill; the marker variables still identify the process
        if process.alive():
            processes[process.uid] = process
    for running in psutil.process_iter():
        try:
            # Children of a pod's process have the marker variables too; only the session leader was started here.
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
