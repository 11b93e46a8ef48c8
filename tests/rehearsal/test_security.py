"""Pod Security, its guard, the node agents and the runtime class, at a real API server with real controllers."""

from __future__ import annotations

import asyncio
import copy
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from components.agents import program
from components.cluster.nodes import make_node
from components.cluster.settings import NodeGroup
from components.kernel import builders as kernel
from components.kernel.settings import KernelSettings
from components.security import builders as security
from components.settings import load_role
from components.tenancy.builders import EXCEPTION, make_namespace
from components.tenancy.settings import Tenant
from components.wasm import builders as wasm
from components.wasm.settings import Sample, WasmSettings
from inferstack.apimachinery.objects import Object
from inferstack.k8s import ApiError, KubeClient

pytestmark = pytest.mark.rehearsal

MANAGER = "test"
ENFORCE = "pod-security.kubernetes.io/enforce"
REASON = "its profiler reads the counters of the CPU"
SAFE = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
RESTRICTED = {"runAsNonRoot": True, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
SETTLED = 3
"""Times in a row that the guard must have refused: the API server learns of a policy in the background."""


def pod(namespace: str, context: Object | None = None, **spec: Any) -> Object:
    """Return a pod that by default satisfies the restricted standard."""
    container = {"name": "c", "image": "busybox", "securityContext": SAFE if context is None else context}
    whole = {"securityContext": RESTRICTED, "containers": [container], **spec}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"p-{secrets.token_hex(4)}", "namespace": namespace},
        "spec": whole,
    }


async def refused(work: Any) -> str:
    """Return what the API server says of something that it must not do."""
    with pytest.raises(ApiError) as caught:
        await work
    assert caught.value.code == 403
    return str(caught.value)


async def eventually(holds: Callable[[], Any]) -> Any:
    """Return what a coroutine function says as soon as it says something."""
    async with asyncio.timeout(30):
        while not (result := await holds()):  # noqa: ASYNC110  # the API server tells nobody
            await asyncio.sleep(0.1)
    return result


@pytest.fixture
async def tenant(kube: KubeClient) -> AsyncIterator[str]:
    """A tenant's namespace as the role makes it, at the level restricted."""
    name = f"tenant-{secrets.token_hex(4)}"
    await kube.create(make_namespace(name, Tenant()), field_manager=MANAGER)
    yield name
    await kube.delete("v1", "Namespace", name, propagation="Background")


@pytest.fixture
async def guard(kube: KubeClient) -> AsyncIterator[None]:
    """The guard, in force."""
    manifests = security.make_guard()
    for manifest in manifests:
        await kube.apply(manifest, field_manager=MANAGER)
    probe = make_namespace("probe", Tenant.model_validate({"podSecurity": "privileged"}))

    async def in_force() -> bool:
        for _ in range(SETTLED):
            try:
                await kube.create(probe, field_manager=MANAGER, dry_run=True)
            except ApiError as error:
                if error.code != 403:
                    raise
            else:
                return False
        return True

    await eventually(in_force)
    yield
    for manifest in reversed(manifests):
        await kube.delete(manifest["apiVersion"], manifest["kind"], manifest["metadata"]["name"])


@pytest.fixture
async def node(kube: KubeClient) -> AsyncIterator[str]:
    """A simulated node with a label of its own."""
    name = f"n{secrets.token_hex(4)}-0"
    group = NodeGroup.model_validate({"instanceType": "m6i.2xlarge", "labels": {"test/node": name}})
    await kube.create(make_node(name, group, "zone-a"), field_manager=MANAGER)
    yield name
    await kube.delete("v1", "Node", name, propagation="Background")


@pytest.mark.parametrize(
    ("context", "spec", "violation"),
    [
        ({"privileged": True}, {}, "privileged"),
        (None, {"hostNetwork": True}, "hostNetwork"),
        (None, {"volumes": [{"name": "host", "hostPath": {"path": "/"}}]}, "hostPath"),
        ({"allowPrivilegeEscalation": True}, {}, "allowPrivilegeEscalation"),
        ({**SAFE, "runAsUser": 0}, {}, "runAsUser"),
    ],
    ids=["privileged", "host-network", "host-path", "escalation", "root"],
)
async def test_tenant_pod_with_host_access_is_rejected(
    kube: KubeClient, tenant: str, context: Object | None, spec: Object, violation: str
) -> None:
    message = await refused(kube.create(pod(tenant, context, **spec), field_manager=MANAGER))
    assert "violates PodSecurity" in message
    assert "restricted:v1.34" in message
    assert violation in message


async def test_unprivileged_tenant_pod_is_admitted(kube: KubeClient, tenant: str) -> None:
    await kube.create(pod(tenant), field_manager=MANAGER)


async def test_lowering_the_pod_security_level_needs_a_reason(kube: KubeClient, guard: None, tenant: str) -> None:
    def labels(change: Object) -> Any:
        return kube.patch("v1", "Namespace", tenant, {"metadata": change})

    privileged = {ENFORCE: "privileged"}
    assert "needs a reason" in await refused(labels({"labels": privileged}))
    assert "needs a reason" in await refused(labels({"labels": {ENFORCE: None}}))
    assert "needs a reason" in await refused(labels({"labels": {**privileged, "inferstack.dev/tenant": None}}))
    assert "needs a reason" in await refused(labels({"labels": privileged, "annotations": {EXCEPTION: "ok"}}))
    await labels({"labels": {ENFORCE: "baseline"}})
    await labels({"labels": privileged, "annotations": {EXCEPTION: REASON}})
    await kube.create(pod(tenant, {"privileged": True}), field_manager=MANAGER)
    # The reason cannot go while the level stays.
    assert "needs a reason" in await refused(labels({"annotations": {EXCEPTION: None}}))


async def test_guard_ignores_other_namespaces(kube: KubeClient, guard: None, namespace: str) -> None:
    await kube.patch("v1", "Namespace", namespace, {"metadata": {"labels": {ENFORCE: "privileged"}}})


async def test_guarded_tenant_can_be_deleted(kube: KubeClient, guard: None) -> None:
    name = f"tenant-{secrets.token_hex(4)}"
    await kube.create(make_namespace(name, Tenant()), field_manager=MANAGER)
    await kube.delete("v1", "Namespace", name, propagation="Background")

    async def gone() -> bool:
        return await kube.find("v1", "Namespace", name) is None

    await eventually(gone)


async def running(kube: KubeClient, namespace: str, node: str) -> Object:
    """Wait for the DaemonSet's pod on a node, and return it."""

    async def found() -> Object | None:
        pods = (await kube.list("v1", "Pod", namespace, fields=f"spec.nodeName={node}"))["items"]
        running = [pod for pod in pods if pod["status"].get("phase") == "Running"]
        return running[0] if running else None

    pod: Object = await eventually(found)
    return pod


async def test_kernel_agent_runs_on_selected_nodes(kube: KubeClient, node: str) -> None:
    given = {"enabled": True, "nodeSelector": {"nvidia.com/gpu.present": None, "test/node": node}}
    manifests = kernel.make_objects(load_role("kernel", KernelSettings, given), program("kernel"), "python:x")
    try:
        for manifest in manifests:
            await kube.apply(manifest, field_manager=MANAGER)
        pod = await running(kube, kernel.NAMESPACE, node)
        assert pod["spec"]["hostNetwork"] is True
        # Admission has put nothing back that the builder leaves out.
        assert [volume["name"] for volume in pod["spec"]["volumes"]] == ["agent", "config", "state", "run"]
        assert pod["spec"]["containers"][0]["securityContext"]["privileged"] is True
        again = [await kube.apply(manifest, field_manager=MANAGER) for manifest in manifests]
        assert again[-1]["metadata"]["generation"] == 1
    finally:
        for manifest in reversed(manifests):
            meta = manifest["metadata"]
            await kube.delete(
                manifest["apiVersion"], manifest["kind"], meta["name"], meta.get("namespace"), propagation="Background"
            )


async def test_baseline_namespace_rejects_the_kernel_agent(kube: KubeClient, namespace: str) -> None:
    await kube.patch("v1", "Namespace", namespace, {"metadata": {"labels": {ENFORCE: "baseline"}}})
    *_, daemon_set = kernel.make_objects(load_role("kernel", KernelSettings, {"enabled": True}), {}, "python:x")
    spec = copy.deepcopy(daemon_set["spec"]["template"]["spec"])
    alone = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "agent", "namespace": namespace}, "spec": spec}
    message = await refused(kube.create(alone, field_manager=MANAGER))
    assert "host namespaces" in message
    assert "privileged" in message


async def test_runtime_class_schedules_tenant_pods_to_nodes_with_the_shim(
    kube: KubeClient, tenant: str, node: str
) -> None:
    given = {
        "enabled": True,
        "shim": {"image": "localhost/shim:1", "sha256": "a" * 64},
        "nodeSelector": {"inferstack.dev/wasm": None, "test/node": node},
        "tolerations": [{"key": "wasm", "operator": "Exists"}],
        "runtimeClass": {"name": f"wasmedge-{secrets.token_hex(3)}"},
    }
    settings = load_role("wasm", WasmSettings, given)
    manifests = wasm.make_objects(settings, program("wasm"), "python:x")
    sample = Sample.model_validate({"tenant": tenant, "image": "localhost/chat:1", "replicas": 2, "cpu": "100m"})
    try:
        for manifest in manifests:
            await kube.apply(manifest, field_manager=MANAGER)
        await running(kube, wasm.NAMESPACE, node)
        await kube.apply(wasm.make_sample(sample, settings.runtime_class.name), field_manager=MANAGER)
        pod = await running(kube, tenant, node)
        assert pod["spec"]["runtimeClassName"] == settings.runtime_class.name
        assert pod["spec"]["nodeSelector"] == {"test/node": node}
        assert pod["spec"]["overhead"] == {"cpu": "10m", "memory": "32Mi"}
        assert {"key": "wasm", "operator": "Exists"} in pod["spec"]["tolerations"]
    finally:
        await kube.delete("apps/v1", "Deployment", "wasm-sample", tenant, propagation="Background")
        for manifest in reversed(manifests):
            meta = manifest["metadata"]
            await kube.delete(
                manifest["apiVersion"], manifest["kind"], meta["name"], meta.get("namespace"), propagation="Background"
            )


async def test_pod_with_unknown_runtime_class_is_rejected(kube: KubeClient, tenant: str) -> None:
    message = await refused(kube.create(pod(tenant, runtimeClassName="wasmedge-nowhere"), field_manager=MANAGER))
    assert "wasmedge-nowhere" in message
