"""What a killed engine or provider leaves behind is mended by the next command."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from inferstack.k8s import KubeClient

pytestmark = pytest.mark.rehearsal

Program = Any  # tests/standins/conftest.py

# The Deployment is created and then waited for: at that moment its creation is under way for the engine.
WAITING = """
for i in range(5):
    k8s.core.v1.ConfigMap(f"c{i}", data={"a": "1"}, opts=opts())
labels = {"app": "web"}
k8s.apps.v1.Deployment("web", metadata={"name": "web"}, spec={
    "replicas": 1, "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": {
        "nodeSelector": {"no-such": "node"}, "containers": [{"name": "c", "image": "x"}]}}}, opts=opts())
"""
READY = WAITING.replace('"replicas": 1', '"replicas": 0')


def start(program: Program) -> subprocess.Popen[bytes]:
    arguments = ["up", "--yes", "--skip-preview", "--stack", "test", "--non-interactive"]
    return subprocess.Popen(
        [program.engine.binary, *arguments],
        cwd=program.folder,
        env=program.engine.environment(program.environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


async def begin(program: Program, kube: KubeClient, namespace: str) -> subprocess.Popen[bytes]:
    """Start an update and return once the engine waits for the Deployment and the others are done."""
    process = await asyncio.to_thread(start, program)
    observed: set[str] = set()
    async with asyncio.timeout(60):
        async for event, obj in kube.watch("apps/v1", "Deployment", namespace):
            if event != "BOOKMARK" and obj["metadata"]["name"] == "web":
                break
        async for event, obj in kube.watch("v1", "ConfigMap", namespace):
            if event == "ADDED" and obj["metadata"]["name"] != "kube-root-ca.crt":
                observed.add(obj["metadata"]["name"])
            if len(observed) == 5:
                break
        # The engine hears of them a moment later; one that it has not heard of gets another random name next time.
        while await asyncio.to_thread(recorded, program) < 5:  # noqa: ASYNC110  # it tells nobody
            await asyncio.sleep(0.05)
    return process


def recorded(program: Program) -> int:
    """Return how many ConfigMaps the engine has written into the stack's state."""
    for checkpoint in (program.engine.state_dir / "pulumi" / ".pulumi" / "stacks").glob("*/test.json"):
        try:
            latest = json.loads(checkpoint.read_bytes())["checkpoint"].get("latest") or {}
        except ValueError:  # it is being written
            return 0
        return sum(resource["type"].endswith(":ConfigMap") for resource in latest.get("resources") or [])
    return 0


async def left(kube: KubeClient, namespace: str) -> list[str]:
    kinds = (("apps/v1", "Deployment"), ("v1", "ConfigMap"))
    names = [item["metadata"]["name"] for kind in kinds for item in (await kube.list(*kind, namespace))["items"]]
    return sorted(name for name in names if name != "kube-root-ca.crt")


def children(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


async def test_after_a_killed_engine_the_next_update_converges(
    program: Program, kube: KubeClient, namespace: str
) -> None:
    program.write(WAITING)
    process = await begin(program, kube, namespace)
    plugins = children(process)
    assert plugins
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert psutil.wait_procs(plugins, timeout=10)[1] == [], "plugins end with their engine"
    messages: list[str] = []
    program.engine.report = messages.append
    program.write(READY)
    program.up()
    assert any("removed the lock of an interrupted run" in line for line in messages)
    assert any("interrupted operations" in line for line in messages)
    assert len(await left(kube, namespace)) == 6, "nothing is made twice"
    assert "8 unchanged" in program.up()
    program.destroy()
    assert await left(kube, namespace) == []


async def test_after_a_killed_engine_destroy_leaves_nothing(program: Program, kube: KubeClient, namespace: str) -> None:
    program.write(WAITING)
    process = await begin(program, kube, namespace)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    program.destroy()
    assert await left(kube, namespace) == []


async def test_after_a_killed_provider_the_next_update_converges(
    program: Program, kube: KubeClient, namespace: str
) -> None:
    program.write(WAITING)
    process = await begin(program, kube, namespace)
    for plugin in children(process):
        if "kubernetes.server" in " ".join(plugin.cmdline()):
            plugin.kill()
    assert await asyncio.to_thread(process.wait, 60) != 0
    program.write(READY)
    program.up()
    assert len(await left(kube, namespace)) == 6
    program.destroy()
    assert await left(kube, namespace) == []


def test_truncated_checkpoint_is_restored_from_its_backup(program: Program) -> None:
    program.write('k8s.core.v1.ConfigMap("c", metadata={"name": "c"}, opts=opts())')
    program.up()
    checkpoint = next((program.engine.state_dir / "pulumi" / ".pulumi" / "stacks").glob("*/test.json"))
    whole = checkpoint.read_bytes()
    checkpoint.write_bytes(whole[: len(whole) // 2])
    messages: list[str] = []
    program.engine.report = messages.append
    program.up()
    assert any("truncated" in line for line in messages)
    assert json.loads(checkpoint.read_bytes())
    assert checkpoint.with_name("test.json.broken").exists()


def test_running_update_keeps_its_lock(program: Program) -> None:
    locks = program.engine.state_dir / "pulumi" / ".pulumi" / "locks" / "organization"
    project = (program.folder / "Pulumi.yaml").read_text().split()[1]
    lock = Path(locks, project, "test", "other.json")
    lock.parent.mkdir(parents=True, exist_ok=True)
    holder = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "pulumi"])
    try:
        owner = {
            "pid": holder.pid,
            "hostname": os.uname().nodename,
            "username": "me",
            "timestamp": "2020-01-01T00:00:00Z",
        }
        lock.write_text(json.dumps(owner))
        output = program.fails("up", "--yes", "--skip-preview")
        assert f"the stack is currently locked by process {holder.pid}" in output
        assert lock.exists()
    finally:
        holder.kill()
        holder.wait()
        lock.unlink()
