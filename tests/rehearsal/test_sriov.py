"""The agent as SR-IOV network operator on a real API server with the real CRDs."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from components.network.builders import make_network, make_operator_config, make_policy, make_pool
from components.network.settings import NetworkSettings
from components.settings import load_role
from inferstack.apimachinery.objects import Object
from inferstack.k8s import KubeClient
from inferstack.toolchain import crds
from rehearsal.control_plane import Rehearsal
from rehearsal.simulators.sriov.drain import CURRENT_STATE, IDLE

pytestmark = pytest.mark.rehearsal

MANAGER = "test"
NAMESPACE = "sriov-network-operator"
GROUP = "sriovnetwork.openshift.io/v1"
ATTACHMENT = ("k8s.cni.cncf.io/v1", "NetworkAttachmentDefinition")
RESOURCE = "openshift.io/mlnx_rdma"
SECONDS = 60


async def _until(read: Callable[[], Awaitable[Any]], holds: Callable[[Any], bool], *, seconds: float = SECONDS) -> Any:
    """Read until it is as it should be, and return it; on time-out show how it was last."""
    last = None
    try:
        async with asyncio.timeout(seconds):
            while not holds(last := await read()):  # noqa: ASYNC110  # of several objects at once no watch tells
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise AssertionError(f"not as expected after {seconds} s: {json.dumps(last, default=str)[:4000]}") from None
    return last


def _settings(**sriov: Any) -> NetworkSettings:
    return load_role("network", NetworkSettings, {"sriov": {"enabled": True, **sriov}})


def _policy(group: str, **changes: Any) -> Object:
    wanted = {
        "resourceName": "mlnx_rdma",
        "nodeSelector": {"test/group": group},
        "nicSelector": {"vendor": "15b3", "pfNames": ["ens1f0"]},
        "numVfs": 8,
        "isRdma": True,
        **changes,
    }
    return make_policy(group, _settings(policies={group: wanted}).sriov.policies[group])


@pytest.fixture(scope="module", autouse=True)
def operator(kubeconfig: Path) -> Iterator[None]:
    """The operator as the agent sees it: its kinds, its namespace and its configuration; gone afterwards."""

    async def install() -> None:
        async with await KubeClient.connect(kubeconfig) as kube:
            for crd in crds.load("sriov-network-operator"):
                await kube.apply(crd, field_manager=MANAGER)
            space: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}
            await kube.apply(space, field_manager=MANAGER)

            async def served() -> bool:
                try:
                    await kube.resource(GROUP, "SriovOperatorConfig", fresh=True)
                except Exception:  # noqa: BLE001  # whatever it says, it is not served yet
                    return False
                return True

            await _until(served, bool)
            await kube.apply(make_operator_config(_settings().sriov), field_manager=MANAGER)

    async def remove() -> None:
        async with await KubeClient.connect(kubeconfig) as kube:
            await kube.delete(GROUP, "SriovOperatorConfig", "default", NAMESPACE, propagation="Background")

            async def left() -> list[Object]:
                configs = [await kube.find(GROUP, "SriovOperatorConfig", "default", NAMESPACE)]
                configs += (await kube.list(GROUP, "SriovNetworkNodeState", NAMESPACE))["items"]
                return [each for each in configs if each]

            await _until(left, lambda configs: not configs)
            for crd in crds.load("sriov-network-operator"):
                await kube.delete(crd["apiVersion"], crd["kind"], crd["metadata"]["name"])
            await kube.delete("v1", "Namespace", NAMESPACE, propagation="Background")

    asyncio.run(install())
    yield
    asyncio.run(remove())


MakeNodes = Callable[..., Awaitable[list[str]]]


@pytest.fixture
async def make_nodes(kube: KubeClient) -> AsyncIterator[MakeNodes]:
    """Make simulated nodes with NICs, all of one group; they go afterwards, with the group's policy and pool."""
    created: list[str] = []
    groups: list[str] = []

    async def make(group: str, count: int = 1, *, vfs: int = 16) -> list[str]:
        nic = {"vendor": "15b3", "deviceID": "101d", "pfNames": ["ens1f0", "ens1f1"], "maxVfs": vfs, "linkType": "eth"}
        hardware = {"instanceType": "m6i.2xlarge", "cpu": "8", "memory": "32Gi", "pods": 110, "nics": [nic]}
        names = [f"{group}-{index}" for index in range(count)]
        created.extend(names)
        groups.append(group)
        for name in names:
            meta = {
                "name": name,
                "labels": {"test/group": group, "kubernetes.io/os": "linux", "kubernetes.io/hostname": name},
                "annotations": {
                    "kwok.x-k8s.io/node": "fake",
                    "rehearsal.inferstack.dev/hardware": json.dumps(hardware),
                },
            }
            await kube.create({"apiVersion": "v1", "kind": "Node", "metadata": meta}, field_manager=MANAGER)
        return names

    yield make
    for group in groups:
        for kind in ("SriovNetworkNodePolicy", "SriovNetworkPoolConfig"):
            await kube.delete(GROUP, kind, group, NAMESPACE, propagation="Background")
    for name in created:
        await kube.delete("v1", "Node", name)

        async def state(name: str = name) -> Object | None:
            return await kube.find(GROUP, "SriovNetworkNodeState", name, NAMESPACE)

        await _until(state, lambda current: current is None)


@pytest.fixture
def group() -> str:
    """The name of a group of nodes that no other test has."""
    return f"g{secrets.token_hex(3)}"


def _node(kube: KubeClient, name: str) -> Callable[[], Awaitable[Object]]:
    return lambda: kube.get("v1", "Node", name)


def _state(kube: KubeClient, name: str) -> Callable[[], Awaitable[Object | None]]:
    return lambda: kube.find(GROUP, "SriovNetworkNodeState", name, NAMESPACE)


def _offers(node: Object, resource: str = RESOURCE) -> tuple[str | None, str | None]:
    status = node.get("status") or {}
    return (status.get("capacity") or {}).get(resource), (status.get("allocatable") or {}).get(resource)


def _in_service(node: Object) -> bool:
    return not node["spec"].get("unschedulable")


async def test_node_with_nics_gets_a_node_state_without_virtual_functions(
    kube: KubeClient, make_nodes: MakeNodes, group: str
) -> None:
    (name,) = await make_nodes(group)
    state = await _until(
        _state(kube, name), lambda current: bool(current and (current.get("status") or {}).get("interfaces"))
    )
    assert [port["name"] for port in state["status"]["interfaces"]] == ["ens1f0", "ens1f1"]
    assert [port["totalvfs"] for port in state["status"]["interfaces"]] == [16, 16]
    assert state["status"]["syncStatus"] == "Succeeded"
    node = await _until(_node(kube, name), lambda node: "cpu" in ((node.get("status") or {}).get("allocatable") or {}))
    assert _offers(node) == (None, None)


async def test_policy_creates_virtual_functions_and_deletion_removes_them(
    kube: KubeClient, make_nodes: MakeNodes, group: str
) -> None:
    (name,) = await make_nodes(group)
    await kube.apply(_policy(group), field_manager=MANAGER)
    node = await _until(_node(kube, name), lambda node: _offers(node) == ("8", "8") and _in_service(node))
    assert node["metadata"]["labels"]["sriovnetwork.openshift.io/device-plugin"] == "Enabled"
    state = await _until(
        _state(kube, name),
        lambda current: (
            current["status"]["syncStatus"] == "Succeeded" and current["metadata"]["annotations"][CURRENT_STATE] == IDLE
        ),
    )
    cut, whole = state["status"]["interfaces"]
    assert (cut["numVfs"], len(cut["Vfs"]), whole.get("numVfs")) == (8, 8, None)
    assert state["spec"]["interfaces"][0]["vfGroups"][0]["policyName"] == group

    await kube.delete(GROUP, "SriovNetworkNodePolicy", group, NAMESPACE, propagation="Background")
    node = await _until(_node(kube, name), lambda node: _offers(node) == (None, None) and _in_service(node))
    state = await _until(_state(kube, name), lambda current: current["status"]["syncStatus"] == "Succeeded")
    assert [port.get("numVfs") for port in state["status"]["interfaces"]] == [None, None]
    node = await _until(
        _node(kube, name),
        lambda node: node["metadata"]["labels"]["sriovnetwork.openshift.io/device-plugin"] == "Disabled",
    )


async def test_too_many_virtual_functions_fail_without_drain(
    kube: KubeClient, make_nodes: MakeNodes, group: str
) -> None:
    (name,) = await make_nodes(group, vfs=4)
    await kube.apply(_policy(group), field_manager=MANAGER)
    state = await _until(
        _state(kube, name), lambda current: ((current or {}).get("status") or {}).get("syncStatus") == "Failed"
    )
    assert state["status"]["lastSyncError"] == ("cannot config SRIOV device: NumVfs (8) is larger than TotalVfs (4)")
    node = await kube.get("v1", "Node", name)
    assert (_offers(node), _in_service(node)) == ((None, None), True)
    # Asked for what it has, it does.
    await kube.apply(_policy(group, numVfs=4), field_manager=MANAGER)
    await _until(_node(kube, name), lambda node: _offers(node) == ("4", "4"))
    state = await _until(_state(kube, name), lambda current: current["status"]["syncStatus"] == "Succeeded")
    assert "lastSyncError" not in state["status"]


@pytest.mark.parametrize(("allowed", "most"), [(1, 1), (2, 2)])
async def test_pool_limits_unavailable_nodes(
    kube: KubeClient, make_nodes: MakeNodes, group: str, allowed: int, most: int
) -> None:
    names = await make_nodes(group, 4)
    pools = _settings(pools={group: {"nodeSelector": {"test/group": group}, "maxUnavailable": allowed}}).sriov.pools
    await kube.apply(make_pool(group, pools[group]), field_manager=MANAGER)
    await kube.apply(_policy(group), field_manager=MANAGER)
    seen: list[int] = []

    async def nodes() -> list[Object]:
        members: list[Object] = (await kube.list("v1", "Node", labels=f"test/group={group}"))["items"]
        states = (await kube.list(GROUP, "SriovNetworkNodeState", NAMESPACE))["items"]
        mine = [state for state in states if state["metadata"]["name"] in names]
        seen.append(sum(state["metadata"]["annotations"][CURRENT_STATE] != IDLE for state in mine))
        return members

    await _until(nodes, lambda members: all(_offers(node) == ("8", "8") and _in_service(node) for node in members))
    assert max(seen) == most


async def test_only_pods_with_virtual_functions_are_drained(
    kube: KubeClient, make_nodes: MakeNodes, group: str, namespace: str
) -> None:
    (name,) = await make_nodes(group)
    await kube.apply(_policy(group), field_manager=MANAGER)
    await _until(_node(kube, name), lambda node: _offers(node) == ("8", "8") and _in_service(node))

    async def pod(title: str, resources: Object) -> None:
        container = {"name": "c", "image": "i", "resources": resources}
        spec = {"nodeSelector": {"test/group": group}, "containers": [container], "terminationGracePeriodSeconds": 0,
                "tolerations": [{"operator": "Exists"}]}  # fmt: skip
        meta = {"name": title, "namespace": namespace}
        await kube.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}, field_manager=MANAGER)

        async def read() -> Object:
            return await kube.get("v1", "Pod", title, namespace)

        await _until(read, lambda current: current["status"]["phase"] == "Running")

    await pod("attached", {"requests": {RESOURCE: "1"}, "limits": {RESOURCE: "1"}})
    await pod("plain", {})
    await kube.apply(_policy(group, numVfs=4), field_manager=MANAGER)
    await _until(_node(kube, name), lambda node: _offers(node) == ("4", "4") and _in_service(node))
    assert await kube.find("v1", "Pod", "attached", namespace) is None
    assert (await kube.get("v1", "Pod", "plain", namespace))["status"]["phase"] == "Running"


def _pid(plane: Rehearsal, component: str) -> int:
    pid = next(status.pid for status in plane.status() if status.name == component)
    assert pid is not None
    return pid


async def test_next_agent_finishes_the_work_of_a_killed_one(
    kube: KubeClient, make_nodes: MakeNodes, group: str, plane: Rehearsal
) -> None:
    names = await make_nodes(group, 3)
    await kube.apply(_policy(group), field_manager=MANAGER)

    async def away() -> list[str]:
        states = (await kube.list(GROUP, "SriovNetworkNodeState", NAMESPACE))["items"]
        return [
            state["metadata"]["name"]
            for state in states
            if state["metadata"]["name"] in names and state["metadata"]["annotations"][CURRENT_STATE] != IDLE
        ]

    await _until(away, bool)
    os.kill(_pid(plane, "agent"), signal.SIGKILL)
    await asyncio.to_thread(plane.start, lambda _: None)

    async def nodes() -> list[Object]:
        return [await kube.get("v1", "Node", name) for name in names]

    await _until(
        nodes, lambda current: all(_offers(node) == ("8", "8") and _in_service(node) for node in current), seconds=120
    )
    assert await _until(away, lambda current: not current) == []


async def test_network_creates_and_removes_its_attachment_definition(
    kube: KubeClient, group: str, namespace: str
) -> None:
    settings = _settings(
        policies={
            "p": {"resourceName": "mlnx_rdma", "numVfs": 8, "isRdma": True, "nodeSelector": {"a/b": "c"},
                  "nicSelector": {"vendor": "15b3"}},
        },
        networks={
            group: {
                "tenant": namespace,
                "resourceName": "mlnx_rdma",
                "spoofChk": "off",
                "ipam": {"type": "whereabouts", "range": "10.56.0.0/16"},
                "metaPlugins": [{"type": "rdma"}],
            }
        },
    ).sriov  # fmt: skip
    await kube.apply(make_network(group, settings.networks[group], settings), field_manager=MANAGER)

    async def attachment() -> Object | None:
        return await kube.find(*ATTACHMENT, group, namespace)

    definition = await _until(attachment, bool)
    assert definition["metadata"]["annotations"] == {"k8s.v1.cni.cncf.io/resourceName": RESOURCE}
    assert json.loads(definition["spec"]["config"]) == {
        "cniVersion": "1.0.0",
        "name": group,
        "plugins": [
            {
                "type": "sriov",
                "vlan": 0,
                "vlanQoS": 0,
                "spoofchk": "off",
                "logLevel": "info",  # filled in by the kind's schema
                "ipam": {"type": "whereabouts", "range": "10.56.0.0/16"},
            },
            {"type": "rdma"},
        ],
    }
    await kube.delete(*ATTACHMENT, group, namespace, propagation="Background")
    await _until(attachment, lambda again: bool(again and again["metadata"]["uid"] != definition["metadata"]["uid"]))
    await kube.delete(GROUP, "SriovNetwork", group, NAMESPACE, propagation="Background")
    await _until(attachment, lambda gone: gone is None)

    async def network() -> Object | None:
        return await kube.find(GROUP, "SriovNetwork", group, NAMESPACE)

    await _until(network, lambda gone: gone is None)
