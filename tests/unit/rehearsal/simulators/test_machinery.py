"""Credentials and processes, without an API server."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import psutil
import pytest
import yaml

from inferstack.k8s.auth import cluster_of
from rehearsal import pod_process as process
from rehearsal.simulators.pods.credentials import make_kubeconfig
from tests.unit.until import until

# --- credentials


def test_pod_kubeconfig_uses_service_account_token(tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    cluster = {"server": "https://127.0.0.1:1", "certificate-authority": "pki/ca.crt"}
    content = make_kubeconfig(cluster, token="t", token_file="/f", namespace="ns")
    path.write_text(yaml.safe_dump(content))
    assert cluster_of(path) == {**cluster, "certificate-authority": str(tmp_path / "pki" / "ca.crt")}
    assert content["users"] == [{"name": "pod", "user": {"token": "t", "tokenFile": "/f"}}]


# --- processes

SLEEP = (sys.executable, "-c", "import time; print('up'); time.sleep(600)")
STUBBORN = (
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up'); time.sleep(600)",
)


async def _started(state_dir: Path, argv: tuple[str, ...], uid: str = "u1") -> process.Process:
    running = await process.start(state_dir, uid=uid, pod="ns/p", name="p", argv=argv, env={}, port=1)
    if argv in (SLEEP, STUBBORN):
        await until(lambda: "up" in (state_dir / "logs" / "p.log").read_text())
    return running


async def test_exit_codes_are_reported(tmp_path: Path) -> None:
    ended = await _started(tmp_path, (sys.executable, "-c", "raise SystemExit(7)"))
    assert await ended.wait() == 7
    killed = await _started(tmp_path, SLEEP)
    os.kill(killed.pid, signal.SIGKILL)
    assert await killed.wait() == 137


async def test_stop_sends_sigterm_first(tmp_path: Path) -> None:
    gentle = await _started(tmp_path, SLEEP)
    await gentle.stop(30)
    assert gentle.child is not None
    assert gentle.child.returncode == -signal.SIGTERM


async def test_stop_kills_process_that_ignores_sigterm(tmp_path: Path) -> None:
    stubborn = await _started(tmp_path, STUBBORN)
    await stubborn.stop(0.1)
    assert stubborn.child is not None
    assert stubborn.child.returncode == -signal.SIGKILL


async def test_restarted_agent_finds_running_processes(tmp_path: Path) -> None:
    running = await _started(tmp_path, SLEEP)
    lost = await _started(tmp_path, SLEEP, uid="u2")
    process.folder_of(tmp_path, "u2").joinpath("run.json").unlink()  # killed before it was written
    process.folder_of(tmp_path, "u3").mkdir(parents=True)
    process.folder_of(tmp_path, "u3").joinpath("run.json").write_text('{"pid": ')  # killed while it was written
    try:
        leftovers = process.find_leftovers(tmp_path)
        assert {uid: each.pid for uid, each in leftovers.items()} == {"u1": running.pid, "u2": lost.pid}
        assert leftovers["u1"].child is None
        await leftovers["u1"].stop(5)
        await leftovers["u2"].stop(5)
    finally:
        for each in (running, lost):
            await each.stop(5)
    assert process.find_leftovers(tmp_path) == {}


async def test_process_in_the_midst_of_exec_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    running = await _started(tmp_path, SLEEP)
    process.folder_of(tmp_path, "u1").joinpath("run.json").unlink()
    read, executing = psutil.Process.environ, {running.pid}

    def environ(candidate: psutil.Process) -> dict[str, str]:
        """Show no environment at first, as Linux does during an exec."""
        if candidate.pid in executing:
            executing.remove(candidate.pid)
            return {}
        return read(candidate)

    monkeypatch.setattr(psutil.Process, "environ", environ)
    try:
        assert process.find_leftovers(tmp_path)["u1"].pid == running.pid
        assert executing == set()
    finally:
        await running.stop(5)


async def test_process_with_reused_pid_is_not_adopted(tmp_path: Path) -> None:
    run_file = process.folder_of(tmp_path, "u1") / "run.json"
    run_file.parent.mkdir(parents=True)
    ours = psutil.Process()
    run_file.write_text(json.dumps({"pod": "ns/p", "pid": ours.pid, "created": ours.create_time() - 5, "port": 1}))
    assert process.find_leftovers(tmp_path) == {}


async def test_duplicate_without_run_file_is_stopped(tmp_path: Path) -> None:
    first = await _started(tmp_path, SLEEP)
    second = await _started(tmp_path, SLEEP)  # its run file replaces the first's
    try:
        assert process.find_leftovers(tmp_path)["u1"].pid == second.pid
        assert await first.wait() == 137
    finally:
        await second.stop(5)
