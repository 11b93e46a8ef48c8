"""KEDA's kinds and the agent that plays its operator, on a real API server."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from components.autoscaling.scaled import API_VERSION, make_authentication, make_scaled_object
from components.autoscaling.settings import Authentication, ScaledJob
from inferstack.api import InferenceJobSpec, crds
from inferstack.apimachinery.objects import Object
from inferstack.k8s import ApiError, KubeClient
from rehearsal.control_plane import Rehearsal
from rehearsal.simulators.keda.objects import FINALIZER, HPA, HPA_VERSION, NAME_LABEL
from tests.rehearsal.kinds import crds_of, served

pytestmark = pytest.mark.rehearsal

MANAGER = "test"
ONE = {"nvidia.com/gpu": 1}
SPEC: Object = {"model": "Qwen/Qwen2.5-7B-Instruct", "resources": {"requests": ONE, "limits": ONE}}
URL = "http://prometheus.invalid:9090"
GATEWAY = {"query": "sum(rate(istio_requests_total[1m]))", "threshold": "10", "activationThreshold": "1"}


@pytest.fixture(scope="module")
def kinds(plane: Rehearsal) -> Iterator[None]:
    """KEDA's kinds, as a stack of the rehearsal brings them, and ours."""

    async def install() -> None:
        async with await KubeClient.connect(plane.kubeconfig) as kube:
            for crd in crds():
                await kube.apply(crd, field_manager=MANAGER)
                await _until(kube, crd, lambda obj: _condition(obj, "Established") == "True")

    asyncio.run(install())
    with served(plane, crds_of("keda")):
        yield


def _condition(obj: Object, kind: str, key: str = "status") -> str | None:
    conditions = (obj.get("status") or {}).get("conditions") or []
    return next((condition[key] for condition in conditions if condition["type"] == kind), None)


async def _until(kube: KubeClient, obj: Object, holds: Callable[[Object], bool], *, seconds: float = 20) -> Object:
    """Wait until an object is as it should be, and return it."""
    meta = obj["metadata"]
    current: Object | None = None
    try:
        async with asyncio.timeout(seconds):
            while True:
                current = await kube.find(obj["apiVersion"], obj["kind"], meta["name"], meta.get("namespace"))
                if current is not None and holds(current):
                    return current
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{obj['kind']} {meta['name']} after {seconds} s: {current}") from None


async def _gone(kube: KubeClient, obj: Object, *, seconds: float = 20) -> None:
    meta = obj["metadata"]
    async with asyncio.timeout(seconds):
        while await kube.find(obj["apiVersion"], obj["kind"], meta["name"], meta["namespace"]):  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def _job(kube: KubeClient, namespace: str, name: str = "chat") -> Object:
    """Make a job as the operator would leave it: its selector is what an autoscaler finds pods by."""
    meta = {"name": name, "namespace": namespace}
    job = {"apiVersion": "deepseek.ai/v1", "kind": "InferenceJob", "metadata": meta, "spec": SPEC}
    created = await kube.apply(job, field_manager=MANAGER)
    status = {"status": {"selector": f"inferstack.dev/job={name}", "replicas": 1}}
    await kube.patch("deepseek.ai/v1", "InferenceJob", name, status, namespace, subresource="status")
    return created


def _scaled(namespace: str, **given: Any) -> Object:
    values = {"job": f"{namespace}/chat", "maxReplicas": 6, "metrics": [{"type": "QueueDepth", "target": 4}], **given}
    scaled_object = make_scaled_object(ScaledJob.model_validate(values), InferenceJobSpec.model_validate(SPEC), URL)
    return {**scaled_object, "metadata": {**scaled_object["metadata"], "annotations": {}}}


def _hpa(namespace: str, name: str = "keda-hpa-chat") -> Object:
    return {"apiVersion": HPA_VERSION, "kind": HPA, "metadata": {"name": name, "namespace": namespace}}


async def test_keda_objects_are_stored_unchanged(kube: KubeClient, kinds: None, namespace: str) -> None:
    proof = {"namespace": namespace, "name": "sqs", "secrets": [{"parameter": "p", "name": "s", "key": "k"}]}
    whole = _scaled(
        namespace,
        minReplicas=0,
        triggers=[
            {"type": "prometheus", "metadata": GATEWAY, "name": "gateway", "metricType": "Value"},
            {"type": "aws-sqs-queue", "metadata": {"queueURL": "q", "awsRegion": "r"}, "authentication": "sqs"},
        ],
        fallback={"replicas": 2},
    )
    for manifest in (make_authentication(Authentication.model_validate(proof)), whole):
        await kube.apply(manifest, field_manager=MANAGER, dry_run=True)
    whole["spec"]["triggers"][0]["metadata"]["threshold"] = 10
    with pytest.raises(ApiError, match="threshold"):
        await kube.apply(whole, field_manager=MANAGER, dry_run=True)


async def test_scaled_object_gets_an_hpa_and_is_ready(kube: KubeClient, kinds: None, namespace: str) -> None:
    await _job(kube, namespace)
    scaled = await kube.apply(_scaled(namespace), field_manager=MANAGER)
    ready = await _until(kube, scaled, lambda obj: _condition(obj, "Ready") == "True")
    assert ready["metadata"]["finalizers"] == [FINALIZER]
    assert ready["metadata"]["labels"][NAME_LABEL] == "chat"
    status = ready["status"]
    assert status["scaleTargetKind"] == "deepseek.ai/v1.InferenceJob"
    assert status["scaleTargetGVKR"]["resource"] == "inferencejobs"
    assert (status["hpaName"], status["externalMetricNames"]) == ("keda-hpa-chat", ["s0-prometheus"])
    assert (status["originalReplicaCount"], status["triggersTypes"]) == (1, "prometheus")
    assert (_condition(ready, "Active"), _condition(ready, "Active", "reason")) == ("Unknown", "Rehearsed")
    hpa = await _until(kube, _hpa(namespace), lambda _: True)
    assert hpa["spec"]["scaleTargetRef"]["kind"] == "InferenceJob"
    assert (hpa["spec"]["minReplicas"], hpa["spec"]["maxReplicas"]) == (1, 6)
    assert hpa["metadata"]["ownerReferences"][0]["uid"] == scaled["metadata"]["uid"]


async def test_hpa_reports_a_missing_metrics_api(kube: KubeClient, kinds: None, namespace: str) -> None:
    await _job(kube, namespace)
    scaled = await kube.apply(_scaled(namespace), field_manager=MANAGER)
    # The cluster's controller looks each 15 s.
    current = await _until(kube, scaled, lambda obj: _condition(obj, "HPAActive") == "False", seconds=45)
    assert "FailedGetExternalMetric" in str(_condition(current, "HPAActive", "message"))
    assert _condition(current, "Ready") == "True"


async def test_change_updates_the_hpa_and_pause_removes_it(kube: KubeClient, kinds: None, namespace: str) -> None:
    job = await _job(kube, namespace)
    scaled = await kube.apply(_scaled(namespace), field_manager=MANAGER)
    await _until(kube, _hpa(namespace), lambda _: True)
    await kube.apply(_scaled(namespace, maxReplicas=9), field_manager=MANAGER)
    await _until(kube, _hpa(namespace), lambda hpa: hpa["spec"]["maxReplicas"] == 9)
    paused = {"metadata": {"annotations": {"autoscaling.keda.sh/paused-replicas": "3"}}}
    await kube.patch(API_VERSION, "ScaledObject", "chat", paused, namespace)
    await _gone(kube, _hpa(namespace))
    await _until(kube, job, lambda obj: obj["spec"]["replicas"] == 3)
    current = await _until(kube, scaled, lambda obj: _condition(obj, "Paused") == "True")
    assert current["status"]["pausedReplicaCount"] == 3
    assert "hpaName" not in current["status"]
    await kube.patch(
        API_VERSION,
        "ScaledObject",
        "chat",
        {"metadata": {"annotations": {"autoscaling.keda.sh/paused-replicas": None}}},
        namespace,
    )
    await _until(kube, _hpa(namespace), lambda _: True)
    current = await _until(kube, scaled, lambda obj: _condition(obj, "Paused") == "False")
    assert "pausedReplicaCount" not in current["status"]


async def test_scale_target_created_later_is_found(kube: KubeClient, kinds: None, namespace: str) -> None:
    scaled = await kube.apply(_scaled(namespace), field_manager=MANAGER)
    current = await _until(kube, scaled, lambda obj: _condition(obj, "Ready") == "False")
    assert _condition(current, "Ready", "reason") == "ScaledObjectCheckFailed"
    assert "InferenceJob chat, is not there" in str(_condition(current, "Ready", "message"))
    assert await kube.find(HPA_VERSION, HPA, "keda-hpa-chat", namespace) is None
    await _job(kube, namespace)
    await _until(kube, scaled, lambda obj: _condition(obj, "Ready") == "True")


async def test_deleted_scaled_object_drops_its_finalizer(kube: KubeClient, kinds: None, namespace: str) -> None:
    await _job(kube, namespace)
    scaled = await kube.apply(_scaled(namespace), field_manager=MANAGER)
    await _until(kube, _hpa(namespace), lambda _: True)
    await kube.delete(API_VERSION, "ScaledObject", "chat", namespace, propagation="Background")
    await _gone(kube, scaled)
    await _gone(kube, _hpa(namespace))


async def test_agent_restart_changes_nothing_and_misses_no_deletion(
    plane: Rehearsal, kube: KubeClient, kinds: None, namespace: str
) -> None:
    await _job(kube, namespace)
    scaled = await kube.apply(_scaled(namespace), field_manager=MANAGER)
    before = await _until(kube, scaled, lambda obj: _condition(obj, "Ready") == "True")
    autoscaler = await _until(kube, _hpa(namespace), lambda _: True)
    (agent,) = [status for status in plane.status() if status.name == "agent"]
    assert agent.pid
    os.kill(agent.pid, signal.SIGKILL)
    await kube.delete(API_VERSION, "ScaledObject", "chat", namespace, propagation="Background")
    waiting = await _until(kube, scaled, lambda obj: obj["metadata"].get("deletionTimestamp"))
    assert waiting["status"]["conditions"][0] == before["status"]["conditions"][0]
    assert (await _until(kube, _hpa(namespace), lambda _: True))["metadata"]["uid"] == autoscaler["metadata"]["uid"]
    await asyncio.to_thread(plane.start, lambda _: None)
    await _gone(kube, scaled)
    await _gone(kube, _hpa(namespace))
