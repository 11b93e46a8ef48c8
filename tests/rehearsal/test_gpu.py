"""The gpu role on a real API server: shared GPUs show on nodes, and a request that does not fit changes nothing."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from components.addon.catalogue import load
from components.addon.plan import rehearsed_crds
from components.gpu import builders
from components.gpu.layouts import make_layouts
from components.gpu.settings import GpuSettings
from components.objects import make_namespace
from components.settings import load_role
from inferstack.apimachinery.objects import Object
from inferstack.k8s import KubeClient
from rehearsal.control_plane import Rehearsal
from tests.rehearsal.command import InferstackCommand

pytestmark = pytest.mark.rehearsal


GPU = "nvidia.com/gpu"
SLICE = "nvidia.com/mig-1g.5gb"
CONFIG = "nvidia.com/device-plugin.config"
MANAGER = "test"
HARDWARE = {
    "instanceType": "p4d.24xlarge",
    "cpu": "96",
    "memory": "1152Gi",
    "pods": 110,
    "gpu": "A100-SXM4-40GB",
    "gpus": 8,
    "migSeconds": 0,
}
CONFIGS = {
    "four": {"resources": {GPU: 4}},
    "slices": {"resources": {SLICE: 2}},
    "renamed": {"resources": {GPU: 2}, "renameByDefault": True},
}


async def apply(kube: KubeClient, configs: dict[str, Any], default: str | None = None) -> None:
    """Bring up what the program would: namespace, ConfigMaps, the kind and the ClusterPolicy."""
    settings = load_role("gpu", GpuSettings, {"timeSlicing": {"configs": configs, "default": default}})
    (crd,) = rehearsed_crds("gpu-operator", load()["gpu-operator"])
    await kube.apply(crd, field_manager=MANAGER)
    await kube.apply(make_namespace(builders.NAMESPACE, privileged=True), field_manager=MANAGER)
    maps = [builders.make_config_map(make_layouts(settings)), *builders.make_config_maps(settings).values()]
    for config_map in maps:
        await kube.apply(config_map, field_manager=MANAGER)
    await established(kube, crd["metadata"]["name"])
    await kube.apply(builders.make_cluster_policy(settings, monitored=True), field_manager=MANAGER)


async def established(kube: KubeClient, name: str) -> None:
    """Wait until a kind is served."""

    def served(crd: Object) -> bool:
        conditions = crd.get("status", {}).get("conditions") or []
        return any(condition["type"] == "Established" and condition["status"] == "True" for condition in conditions)

    await until(kube, ("apiextensions.k8s.io/v1", "CustomResourceDefinition", name), served)


async def until(kube: KubeClient, reference: tuple[str, str, str], holds: Callable[[Object], bool]) -> Object:
    """Wait until an object is as it should be, and return it."""
    api_version, kind, name = reference
    last: Object = {}
    try:
        async with asyncio.timeout(30):
            while True:
                for last in (await kube.list(api_version, kind, fields=f"metadata.name={name}"))["items"]:
                    if holds(last):
                        return last
                await asyncio.sleep(0.2)
    except TimeoutError:
        shown = {"labels": last.get("metadata", {}).get("labels"), "status": last.get("status")}
        raise AssertionError(f"{kind} {name} is not as expected: {json.dumps(shown)}") from None


async def offers(kube: KubeClient, name: str, **resources: str) -> Object:
    """Wait until a node offers these GPU resources, and return it."""

    def holds(node: Object) -> bool:
        allocatable = node.get("status", {}).get("allocatable") or {}
        gpus = {key: value for key, value in allocatable.items() if key.startswith("nvidia.com/") and value != "0"}
        return gpus == resources

    return await until(kube, ("v1", "Node", name), holds)


async def label(kube: KubeClient, name: str, labels: dict[str, str | None]) -> None:
    """Set labels of a node."""
    await kube.patch("v1", "Node", name, {"metadata": {"labels": labels}}, field_manager=MANAGER)


@pytest.fixture
async def node(kube: KubeClient) -> AsyncIterator[str]:
    """A simulated node with eight GPUs."""
    name = f"gpu-{secrets.token_hex(3)}"
    annotations = {"kwok.x-k8s.io/node": "fake", "rehearsal.inferstack.dev/hardware": json.dumps(HARDWARE)}
    await kube.create(
        {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "annotations": annotations}},
        field_manager=MANAGER,
    )
    yield name
    await kube.delete("v1", "Node", name)


@pytest.fixture(autouse=True)
async def without_policy(kube: KubeClient) -> AsyncIterator[None]:
    """Leave the shared control plane as it was: other tests bring a policy of their own."""
    yield
    reference = ("apiextensions.k8s.io/v1", "CustomResourceDefinition")
    if (await kube.list(*reference, fields="metadata.name=clusterpolicies.nvidia.com"))["items"]:
        await kube.delete("nvidia.com/v1", "ClusterPolicy", builders.POLICY, propagation="Background")


async def test_shared_gpu_is_advertised_with_its_replicas(kube: KubeClient, node: str) -> None:
    await apply(kube, CONFIGS)
    await offers(kube, node, **{GPU: "8"})
    await label(kube, node, {CONFIG: "four"})
    offered = await offers(kube, node, **{GPU: "32"})
    assert offered["status"]["capacity"][GPU] == "32"
    reference = ("v1", "Node", node)
    labelled = await until(kube, reference, lambda obj: obj["metadata"]["labels"].get(f"{GPU}.replicas") == "4")
    labels = labelled["metadata"]["labels"]
    assert labels[f"{GPU}.product"] == "NVIDIA-A100-SXM4-40GB-SHARED"
    assert labels[f"{GPU}.sharing-strategy"] == "time-slicing"
    await label(kube, node, {CONFIG: None})
    await offers(kube, node, **{GPU: "8"})


async def test_scheduler_counts_shared_gpus(kube: KubeClient, node: str, namespace: str) -> None:
    await apply(kube, CONFIGS, default="four")
    await offers(kube, node, **{GPU: "32"})
    for index in range(33):
        container = {"name": "c", "image": "none", "resources": {"limits": {GPU: 1}}}
        spec = {"containers": [container], "affinity": _only(node)}
        meta = {"name": f"p{index}", "namespace": namespace}
        await kube.create({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}, field_manager=MANAGER)

    async def bound() -> int:
        pods = (await kube.list("v1", "Pod", namespace))["items"]
        return sum(bool(pod["spec"].get("nodeName")) for pod in pods)

    async with asyncio.timeout(30):
        while await bound() < 32:  # noqa: ASYNC110  # one list is less work than 33 watches
            await asyncio.sleep(0.2)
    refused = [pod for pod in (await kube.list("v1", "Pod", namespace))["items"] if not pod["spec"].get("nodeName")]
    assert len(refused) == 1


def _only(node: str) -> Object:
    term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}}


async def test_mig_slices_and_renamed_gpus_are_shared(kube: KubeClient, node: str) -> None:
    await apply(kube, CONFIGS)
    await label(kube, node, {CONFIG: "renamed"})
    await offers(kube, node, **{f"{GPU}.shared": "16"})
    await label(kube, node, {CONFIG: "slices", "nvidia.com/mig.config": "all-1g.5gb"})
    await offers(kube, node, **{SLICE: "112"})


async def test_changed_sharing_configuration_reaches_nodes(kube: KubeClient, node: str) -> None:
    await apply(kube, CONFIGS, default="four")
    await offers(kube, node, **{GPU: "32"})
    await apply(kube, {"four": {"resources": {GPU: 6}}}, default="four")
    await offers(kube, node, **{GPU: "48"})


async def test_unknown_configuration_label_removes_gpus(kube: KubeClient, node: str) -> None:
    await apply(kube, CONFIGS)
    await offers(kube, node, **{GPU: "8"})
    await label(kube, node, {CONFIG: "five"})
    await offers(kube, node)
    policy = await until(
        kube,
        ("nvidia.com/v1", "ClusterPolicy", builders.POLICY),
        lambda seen: seen.get("status", {}).get("state") == "ready",
    )
    assert policy["spec"]["validator"]["plugin"]["env"] == [{"name": "WITH_WORKLOAD", "value": "false"}]


async def test_invalid_gpu_settings_change_nothing(kube: KubeClient, plane: Rehearsal) -> None:
    leaving: set[str] = set()

    async def everything() -> set[tuple[str, str]]:
        nonlocal leaving
        kinds = [("v1", kind) for kind in ("Node", "Namespace", "ConfigMap")]
        kinds.append(("apiextensions.k8s.io/v1", "CustomResourceDefinition"))
        metas = [obj["metadata"] for kind in kinds for obj in (await kube.list(*kind))["items"]]
        # Namespaces of earlier tests may be on their way out still, with what is in them.
        leaving |= {meta["name"] for meta in metas if "deletionTimestamp" in meta}
        return {
            (meta["name"], meta["uid"])
            for meta in metas
            if meta["name"] not in leaving and meta.get("namespace") not in leaving
        }

    before = await everything()
    code, output = await asyncio.to_thread(
        InferstackCommand(plane.state).run, "up", "-c", "inferstack:gpu.driver.version=535.309.01"
    )
    assert code == 1
    assert "inferstack:gpu.driver.version: driver 535.309.01 does not fit the H200" in output
    assert "Traceback" not in output
    assert await everything() == before
