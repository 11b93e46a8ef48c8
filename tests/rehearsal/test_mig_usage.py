"""`inferstack mig usage` on a real API server, with a simulated node and the real scheduler."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from inferstack.k8s import KubeClient
from inferstack.mig import catalogue

pytestmark = pytest.mark.rehearsal

MODEL = "H100-80GB-HBM3"
MANAGER = "test"


@pytest.fixture
async def node(kube: KubeClient) -> AsyncIterator[str]:
    """A node of two GPUs, cut into a 3g.40gb, a 2g.20gb and two 1g.10gb each; gone afterwards."""
    name = f"usage-{secrets.token_hex(3)}"
    offers = {"nvidia.com/mig-3g.40gb": "2", "nvidia.com/mig-2g.20gb": "2", "nvidia.com/mig-1g.10gb": "4"}
    resources = {"cpu": "96", "memory": "1152Gi", "pods": "110", **offers}
    labels = {"nvidia.com/gpu.product": catalogue.gpu(MODEL).product, "nvidia.com/gpu.count": "2", "usage": name}
    meta = {"name": name, "labels": labels, "annotations": {"kwok.x-k8s.io/node": "fake"}}
    await kube.apply({"apiVersion": "v1", "kind": "Node", "metadata": meta}, field_manager=MANAGER)
    status = {"status": {"allocatable": resources, "capacity": resources}}
    await kube.patch("v1", "Node", name, status, subresource="status")
    yield name
    await kube.delete("v1", "Node", name)


def make_pod(name: str, namespace: str, node: str, profile: str) -> dict[str, Any]:
    """Return a pod that only this node can take."""
    limits = {f"nvidia.com/mig-{profile}": "1"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "nodeSelector": {"usage": node},
            "containers": [{"name": "server", "image": "server", "resources": {"limits": limits}}],
        },
    }


async def usage(kubeconfig: Path, *options: str) -> str:
    """Run the command and return what it printed."""
    command = [sys.executable, "-m", "inferstack.cli", "mig", "usage", "--kubeconfig", str(kubeconfig), *options]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode()


async def test_usage_of_pods_capacity_and_cost(kube: KubeClient, kubeconfig: Path, namespace: str, node: str) -> None:
    hard = {"hard": {"requests.nvidia.com/mig-3g.40gb": "2"}}
    await kube.create(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "gpus", "namespace": namespace},
            "spec": hard,
        },
        field_manager=MANAGER,
    )
    for name, profile in (("runs", "3g.40gb"), ("waits", "7g.80gb")):
        await kube.create(make_pod(name, namespace, node, profile), field_manager=MANAGER)
    async with asyncio.timeout(60):
        listed = await kube.list("v1", "Pod", namespace)
        bound = any(pod["spec"].get("nodeName") for pod in listed["items"])
        while not bound:
            async for _, pod in kube.watch("v1", "Pod", namespace, since=listed["metadata"]["resourceVersion"]):
                bound = bound or bool(pod.get("spec", {}).get("nodeName"))
                if bound:
                    break
    (row,) = [entry for entry in json.loads(await usage(kubeconfig, "-o", "json")) if entry["node"] == node]
    assert (row["gpu"], row["gpus"], row["memory"], row["compute"]) == (MODEL, 2, "4/16", "3/14")
    assert 0 < row["fragmentation"] <= 1
    held = json.loads(await usage(kubeconfig, "--by", "namespace", "--price", f"{MODEL}=10", "-o", "json"))
    (mine,) = [entry for entry in held if entry["namespace"] == namespace]
    assert (mine["instances"], mine["gpus"], mine["usdPerHour"]) == (1, 0.5, 5.0)
    allowed = json.loads(await usage(kubeconfig, "--by", "quota", "-o", "json"))
    assert [(entry["memorySlices"], entry["gpus"]) for entry in allowed if entry["namespace"] == namespace] == [
        (8, 1.0)
    ]
    text = await usage(kubeconfig, "--by", "metrics")
    assert f'inferstack_mig_memory_slices{{node="{node}",gpu="{MODEL}",state="used"}} 4\n' in text
    assert 'inferstack_mig_waiting_instances{profile="7g.80gb"}' in text
