"""The agent on a real API server: simulated nodes, their GPUs, MIG layouts and faults."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from inferstack.apimachinery.objects import Object
from inferstack.k8s import KubeClient
from inferstack.k8s.client import STRATEGIC
from inferstack.mig.mig_parted import dump_config, make_mig_parted_config
from rehearsal.control_plane import Rehearsal

pytestmark = pytest.mark.rehearsal

MANAGER = "test"
GPU = "nvidia.com/gpu"
STATE = "nvidia.com/mig.config.state"
CONFIG = "nvidia.com/mig.config"
POLICY = ("nvidia.com/v1", "ClusterPolicy", "cluster-policy")

CRD: Object = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "clusterpolicies.nvidia.com"},
    "spec": {
        "group": "nvidia.com",
        "scope": "Cluster",
        "names": {"kind": "ClusterPolicy", "plural": "clusterpolicies", "singular": "clusterpolicy"},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "subresources": {"status": {}},
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            part: {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
                            for part in ("spec", "status")
                        },
                    }
                },
            }
        ],
    },
}
LAYOUTS = make_mig_parted_config()
LAYOUTS["mig-configs"]["impossible"] = [
    {"devices": "all", "mig-enabled": True, "mig-devices": {"3g.20gb": 2, "1g.5gb": 1}}
]


async def _until(
    kube: KubeClient, reference: tuple[str, str, str], holds: Callable[[Object], bool], *, seconds: float = 20
) -> Object:
    """Wait until an object is as it should be, and return it; on time-out show how it was last."""
    api_version, kind, name = reference
    last: Object = {}
    try:
        async with asyncio.timeout(seconds):
            while True:
                listing = await kube.list(api_version, kind, fields=f"metadata.name={name}")
                for last in listing["items"]:
                    if holds(last):
                        return last
                since = listing["metadata"]["resourceVersion"]
                watch = kube.watch(api_version, kind, fields=f"metadata.name={name}", since=since)
                async with aclosing(watch) as changes:  # type: ignore[type-var]  # it is a generator
                    async for change, last in changes:
                        if change in ("ADDED", "MODIFIED") and holds(last):
                            return last
    except TimeoutError:
        shown = {"labels": last.get("metadata", {}).get("labels"), "status": last.get("status")}
        raise AssertionError(f"{kind} {name} is not as expected after {seconds} s: {json.dumps(shown)}") from None


def _node(name: str) -> tuple[str, str, str]:
    return ("v1", "Node", name)


def _allocatable(node: Object, resource: str = GPU) -> str | None:
    quantity: str | None = (node.get("status", {}).get("allocatable") or {}).get(resource)
    return quantity


def _label(node: Object, key: str) -> str | None:
    value: str | None = (node["metadata"].get("labels") or {}).get(key)
    return value


def _is(state: str, layout: str) -> Callable[[Object], bool]:
    def holds(node: Object) -> bool:
        done = (node["metadata"].get("annotations") or {}).get("rehearsal.inferstack.dev/mig-done")
        return _label(node, STATE) == state and bool(done == layout)

    return holds


async def _install(kube: KubeClient, *, strategy: str = "mixed") -> None:
    await kube.apply(CRD, field_manager=MANAGER)
    await _until(
        kube,
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition", CRD["metadata"]["name"]),
        lambda crd: any(
            c["type"] == "Established" and c["status"] == "True" for c in crd["status"]["conditions"] or []
        ),
    )
    operator: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "gpu-operator"}}
    await kube.apply(operator, field_manager=MANAGER)
    config: Object = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "layouts", "namespace": "gpu-operator"},
        "data": {"config.yaml": dump_config(LAYOUTS)},
    }
    await kube.apply(config, field_manager=MANAGER)
    policy: Object = {
        "apiVersion": POLICY[0],
        "kind": POLICY[1],
        "metadata": {"name": POLICY[2]},
        "spec": {"mig": {"strategy": strategy}, "migManager": {"config": {"name": "layouts"}}},
    }
    await kube.apply(policy, field_manager=MANAGER)


@pytest.fixture(scope="module", autouse=True)
def gpu_operator(kubeconfig: Path) -> Iterator[None]:
    """The GPU operator as the agent sees it: CRD, ClusterPolicy and the MIG manager's ConfigMap."""

    async def run(work: Callable[[KubeClient], Awaitable[None]]) -> None:
        async with await KubeClient.connect(kubeconfig) as kube:
            await work(kube)

    async def remove(kube: KubeClient) -> None:
        await kube.delete(*POLICY, propagation="Background")
        await kube.delete("apiextensions.k8s.io/v1", "CustomResourceDefinition", CRD["metadata"]["name"])
        await kube.delete("v1", "ConfigMap", "layouts", "gpu-operator")

    asyncio.run(run(_install))
    yield
    asyncio.run(run(remove))


MakeNodes = Callable[..., Awaitable[list[str]]]


@pytest.fixture
async def make_nodes(kube: KubeClient) -> AsyncIterator[MakeNodes]:
    """Make simulated p4d nodes; they are deleted afterwards."""
    created: list[str] = []

    async def make(count: int = 1, *, layout: str | None = None, **hardware: Any) -> list[str]:
        prefix = f"p4d-{secrets.token_hex(3)}"
        content = {
            "instanceType": "p4d.24xlarge", "cpu": "96", "memory": "1152Gi", "pods": 110,
            "gpu": "A100-SXM4-40GB", "gpus": 8, "nics": [{"resource": "openshift.io/mlnx_rdma", "vfs": 8}],
            **hardware,
        }  # fmt: skip
        names = [f"{prefix}-{index:03d}" for index in range(count)]
        created.extend(names)
        annotations = {"kwok.x-k8s.io/node": "fake", "rehearsal.inferstack.dev/hardware": json.dumps(content)}
        labels = {CONFIG: layout} if layout else {}
        nodes: list[Object] = [
            {
                "apiVersion": "v1",
                "kind": "Node",
                "metadata": {"name": name, "annotations": annotations, "labels": labels},
            }
            for name in names
        ]
        await asyncio.gather(*(kube.create(node, field_manager=MANAGER) for node in nodes))
        return names

    yield make
    await asyncio.gather(*(kube.delete("v1", "Node", name) for name in created))


async def _ask(kube: KubeClient, name: str, layout: str) -> None:
    await kube.patch("v1", "Node", name, {"metadata": {"labels": {CONFIG: layout}}}, field_manager=MANAGER)


async def _annotate(kube: KubeClient, name: str, key: str, value: str | None) -> None:
    body = {"metadata": {"annotations": {f"rehearsal.inferstack.dev/{key}": value}}}
    await kube.patch("v1", "Node", name, body, field_manager=MANAGER)


def _pid(plane: Rehearsal, component: str) -> int:
    pid = next(status.pid for status in plane.status() if status.name == component)
    assert pid is not None
    return pid


async def test_node_gets_capacity_and_labels_of_its_hardware(kube: KubeClient, make_nodes: MakeNodes) -> None:
    (name,) = await make_nodes()
    node = await _until(kube, _node(name), lambda node: _allocatable(node) == "8")
    status = node["status"]
    assert {key: status["capacity"][key] for key in ("cpu", "memory", "pods", "openshift.io/mlnx_rdma")} == {
        "cpu": "96",
        "memory": "1152Gi",
        "pods": "110",
        "openshift.io/mlnx_rdma": "8",
    }
    node = await _until(kube, _node(name), _is("success", "all-disabled"))
    labels = node["metadata"]["labels"]
    assert labels["nvidia.com/gpu.product"] == "NVIDIA-A100-SXM4-40GB"
    assert labels["feature.node.kubernetes.io/pci-10de.present"] == "true"
    assert CONFIG not in labels  # the user's alone
    policy = await _until(kube, POLICY, lambda policy: "state" in policy.get("status", {}))
    assert policy["status"]["state"] == "ready"


async def test_layout_change_goes_through_pending_to_success(kube: KubeClient, make_nodes: MakeNodes) -> None:
    (name,) = await make_nodes()
    await _until(kube, _node(name), _is("success", "all-disabled"))
    await _ask(kube, name, "all-balanced")
    pending = await _until(
        kube,
        _node(name),
        lambda node: _label(node, STATE) == "pending" and _allocatable(node) == "0",
    )
    assert pending["status"]["capacity"][GPU] == "8"
    assert pending["metadata"]["labels"]["nvidia.com/gpu.deploy.device-plugin"] == "paused-for-mig-change"
    node = await _until(kube, _node(name), _is("success", "all-balanced"))
    gpu_resources = {
        key: count for key, count in node["status"]["allocatable"].items() if key.startswith("nvidia.com/")
    }
    assert gpu_resources == {
        GPU: "0",
        "nvidia.com/mig-1g.5gb": "16",
        "nvidia.com/mig-2g.10gb": "8",
        "nvidia.com/mig-3g.20gb": "8",
    }
    labels = node["metadata"]["labels"]
    assert labels["nvidia.com/mig-3g.20gb.count"] == "8"
    assert labels["nvidia.com/gpu.deploy.device-plugin"] == "true"
    await _ask(kube, name, "all-disabled")
    node = await _until(kube, _node(name), _is("success", "all-disabled"))
    assert _allocatable(node) == "8"
    assert _allocatable(node, "nvidia.com/mig-1g.5gb") == "0"
    assert "nvidia.com/mig-3g.20gb.count" not in node["metadata"]["labels"]


@pytest.mark.parametrize("layout", ["impossible", "all-1g.18gb", "no-such-layout"])
async def test_impossible_layout_fails_and_changes_nothing(
    kube: KubeClient, make_nodes: MakeNodes, layout: str
) -> None:
    (name,) = await make_nodes(layout="all-1g.5gb", migSeconds=0.2)
    await _until(kube, _node(name), _is("success", "all-1g.5gb"))
    await _ask(kube, name, layout)
    node = await _until(kube, _node(name), _is("failed", layout))
    assert _allocatable(node, "nvidia.com/mig-1g.5gb") == "56"
    await _ask(kube, name, "all-3g.20gb")
    node = await _until(kube, _node(name), _is("success", "all-3g.20gb"))
    assert _allocatable(node, "nvidia.com/mig-3g.20gb") == "16"


async def test_lost_gpus_reduce_capacity(kube: KubeClient, make_nodes: MakeNodes) -> None:
    (name,) = await make_nodes()
    await _until(kube, _node(name), lambda node: _allocatable(node) == "8")
    await _annotate(kube, name, "lost-gpus", "2")
    node = await _until(kube, _node(name), lambda node: _allocatable(node) == "6")
    assert node["status"]["capacity"][GPU] == "8"
    await _annotate(kube, name, "lost-gpus", None)
    await _until(kube, _node(name), lambda node: _allocatable(node) == "8")


def _ready(obj: Object) -> str | None:
    conditions = obj.get("status", {}).get("conditions") or []
    return next((entry["status"] for entry in conditions if entry["type"] == "Ready"), None)


async def test_not_ready_node_recovers(kube: KubeClient, namespace: str, make_nodes: MakeNodes) -> None:
    (name,) = await make_nodes()
    await _until(kube, _node(name), lambda node: _ready(node) == "True")
    bound = {"nodeName": name, "containers": [{"name": "c", "image": "registry.invalid/c"}]}
    pod: Object = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": namespace}, "spec": bound}
    await kube.create(pod, field_manager=MANAGER)
    reference = ("v1", "Pod", name)
    await _until(kube, reference, lambda pod: _ready(pod) == "True")
    await _annotate(kube, name, "not-ready", "true")
    await _until(kube, _node(name), lambda node: _ready(node) == "False")
    # The real node controller draws its conclusion.
    tainted = "node.kubernetes.io/not-ready"
    await _until(kube, _node(name), lambda node: any(t["key"] == tainted for t in node["spec"].get("taints") or []))
    # As the node controller does it for a silent node, 40 s after its last word.
    silent = {"status": {"conditions": [{"type": "Ready", "status": "False"}]}}
    await kube.patch("v1", "Pod", name, silent, namespace, content_type=STRATEGIC, subresource="status")
    await _annotate(kube, name, "not-ready", None)
    await _until(kube, _node(name), lambda node: _ready(node) == "True" and not node["spec"].get("taints"))
    await _until(kube, reference, lambda pod: _ready(pod) == "True")


async def test_single_strategy_without_gpu_operator(kube: KubeClient, make_nodes: MakeNodes) -> None:
    (name,) = await make_nodes(layout="all-1g.5gb", migSeconds=0)
    await _until(kube, _node(name), _is("success", "all-1g.5gb"))
    try:
        await _install(kube, strategy="single")
        product = "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb"
        node = await _until(kube, _node(name), lambda node: _label(node, "nvidia.com/gpu.product") == product)
        assert _allocatable(node) == "56"
        await kube.delete(*POLICY, propagation="Background")
        node = await _until(
            kube,
            _node(name),
            lambda node: _allocatable(node) is None and _label(node, "nvidia.com/gpu.product") is None,
        )
        assert [key for key in node["metadata"]["labels"] if key.startswith("nvidia.com/")] == [CONFIG]
        assert not [key for key in node["status"]["capacity"] if key.startswith("nvidia.com/")]
    finally:
        await _install(kube)
    await _until(kube, _node(name), lambda node: _allocatable(node, "nvidia.com/mig-1g.5gb") == "56")


async def test_next_agent_finishes_a_pending_layout(kube: KubeClient, make_nodes: MakeNodes, plane: Rehearsal) -> None:
    (name,) = await make_nodes(migSeconds=2)
    await _until(kube, _node(name), _is("success", "all-disabled"))
    await _ask(kube, name, "all-7g.40gb")
    await _until(kube, _node(name), lambda node: _label(node, STATE) == "pending")
    os.kill(_pid(plane, "agent"), signal.SIGKILL)
    await asyncio.to_thread(plane.start, lambda _: None)
    node = await _until(kube, _node(name), _is("success", "all-7g.40gb"))
    assert _allocatable(node, "nvidia.com/mig-7g.40gb") == "8"


async def test_agent_survives_an_api_server_restart(kube: KubeClient, make_nodes: MakeNodes, plane: Rehearsal) -> None:
    (name,) = await make_nodes()
    await _until(kube, _node(name), _is("success", "all-disabled"))
    agent = _pid(plane, "agent")
    os.kill(_pid(plane, "kube-apiserver"), signal.SIGKILL)
    await asyncio.to_thread(plane.start, lambda _: None)
    await _ask(kube, name, "all-2g.10gb")
    node = await _until(kube, _node(name), _is("success", "all-2g.10gb"), seconds=30)
    assert _allocatable(node, "nvidia.com/mig-2g.10gb") == "24"
    assert _pid(plane, "agent") == agent


async def test_200_nodes_become_ready(kube: KubeClient, make_nodes: MakeNodes) -> None:
    names = set(await make_nodes(200, layout="all-1g.5gb", migSeconds=0.2))

    async def done() -> int:
        nodes = (await kube.list("v1", "Node"))["items"]
        return sum(
            node["metadata"]["name"] in names
            and _is("success", "all-1g.5gb")(node)
            and _allocatable(node, "nvidia.com/mig-1g.5gb") == "56"
            for node in nodes
        )

    async with asyncio.timeout(45):
        while await done() < len(names):  # noqa: ASYNC110  # one list is less work than 200 watches
            await asyncio.sleep(0.5)
