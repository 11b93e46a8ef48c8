"""The predictive scaler as a process with no more rights than it asks for."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from inferstack.apimachinery.objects import Object
from inferstack.controllers.scaling.rbac import rules
from inferstack.k8s import KubeClient
from inferstack.k8s.auth import cluster_of
from rehearsal.control_plane.ports import is_free
from rehearsal.simulators.pods.credentials import make_kubeconfig
from tests.rehearsal.operator_process import MANAGER, Operator

_RBAC = "rbac.authorization.k8s.io"


class Scaler(Operator):
    """A scaler that can be killed and started again, with times that are short enough to wait for."""

    def __init__(self, kubeconfig: Path, log: Path, port: int, prometheus_url: str, *options: str) -> None:
        super().__init__(kubeconfig, log, port)
        self._argv = [
            sys.executable,
            "-m",
            "inferstack.controllers.scaling",
            "--prometheus-url",
            prometheus_url,
            *options,
        ]

    def start(self) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self._argv, env=self._environment, stdout=log, stderr=log)

    @property
    def runs(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None


@contextlib.contextmanager
def scaling(admin: Path, folder: Path, prometheus_url: str, *options: str) -> Iterator[Scaler]:
    """Run a scaler; it must end in good order and have logged no trouble.

    Args:
        admin: kubeconfig of the control plane.
        folder: for its credentials and its log.
        prometheus_url: that it asks.
        options: of its command line.
    """
    name = f"scaler-{secrets.token_hex(4)}"
    kubeconfig = asyncio.run(_prepare(admin, folder, name))
    port = next(port for port in range(18980, 18999) if is_free(port))
    running = Scaler(kubeconfig, folder / "scaler.log", port, prometheus_url, *options)
    running.start()
    try:
        asyncio.run(running.healthy())
        yield running
    finally:
        status = running.end(signal.SIGTERM) if running.runs else 0
        log = running.log.read_text()
        asyncio.run(_tidy(admin, name))
    assert status == 0, log
    assert "Traceback" not in log, log
    assert "forbidden" not in log, log


async def _prepare(admin: Path, folder: Path, name: str) -> Path:
    """Make an identity with the scaler's rights; return its kubeconfig."""
    account = {"kind": "ServiceAccount", "name": name, "namespace": name}
    role = {"apiGroup": _RBAC, "kind": "ClusterRole", "name": name}
    objects: list[Object] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}},
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": name}},
        {"apiVersion": f"{_RBAC}/v1", "kind": "ClusterRole", "metadata": {"name": name}, "rules": rules()},
        {
            "apiVersion": f"{_RBAC}/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": role,
            "subjects": [account],
        },
    ]
    async with await KubeClient.connect(admin) as kube:
        for obj in objects:
            await kube.apply(obj, field_manager=MANAGER)
        path = f"/api/v1/namespaces/{name}/serviceaccounts/{name}/token"
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        token = (await kube.request("POST", path, body=request))["status"]["token"]
    file = folder / "token"
    file.write_text(token)
    kubeconfig = folder / "kubeconfig"
    content = make_kubeconfig(cluster_of(admin), token=token, token_file=str(file), namespace=name)
    kubeconfig.write_text(json.dumps(content))
    return kubeconfig


async def _tidy(admin: Path, name: str) -> None:
    async with await KubeClient.connect(admin) as kube:
        for kind in ("ClusterRoleBinding", "ClusterRole"):
            await kube.delete(f"{_RBAC}/v1", kind, name)
        await kube.delete("v1", "Namespace", name, propagation="Background")
