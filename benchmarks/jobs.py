"""Time from the creation of an InferenceJob until all replicas are ready: for one job, and for 500 at once.

The peer in the same run is a bare Deployment of the same pods, without the operator, on the same control plane; the
ratio is the operator's cost. Run ``python -m benchmarks.jobs`` (``--help`` lists its options).
"""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from inferstack.api import crds
from inferstack.k8s import KubeClient
from rehearsal.control_plane import Rehearsal

NODES = 70
GPUS_PER_NODE = 8
MANAGER = "benchmark"


def make_node(index: int) -> dict[str, Any]:
    """Return a simulated node; its status has the GPUs."""
    resources = {"cpu": "96", "memory": "1152Gi", "pods": "110", "nvidia.com/gpu": str(GPUS_PER_NODE)}
    name = f"bench-{index:03d}"
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {"kwok.x-k8s.io/node": "fake"},
            "labels": {"kubernetes.io/hostname": name},
        },
        "status": {"allocatable": resources, "capacity": resources},
    }


def make_job(name: str, replicas: int) -> dict[str, Any]:
    """Return an InferenceJob with one GPU a replica."""
    gpu = {"nvidia.com/gpu": 1}
    spec = {"model": "bert-base-uncased", "replicas": replicas, "resources": {"requests": gpu, "limits": gpu}}
    return {
        "apiVersion": "deepseek.ai/v1",
        "kind": "InferenceJob",
        "metadata": {"name": name, "namespace": "default"},
        "spec": spec,
    }


def make_deployment(name: str, replicas: int) -> dict[str, Any]:
    """Return the peer: a Deployment of the same pods."""
    labels = {"bench": name}
    gpu = {"nvidia.com/gpu": "1"}
    container = {"name": "server", "image": "server", "resources": {"requests": gpu, "limits": gpu}}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    }


def job_ready(obj: dict[str, Any]) -> bool:
    """Return whether the job's Ready condition is true."""
    return any(c["type"] == "Ready" and c["status"] == "True" for c in obj.get("status", {}).get("conditions", []))


def deployment_ready(obj: dict[str, Any]) -> bool:
    """Return whether all replicas are ready."""
    return bool(obj.get("status", {}).get("readyReplicas", 0) == obj["spec"]["replicas"])


async def time_until_ready(
    kube: KubeClient, objects: list[dict[str, Any]], ready: Callable[[dict[str, Any]], bool], limit: float = 120
) -> list[float]:
    """Create the objects at once; return for each the seconds from the first request to its readiness."""
    kind, version = objects[0]["kind"], objects[0]["apiVersion"]
    waiting = {obj["metadata"]["name"] for obj in objects}
    took: list[float] = []
    listed = await kube.list(version, kind, "default")
    began = time.perf_counter()

    async def watch() -> None:
        since = listed["metadata"]["resourceVersion"]
        while waiting:  # the server ends watches of a new kind
            async for _, obj in kube.watch(version, kind, "default", since=since):
                since = obj["metadata"]["resourceVersion"]
                name = obj["metadata"].get("name")
                if name in waiting and ready(obj):
                    waiting.discard(name)
                    took.append(time.perf_counter() - began)
                    if not waiting:
                        return

    async with asyncio.timeout(limit):
        watching = asyncio.create_task(watch())
        await asyncio.gather(*(kube.create(obj, field_manager=MANAGER) for obj in objects))
        await watching
    for obj in objects:
        await kube.delete(version, kind, obj["metadata"]["name"], "default", propagation="Background")
    await until(lambda: no_pods(kube))
    return took


async def no_pods(kube: KubeClient) -> bool:
    """Return whether the pods of the last round are gone."""
    return not (await kube.list("v1", "Pod", "default"))["items"]


async def until(condition: Callable[[], Awaitable[bool]], limit: float = 120) -> None:
    """Wait for a condition, which is checked every quarter of a second."""
    async with asyncio.timeout(limit):
        while not await condition():  # noqa: ASYNC110  # the API server is asked; there is no event to wait for
            await asyncio.sleep(0.25)


async def measure(kubeconfig: Path, rounds: int, many: int) -> dict[str, list[float]]:
    """Run all rounds, alternating jobs and peer; return seconds by case."""
    seconds: dict[str, list[float]] = {"job": [], "deployment": [], "jobs": [], "deployments": []}
    async with await KubeClient.connect(kubeconfig) as kube:
        for index in range(NODES):
            node = make_node(index)
            await kube.apply({**node, "status": {}}, field_manager=MANAGER)
            await kube.patch("v1", "Node", node["metadata"]["name"], {"status": node["status"]}, subresource="status")
        for turn in range(rounds):
            seconds["job"] += await time_until_ready(kube, [make_job(f"one-{turn}", 8)], job_ready)
            seconds["deployment"] += await time_until_ready(kube, [make_deployment(f"one-{turn}", 8)], deployment_ready)
        jobs = [make_job(f"many-{i:03d}", 1) for i in range(many)]
        seconds["jobs"] = await time_until_ready(kube, jobs, job_ready)
        peers = [make_deployment(f"many-{i:03d}", 1) for i in range(many)]
        seconds["deployments"] = await time_until_ready(kube, peers, deployment_ready)
    return seconds


async def install(kubeconfig: Path) -> None:
    """Install the CRDs and wait until they are served."""
    async with await KubeClient.connect(kubeconfig) as kube:
        for manifest in crds():
            await kube.apply(manifest, field_manager=MANAGER)

        async def established() -> bool:
            crd = await kube.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", "inferencejobs.deepseek.ai")
            conditions = crd.get("status", {}).get("conditions") or []  # null for the first moment
            return any(c["type"] == "Established" and c["status"] == "True" for c in conditions)

        await until(established)


def percentile(values: list[float], share: float) -> float:
    """Return the smallest value that at least ``share`` of the values do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * int(share * 100) // 100) - 1)]


def peak_memory(pid: int) -> float:
    """Return the peak resident memory of a process in MiB (VmHWM of proc_pid_status(5))."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def main(
    rounds: Annotated[int, typer.Option(help="Single jobs to time.")] = 7,
    many: Annotated[int, typer.Option(help="Jobs created at once.")] = 500,
) -> None:
    """Time InferenceJobs against bare Deployments."""
    console = Console(stderr=True)
    with tempfile.TemporaryDirectory(prefix="inferstack-bench-") as folder:
        plane = Rehearsal(Path(folder) / "state")
        plane.start(console.print)
        operator = None
        try:
            asyncio.run(install(plane.kubeconfig))
            environment = {**os.environ, "KUBECONFIG": str(plane.kubeconfig), "INFERSTACK_HEALTH_PORT": "0"}
            log = (Path(folder) / "operator.log").open("w")
            operator = subprocess.Popen(
                [sys.executable, "-m", "inferstack.controllers"], env=environment, stdout=log, stderr=subprocess.STDOUT
            )
            seconds = asyncio.run(measure(plane.kubeconfig, rounds, many))
            memory = peak_memory(operator.pid)
        finally:
            if operator:
                operator.terminate()
                operator.wait(timeout=30)
            plane.stop(purge=True)
    table = Table("case", "InferenceJob", "bare Deployment", "ratio", "goal")
    job, bare = statistics.median(seconds["job"]), statistics.median(seconds["deployment"])
    table.add_row("1 of 8 replicas, median", f"{job:.2f} s", f"{bare:.2f} s", f"{job / bare:.2f}", "≤ 3 s")
    for share in (0.5, 0.99):
        jobs, deployments = percentile(seconds["jobs"], share), percentile(seconds["deployments"], share)
        goal = "≤ 15 s" if share > 0.5 else ""
        name = f"{many} of 1 replica at once, p{round(share * 100)}"
        table.add_row(name, f"{jobs:.2f} s", f"{deployments:.2f} s", f"{jobs / deployments:.2f}", goal)
    table.add_row("operator's peak resident memory", f"{memory:.0f} MiB", "", "", "≤ 300 MiB")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
