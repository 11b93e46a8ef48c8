"""The operator as a process with no more rights than it asks for, and nodes for its replicas."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import aiohttp

from inferstack.api import crds
from inferstack.apimachinery.objects import Object
from inferstack.controllers.rbac import rules
from inferstack.k8s import KubeClient
from inferstack.k8s.auth import cluster_of
from inferstack.project import project_root
from rehearsal.control_plane.ports import propose_free
from rehearsal.simulators.pods.credentials import make_kubeconfig

MANAGER = "test"
NODES = 3


class Operator:
    """The operator as a process that can be killed and started again."""

    def __init__(self, kubeconfig: Path, log: Path, port: int, usage_seconds: int = 60) -> None:
        self.log, self.port = log, port
        self._environment = {
            **os.environ,
            "KUBECONFIG": str(kubeconfig),
            "INFERSTACK_HEALTH_PORT": str(port),
            "INFERSTACK_USAGE_SECONDS": str(usage_seconds),
            "PYTHONPATH": str(project_root()),
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "inferstack.controllers"], env=self._environment, stdout=log, stderr=log
            )

    def end(self, sign: signal.Signals) -> int:
        """Send a signal; return the exit status."""
        assert self._process is not None
        self._process.send_signal(sign)
        return self._process.wait(timeout=60)

    async def healthy(self) -> None:
        """Wait until it says that it is."""
        async with aiohttp.ClientSession() as http, asyncio.timeout(60):  # it loads for seconds on a busy machine
            while True:
                try:
                    async with http.get(f"http://127.0.0.1:{self.port}/healthz") as answer:
                        if answer.status == 200:
                            return
                except aiohttp.ClientConnectionError:
                    pass
                await asyncio.sleep(0.05)


@contextlib.contextmanager
def serving(admin: Path, folder: Path, usage_seconds: int = 60) -> Iterator[Operator]:
    """Run an operator; it must end in good order and have logged no trouble.

    Args:
        admin: kubeconfig of the control plane.
        folder: for its credentials and its log.
        usage_seconds: between two looks at the use of GPUs.
    """
    namespace = f"operator-{secrets.token_hex(4)}"
    kubeconfig = asyncio.run(_prepare(admin, folder, namespace))
    port = propose_free().agent  # a random free one: other runs on this machine look for theirs at the same time
    running = Operator(kubeconfig, folder / "operator.log", port, usage_seconds)
    running.start()
    try:
        asyncio.run(running.healthy())
        yield running
    finally:
        status = running.end(signal.SIGTERM)
        log = running.log.read_text()
        asyncio.run(_tidy(admin, namespace))
    assert status == 0, log
    assert "Traceback" not in log, log


async def _prepare(admin: Path, folder: Path, namespace: str) -> Path:
    """Install the CRD, nodes, and an identity with the operator's rights; return its kubeconfig."""
    group = "rbac.authorization.k8s.io"
    account = {"kind": "ServiceAccount", "name": namespace, "namespace": namespace}
    role = {"apiGroup": group, "kind": "ClusterRole", "name": namespace}
    objects: list[Object] = [
        *crds(),
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": namespace, "namespace": namespace}},
        {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": namespace}, "rules": rules()},
        {
            "apiVersion": f"{group}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": namespace},
            "roleRef": role,
            "subjects": [account],
        },
    ]
    async with await KubeClient.connect(admin) as kube:
        for obj in objects:
            await kube.apply(obj, field_manager=MANAGER)
        for index in range(NODES):
            await _make_node(kube, f"{namespace}-{index}")
        await _nodes_ready(kube, {f"{namespace}-{index}" for index in range(NODES)})
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{namespace}/token"
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        token = (await kube.request("POST", path, body=request))["status"]["token"]
    file = folder / "token"
    file.write_text(token)
    content = make_kubeconfig(cluster_of(admin), token=token, token_file=str(file), namespace=namespace)
    kubeconfig = folder / "kubeconfig"
    kubeconfig.write_text(json.dumps(content))
    return kubeconfig


async def _make_node(kube: KubeClient, name: str) -> None:
    resources = {"cpu": "96", "memory": "1152Gi", "pods": "110", "nvidia.com/gpu": "8"}
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {"kwok.x-k8s.io/node": "fake"},
            "labels": {"kubernetes.io/hostname": name},
        },
    }
    await kube.apply(node, field_manager=MANAGER)
    status = {"status": {"allocatable": resources, "capacity": resources}}
    await kube.patch("v1", "Node", name, status, subresource="status", field_manager=MANAGER)


async def _nodes_ready(kube: KubeClient, waiting: set[str]) -> None:
    """Wait until the scheduler may use the nodes."""
    async with asyncio.timeout(20):
        async for _, node in kube.watch("v1", "Node"):
            conditions = node.get("status", {}).get("conditions") or []
            ready = any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
            if ready and not node["spec"].get("taints"):
                waiting.discard(node["metadata"]["name"])
            if not waiting:
                return


async def _tidy(admin: Path, namespace: str) -> None:
    async with await KubeClient.connect(admin) as kube:
        for index in range(NODES):
            await kube.delete("v1", "Node", f"{namespace}-{index}")
        for kind in ("ClusterRoleBinding", "ClusterRole"):
            await kube.delete("rbac.authorization.k8s.io/v1", kind, namespace)
        await kube.delete("v1", "Namespace", namespace, propagation="Background")
