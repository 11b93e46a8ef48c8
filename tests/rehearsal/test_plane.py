"""The control plane starts, is seen to die, comes back with its data, and leaves nothing."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from inferstack.errors import UserError
from inferstack.k8s import ApiError, KubeClient
from inferstack.k8s.conditions import condition_status
from rehearsal.control_plane import Rehearsal, Supervisor
from rehearsal.control_plane.components import BUILDERS

pytestmark = pytest.mark.rehearsal

NAMES = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok", "agent"]


def quiet(_: str) -> None:
    return


def states(rehearsal: Rehearsal) -> dict[str, str]:
    return {component.name: component.state for component in rehearsal.status()}


def pids(rehearsal: Rehearsal) -> dict[str, int | None]:
    return {component.name: component.pid for component in rehearsal.status()}


def mark(kubeconfig: Path, name: str) -> None:
    async def create() -> None:
        async with await KubeClient.connect(kubeconfig) as kube:
            body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "default"}}
            await kube.create(body, field_manager="test")

    asyncio.run(create())


def has_mark(kubeconfig: Path, name: str) -> bool:
    async def find() -> bool:
        async with await KubeClient.connect(kubeconfig) as kube:
            return await kube.find("v1", "ConfigMap", name, "default") is not None

    return asyncio.run(find())


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """A control plane that these tests may break."""
    rehearsal = Rehearsal(tmp_path_factory.mktemp("own") / "state")
    rehearsal.start(quiet)
    yield rehearsal
    rehearsal.stop(purge=True)


def test_all_components_run(own: Rehearsal) -> None:
    assert states(own) == dict.fromkeys(NAMES, "running")
    assert len(BUILDERS) == len(NAMES)


def test_second_start_changes_nothing(own: Rehearsal) -> None:
    before, lines = pids(own), list[str]()

    own.start(lines.append)

    assert pids(own) == before
    assert lines == []


@pytest.mark.parametrize("name", NAMES)
def test_killed_component_is_reported_and_restarted(own: Rehearsal, name: str) -> None:
    mark(own.kubeconfig, f"before-{name}")
    pid = pids(own)[name]
    assert pid is not None
    psutil.Process(pid).kill()
    psutil.wait_procs([psutil.Process(pid)] if psutil.pid_exists(pid) else [], timeout=5)

    assert states(own)[name] == "dead"

    own.start(quiet)

    assert states(own) == dict.fromkeys(NAMES, "running")
    assert pids(own)[name] != pid
    assert has_mark(own.kubeconfig, f"before-{name}")


def test_controllers_restart_with_the_api_server(own: Rehearsal) -> None:
    """Their watches would come back only half a minute after an outage."""
    before = pids(own)
    pid = before["kube-apiserver"]
    assert pid is not None
    psutil.Process(pid).kill()

    own.start(quiet)

    after = pids(own)
    again = {"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok"}
    assert {name for name in NAMES if before[name] != after[name]} == again


@dataclass
class Etcd:
    """What lies in the store, by its HTTP gateway: for states that no API server would write now."""

    plane: Rehearsal

    def _ask(self, verb: str, **body: str) -> Any:
        record = json.loads((self.plane.state / "run" / "etcd.json").read_text())
        (url,) = [
            argument.partition("=")[2] for argument in record["argv"] if argument.startswith("--listen-client-urls=")
        ]
        pki = self.plane.state / "pki"
        tls = ssl.create_default_context(cafile=pki / "ca.crt")
        tls.load_cert_chain(pki / "server.crt", pki / "server.key")
        encoded = {name: base64.b64encode(text.encode()).decode() for name, text in body.items()}
        server = http.client.HTTPSConnection(url.removeprefix("https://"), context=tls, timeout=10)
        server.request("POST", f"/v3/kv/{verb}", json.dumps(encoded))
        answer = server.getresponse()
        assert answer.status == 200, answer.read()
        content = json.load(answer)
        server.close()
        return content

    def read(self, key: str) -> Any:
        (entry,) = self._ask("range", key=key)["kvs"]
        return json.loads(base64.b64decode(entry["value"]))

    def write(self, key: str, value: Any) -> None:
        self._ask("put", key=key, value=json.dumps(value))


def definition(plural: str) -> dict[str, Any]:
    """A kind of no use."""
    schema = {"openAPIV3Schema": {"type": "object"}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.test.inferstack.dev"},
        "spec": {
            "group": "test.inferstack.dev",
            "scope": "Cluster",
            "names": {"plural": plural, "kind": plural.title()},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }


@pytest.mark.parametrize("mended", [False, True], ids=["unmended", "mended"])
def test_half_installed_crd_becomes_established(own: Rehearsal, mended: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without us the API server lets it lie for five minutes, of which the other case waits for some seconds."""
    kind = definition("mended" if mended else "halves")
    reference = (kind["apiVersion"], kind["kind"], kind["metadata"]["name"])

    async def settled(seconds: float) -> str | None:
        async with await KubeClient.connect(own.kubeconfig) as kube:
            end = time.monotonic() + seconds
            while (established := condition_status(await kube.get(*reference), "Established")) != "True":
                if time.monotonic() > end:
                    break
                await asyncio.sleep(0.2)
            return established

    async def change(verb: str) -> None:
        async with await KubeClient.connect(own.kubeconfig) as kube:
            await (kube.create(kind, field_manager="test") if verb == "create" else kube.delete(*reference))

    asyncio.run(change("create"))
    assert asyncio.run(settled(20)) == "True"
    pid = pids(own)["kube-apiserver"]
    assert pid is not None
    psutil.Process(pid).kill()
    etcd, key = Etcd(own), f"/registry/apiextensions.k8s.io/customresourcedefinitions/{reference[2]}"
    stored = etcd.read(key)
    for condition in stored["status"]["conditions"]:
        if condition["type"] == "Established":
            condition |= {"status": "False", "reason": "Installing"}
    etcd.write(key, stored)
    if not mended:
        monkeypatch.setattr("rehearsal.control_plane.crd_conditions.is_unestablished", lambda _: False)
    own.start(quiet)
    try:
        assert asyncio.run(settled(20 if mended else 5)) == str(mended)
    finally:
        asyncio.run(change("delete"))


def test_new_kwok_takes_over_nodes_at_once(own: Rehearsal) -> None:
    """A lease of the one before would keep it off for 40 seconds."""
    asyncio.run(_make_node(own.kubeconfig, "taken-over"))
    held = asyncio.run(_holder(own.kubeconfig, "taken-over", None))
    pid = pids(own)["kwok"]
    assert pid is not None
    psutil.Process(pid).kill()
    began = time.monotonic()
    own.start(quiet)

    asyncio.run(_holder(own.kubeconfig, "taken-over", held))

    assert time.monotonic() - began < 20
    asyncio.run(_remove_node(own.kubeconfig, "taken-over"))


async def _make_node(kubeconfig: Path, name: str) -> None:
    meta = {"name": name, "annotations": {"kwok.x-k8s.io/node": "fake"}}
    async with await KubeClient.connect(kubeconfig) as kube:
        await kube.apply({"apiVersion": "v1", "kind": "Node", "metadata": meta}, field_manager="test")


async def _remove_node(kubeconfig: Path, name: str) -> None:
    async with await KubeClient.connect(kubeconfig) as kube:
        await kube.delete("v1", "Node", name, propagation="Background")


async def _holder(kubeconfig: Path, node: str, other_than: str | None) -> str:
    """Wait until a kwok, and not ``other_than``, holds the node's lease; return its name."""
    async with await KubeClient.connect(kubeconfig) as kube, asyncio.timeout(60):
        while True:
            lease = await kube.find("coordination.k8s.io/v1", "Lease", node, "kube-node-lease")
            holder = ((lease or {}).get("spec") or {}).get("holderIdentity")
            if holder and holder != other_than:
                return str(holder)
            await asyncio.sleep(0.1)


@pytest.mark.parametrize("name", ["etcd", "kube-apiserver"])
def test_keeper_restarts_dead_components(own: Rehearsal, name: str) -> None:
    pid, lines = pids(own)[name], list[str]()
    assert pid is not None
    with Supervisor(own, lines.append):
        psutil.Process(pid).kill()
        deadline = time.monotonic() + 60
        while not any(line.startswith(f"{name} ready") for line in lines):
            assert time.monotonic() < deadline, lines
            time.sleep(0.05)

    assert f"{name}: ended unexpectedly, restarting" in lines
    assert states(own) == dict.fromkeys(NAMES, "running")
    assert pids(own)[name] != pid


def test_keeper_ignores_a_stopped_rehearsal(own: Rehearsal) -> None:
    lines: list[str] = []
    with Supervisor(own, lines.append):
        Rehearsal(own.state).stop()
        own.restart_dead_components(lines.append)

    assert lines == []
    assert states(own) == dict.fromkeys(NAMES, "stopped")
    own.start(quiet)


def test_stop_ends_all_processes_and_start_keeps_the_data(own: Rehearsal) -> None:
    mark(own.kubeconfig, "kept")
    running = [psutil.Process(pid) for pid in pids(own).values() if pid]
    address = own.kubeconfig.read_text()

    own.stop()

    assert [p for p in running if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []
    assert states(own) == dict.fromkeys(NAMES, "stopped")
    own.start(quiet)
    assert own.kubeconfig.read_text() == address
    assert has_mark(own.kubeconfig, "kept")


def test_concurrent_starts_start_each_component_once(own: Rehearsal) -> None:
    own.stop()
    lines: list[str] = []
    threads = [threading.Thread(target=Rehearsal(own.state).start, args=(lines.append,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert states(own) == dict.fromkeys(NAMES, "running")
    assert sorted(line.split()[0] for line in lines if " ready (" in line) == sorted(NAMES)
    assert any(line.startswith("waiting for process") for line in lines)


def test_killed_start_is_resumed(own: Rehearsal) -> None:
    own.stop()
    code = (
        "import os, sys; from pathlib import Path; from rehearsal.control_plane import Supervisor, Rehearsal\n"
        "Rehearsal(Path(sys.argv[1])).start(lambda line: os.kill(os.getpid(), 9) if 'apiserver ready' in line else 0)"
    )
    root = Path(__file__).parents[2]
    killed = subprocess.run([sys.executable, "-c", code, str(own.state)], cwd=root, check=False)
    assert killed.returncode == -9

    own.start(quiet)

    assert states(own) == dict.fromkeys(NAMES, "running")


def test_unrecorded_process_is_replaced(own: Rehearsal) -> None:
    pid = pids(own)["kwok"]
    (own.state / "run" / "kwok.json").unlink()

    own.start(quiet)

    assert states(own)["kwok"] == "running"
    assert pid is not None
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_start_fails_if_the_api_server_port_is_taken(own: Rehearsal) -> None:
    port = next(component.port for component in own.status() if component.name == "kube-apiserver")
    own.stop()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port or 0))
        other.listen()
        with pytest.raises(UserError, match=rf"port {port} of the API server: .* start --port N"):
            own.start(quiet)
    own.start(quiet)


def test_failed_start_names_the_component_and_its_log(tmp_path: Path) -> None:
    false = tmp_path / "false"
    false.write_text("#!/bin/sh\necho 'no such luck'\nexit 3\n")
    false.chmod(0o700)
    rehearsal = Rehearsal(tmp_path / "state", resolve=lambda names, _: dict.fromkeys(names, false))

    with pytest.raises(UserError, match=r"(?s)etcd ended during start-up; the end of .*no such luck"):
        rehearsal.start(quiet)

    rehearsal.stop(purge=True)


async def test_rbac_is_enforced(kubeconfig: Path) -> None:
    async with await KubeClient.connect(kubeconfig) as kube:
        kube.access.headers["Impersonate-User"] = "somebody"
        with pytest.raises(ApiError) as caught:
            await kube.list("v1", "Secret", "default")
    assert caught.value.code == 403


async def test_pods_of_a_deployment_run_on_simulated_nodes(kube: KubeClient, namespace: str) -> None:
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": f"{namespace}-node",
            "annotations": {
                "kwok.x-k8s.io/node": "fake",
                "rehearsal.inferstack.dev/hardware": '{"instanceType": "x", "cpu": "8", "memory": "32Gi", "pods": 9}',
            },
        },
    }
    await kube.apply(node, field_manager="test")
    labels = {"app": "web"}
    spec = {"containers": [{"name": "web", "image": "web", "resources": {"requests": {"cpu": "1"}}}]}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web", "namespace": namespace},
        "spec": {
            "replicas": 3,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }
    try:
        await kube.apply(deployment, field_manager="test")
        async with asyncio.timeout(30):
            async for _, seen in kube.watch("apps/v1", "Deployment", namespace):
                if seen.get("status", {}).get("readyReplicas") == 3:
                    break
    finally:
        await kube.delete("v1", "Node", f"{namespace}-node")


def test_purge_leaves_no_file_and_no_process(tmp_path: Path) -> None:
    rehearsal = Rehearsal(tmp_path / "state")
    rehearsal.start(quiet)
    running = [psutil.Process(pid) for pid in pids(rehearsal).values() if pid]

    rehearsal.stop(purge=True)

    assert [p for p in running if p.is_running() and p.status() != psutil.STATUS_ZOMBIE] == []
    assert [path.name for path in (tmp_path / "state").iterdir()] == ["lock"]
