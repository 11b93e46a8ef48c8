"""Simulated nodes with GPUs, the GPU operator as the agent plays it, and rollouts: for the tests of MigRollouts."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import functools
import json
import secrets
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import Any

from components.addon.catalogue import load
from components.addon.plan import rehearsed_crds
from components.gpu import builders
from components.gpu.layouts import make_layouts
from components.gpu.settings import GpuSettings
from components.objects import make_namespace
from components.settings import load_role
from inferstack.api import constants
from inferstack.apimachinery.objects import Object
from inferstack.k8s import ApiError, KubeClient
from rehearsal.control_plane import Rehearsal

MANAGER = "test"
CONFIG, STATE = "nvidia.com/mig.config", "nvidia.com/mig.config.state"
OWNER = "inferstack.dev/mig-rollout"
BEFORE, AFTER = "all-3g.20gb", "all-balanced"
SLICE = "nvidia.com/mig-3g.20gb"
"""In both layouts: two on each GPU before, one after."""
IMPOSSIBLE = [{"devices": "all", "mig-enabled": True, "mig-devices": {"3g.20gb": 2, "1g.5gb": 1}}]
"""A layout that no A100 takes."""


async def install(kube: KubeClient) -> None:
    """Bring up what the program would for the gpu role: namespace, layouts, the kind and the ClusterPolicy."""
    settings = load_role("gpu", GpuSettings, {"mig": {"strategy": "mixed"}})
    (crd,) = rehearsed_crds("gpu-operator", load()["gpu-operator"])
    await kube.apply(crd, field_manager=MANAGER)
    await kube.apply(make_namespace(builders.NAMESPACE, privileged=True), field_manager=MANAGER)
    await spoil(kube, mend=True)
    _layouts(spoilt=True)  # made now: it takes longer than the MIG manager works
    await until(
        kube,
        ("apiextensions.k8s.io/v1", "CustomResourceDefinition", crd["metadata"]["name"]),
        lambda definition: any(
            condition["type"] == "Established" and condition["status"] == "True"
            for condition in definition.get("status", {})["conditions"]
        ),
    )
    await kube.apply(builders.make_cluster_policy(settings, monitored=False), field_manager=MANAGER)


async def spoil(kube: KubeClient, *, mend: bool = False) -> None:
    """Give `AFTER` a content at which the MIG manager fails, as a typing error would; or the good one again."""
    await kube.apply(copy.deepcopy(_layouts(spoilt=not mend)), field_manager=MANAGER)


@functools.cache
def _layouts(*, spoilt: bool) -> Object:
    layouts = make_layouts(load_role("gpu", GpuSettings, {"mig": {"strategy": "mixed"}}))
    if spoilt:
        layouts = {**layouts, "mig-configs": {**layouts["mig-configs"], AFTER: IMPOSSIBLE}}
    return builders.make_config_map(layouts)


async def annotate(kube: KubeClient, node: str, key: str, value: str | None) -> None:
    """Break a simulated node, or mend it."""
    body = {"metadata": {"annotations": {f"rehearsal.inferstack.dev/{key}": value}}}
    await kube.patch("v1", "Node", node, body, field_manager=MANAGER)


async def cordon(kube: KubeClient, node: str, *, lift: bool = False) -> None:
    """Cordon a node as a person does, or lift it."""
    body = {"spec": {"unschedulable": None if lift else True}}
    await kube.patch("v1", "Node", node, body, field_manager=MANAGER)


async def uninstall(kube: KubeClient) -> None:
    """Leave the shared control plane without the GPU operator."""
    (crd,) = rehearsed_crds("gpu-operator", load()["gpu-operator"])
    reference = ("apiextensions.k8s.io/v1", "CustomResourceDefinition", crd["metadata"]["name"])
    await kube.delete(*reference)
    async with asyncio.timeout(60):
        while await kube.find(*reference):  # noqa: ASYNC110  # nothing tells us
            await asyncio.sleep(0.2)


@contextlib.contextmanager
def gpu_operator(plane: Rehearsal) -> Iterator[None]:
    """Have the GPU operator for as long as the context lasts."""

    async def run(work: Callable[[KubeClient], Awaitable[None]]) -> None:
        async with await KubeClient.connect(plane.kubeconfig) as kube:
            await work(kube)

    asyncio.run(run(install))
    try:
        yield
    finally:
        asyncio.run(run(uninstall))


def far_day() -> str:
    """A day on which no test runs that begins now."""
    return (datetime.now(UTC) + timedelta(days=2)).strftime("%a")


async def make_nodes(kube: KubeClient, count: int, *, gpus: int = 2, seconds: float = 0.2) -> list[str]:
    """Make simulated nodes, and wait until all are cut as `BEFORE` says.

    Args:
        kube: connected client.
        count: how many.
        gpus: of each node.
        seconds: that the MIG manager takes.
    """
    prefix = f"mig-{secrets.token_hex(3)}"
    hardware = {
        "instanceType": "p4d.24xlarge", "cpu": "96", "memory": "1152Gi", "pods": 110,
        "gpu": "A100-SXM4-40GB", "gpus": gpus, "migSeconds": seconds,
    }  # fmt: skip
    annotations = {"kwok.x-k8s.io/node": "fake", "rehearsal.inferstack.dev/hardware": json.dumps(hardware)}
    names = [f"{prefix}-{index:03d}" for index in range(count)]
    labels = {CONFIG: BEFORE, "kubernetes.io/hostname": "", "fleet": prefix}

    async def make(name: str) -> None:
        meta = {"name": name, "annotations": annotations, "labels": {**labels, "kubernetes.io/hostname": name}}
        await kube.create({"apiVersion": "v1", "kind": "Node", "metadata": meta}, field_manager=MANAGER)

    await asyncio.gather(*map(make, names))
    async with asyncio.timeout(60 + 2 * count):
        while True:
            nodes = (await kube.list("v1", "Node", labels=f"fleet={prefix}"))["items"]
            if sum(is_cut(node, BEFORE, {SLICE: 2 * gpus}) and _usable(node) for node in nodes) == count:
                return names
            await asyncio.sleep(0.3 + count / 50)


def _usable(node: Object) -> bool:
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in node["status"].get("conditions") or [])
    return ready and not node["spec"].get("taints")


def is_cut(node: Object, layout: str, devices: dict[str, int]) -> bool:
    """Return whether the MIG manager is done with a layout and a node offers just these devices."""
    labels, allocatable = node["metadata"]["labels"], node.get("status", {}).get("allocatable") or {}
    gpus = {name: int(count) for name, count in allocatable.items() if name.startswith("nvidia.com/") and count != "0"}
    return labels.get(CONFIG) == layout and labels.get(STATE) == "success" and gpus == devices


def balanced(gpus: int) -> dict[str, int]:
    """What a node with so many GPUs offers under `AFTER`."""
    return {"nvidia.com/mig-1g.5gb": 2 * gpus, "nvidia.com/mig-2g.10gb": gpus, SLICE: gpus}


def is_free(node: Object) -> bool:
    """Return whether nobody has cordoned a node, and it carries no mark of a rollout."""
    return not node["spec"].get("unschedulable") and OWNER not in node["metadata"]["labels"]


async def start(kube: KubeClient, nodes: list[str], layout: str = AFTER, **spec: Any) -> str:
    """Make a rollout; return its name."""
    name = f"rollout-{secrets.token_hex(3)}"
    wanted = [{"name": node, "layout": layout} for node in nodes]
    await kube.create(
        {
            "apiVersion": constants.API_VERSION,
            "kind": constants.ROLLOUT_KIND,
            "metadata": {"name": name},
            "spec": {"nodes": wanted, "drainTimeoutSeconds": 60, "stateTimeoutSeconds": 30, **spec},
        },
        field_manager=MANAGER,
    )
    return name


async def edit(kube: KubeClient, name: str, **spec: Any) -> None:
    """Change a rollout's spec."""
    await kube.patch(constants.API_VERSION, constants.ROLLOUT_KIND, name, {"spec": spec}, field_manager=MANAGER)


async def reach(kube: KubeClient, name: str, holds: Callable[[Object], bool], *, seconds: float = 40) -> Object:
    """Wait until a rollout's status is as it should be; return the status."""
    reference = (constants.API_VERSION, constants.ROLLOUT_KIND, name)
    rollout = await until(kube, reference, lambda obj: "status" in obj and holds(obj["status"]), seconds=seconds)
    status: Object = rollout["status"]
    return status


def phase(wanted: str) -> Callable[[Object], bool]:
    """A status of a phase."""
    return lambda status: bool(status.get("phase") == wanted)


def steps(status: Object) -> list[str]:
    """The step of each node."""
    return [record["step"] for record in status.get("nodes") or []]


async def node_of(kube: KubeClient, name: str) -> Object:
    """A node."""
    return await kube.get("v1", "Node", name)


async def until(
    kube: KubeClient, reference: tuple[str, str, str], holds: Callable[[Object], bool], *, seconds: float = 30
) -> Object:
    """Wait until an object without namespace is as it should be, and return it."""
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
                    async for change, obj in changes:
                        if change in ("ADDED", "MODIFIED"):
                            last = obj
                            if holds(last):
                                return last
    except TimeoutError:
        shown = json.dumps({"labels": last.get("metadata", {}).get("labels"), "status": last.get("status")})
        raise AssertionError(f"{kind} {name} is not as expected after {seconds} s: {shown}") from None


async def deploy(
    kube: KubeClient, namespace: str, name: str, replicas: int, on: list[str], *, unavailable: int | str | None = 1
) -> None:
    """Make a Deployment whose pods each hold a slice, with a budget, and wait until they run.

    Args:
        kube: connected client.
        namespace: of the Deployment.
        name: of it and of its budget.
        replicas: its pods.
        on: the nodes that they may run on.
        unavailable: maxUnavailable of the budget; None: no budget.
    """
    labels = {"app": name}
    resources = {"requests": {SLICE: "1"}, "limits": {SLICE: "1"}}
    term = {"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": on}]}
    spread = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    pod = {
        "containers": [{"name": "c", "image": "registry.invalid/c", "resources": resources}],
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}},
        "topologySpreadConstraints": [{**spread, "labelSelector": {"matchLabels": labels}}],
        "terminationGracePeriodSeconds": 0,
    }
    template = {"metadata": {"labels": labels}, "spec": pod}
    spec = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    meta = {"name": name, "namespace": namespace}
    await kube.create(
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}, field_manager=MANAGER
    )
    if unavailable is not None:
        budget = {"maxUnavailable": unavailable, "selector": {"matchLabels": labels}}
        await kube.create(
            {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": meta, "spec": budget},
            field_manager=MANAGER,
        )
    async with asyncio.timeout(30):
        while True:
            pods = (await kube.list("v1", "Pod", namespace, labels=f"app={name}"))["items"]
            budgets = (await kube.list("policy/v1", "PodDisruptionBudget", namespace))["items"]
            healthy = {b["metadata"]["name"]: b.get("status", {}).get("currentHealthy") for b in budgets}
            if sum(map(is_ready, pods)) == replicas and healthy.get(name, replicas) == replicas:
                return
            await asyncio.sleep(0.2)


def is_ready(pod: Object) -> bool:
    """Return whether a pod serves: as the disruption controller counts it."""
    if "deletionTimestamp" in pod["metadata"]:
        return False
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod.get("status", {}).get("conditions") or [])


async def remove(kube: KubeClient, nodes: list[str]) -> None:
    """Delete rollouts and nodes."""
    for rollout in (await kube.list(constants.API_VERSION, constants.ROLLOUT_KIND))["items"]:
        await kube.delete(
            constants.API_VERSION, constants.ROLLOUT_KIND, rollout["metadata"]["name"], propagation="Background"
        )

    async def one(name: str) -> None:
        try:
            await kube.delete("v1", "Node", name)
        except ApiError as error:
            if not error.not_found:
                raise

    await asyncio.gather(*map(one, nodes))
