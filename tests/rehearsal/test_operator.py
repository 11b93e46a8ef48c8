"""The operator on a real API server, as a process with no more rights than it asks for."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import psutil
import pytest

from inferstack.api import constants
from inferstack.apimachinery.objects import Object
from inferstack.k8s import KubeClient
from rehearsal.control_plane import Rehearsal
from tests.rehearsal.operator_process import MANAGER, Operator, serving

pytestmark = pytest.mark.rehearsal

VERSIONS = {
    "Deployment": "apps/v1",
    "Service": "v1",
    "PodDisruptionBudget": "policy/v1",
    "HorizontalPodAutoscaler": "autoscaling/v2",
}
AUTOSCALE = {"metrics": [{"type": "RequestsPerSecond", "target": 500}]}


@pytest.fixture(scope="module")
def operator(plane: Rehearsal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """A running operator, and nodes for replicas."""
    with serving(plane.kubeconfig, tmp_path_factory.mktemp("operator")) as running:
        yield running


class Jobs:
    """Jobs of one namespace, and waits on what becomes of them."""

    def __init__(self, kube: KubeClient, namespace: str) -> None:
        self.kube, self.namespace = kube, namespace

    async def create(self, name: str, **spec: Any) -> Object:
        requests = {"nvidia.com/gpu": 1}
        resources = {"requests": requests, "limits": requests}
        job = {
            "apiVersion": constants.API_VERSION,
            "kind": constants.KIND,
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"model": "bert-base-uncased", "replicas": 2, "resources": resources, **spec},
        }
        return await self.kube.create(job, field_manager=MANAGER)

    async def edit(self, name: str, **spec: Any) -> None:
        await self.patch(constants.KIND, name, {"spec": spec})

    async def patch(self, kind: str, name: str, body: Object, subresource: str | None = None) -> Object:
        version = VERSIONS.get(kind, constants.API_VERSION)
        return await self.kube.patch(
            version, kind, name, body, self.namespace, subresource=subresource, field_manager=MANAGER
        )

    async def delete(self, kind: str, name: str) -> None:
        version = VERSIONS.get(kind, constants.API_VERSION)
        await self.kube.delete(version, kind, name, self.namespace, propagation="Background")

    async def until(
        self, kind: str, name: str, condition: Callable[[Object | None], bool], seconds: float = 20
    ) -> Object | None:
        """Wait until an object, None while there is none, fulfils a condition."""
        version = VERSIONS.get(kind, constants.API_VERSION)
        latest: Object | None = None
        try:
            async with asyncio.timeout(seconds):
                listing = await self.kube.list(version, kind, self.namespace)
                latest = next((obj for obj in listing["items"] if obj["metadata"]["name"] == name), None)
                if condition(latest):
                    return latest
                since = listing["metadata"]["resourceVersion"]
                async for change, obj in self.kube.watch(
                    version, kind, self.namespace, fields=f"metadata.name={name}", since=since
                ):
                    if change != "BOOKMARK":
                        latest = None if change == "DELETED" else obj
                        if condition(latest):
                            return latest
        except TimeoutError:
            pass
        raise AssertionError(f"{kind} {name} after {seconds} s: {json.dumps(latest, indent=1)}")

    async def ready(self, name: str, count: str, seconds: float = 20) -> Object:
        """Wait until the job's latest spec is served by so many replicas."""

        def served(job: Object | None) -> bool:
            status = (job or {}).get("status", {})
            current = status.get("observedGeneration") == (job or {}).get("metadata", {}).get("generation")
            return bool(current) and status.get("ready") == count and condition_of(job, "Ready")["status"] == "True"

        served_job = await self.until(constants.KIND, name, served, seconds)
        assert served_job is not None
        return served_job

    async def degraded(self, name: str, reason: str, seconds: float = 5) -> str:
        """Wait until the job gives this reason; return the message."""
        current = await self.until(
            constants.KIND,
            name,
            lambda job: condition_of(job, "Degraded").items() >= {"status": "True", "reason": reason}.items(),
            seconds,
        )
        return str(condition_of(current, "Degraded")["message"])

    async def child(self, kind: str, name: str) -> Object:
        return await self.kube.get(VERSIONS[kind], kind, name, self.namespace)


def condition_of(job: Object | None, kind: str) -> Object:
    """Return a condition of a job; empty where it has none."""
    conditions = ((job or {}).get("status") or {}).get("conditions") or []
    return next((c for c in conditions if c["type"] == kind), {})


def gone(obj: Object | None) -> bool:
    """Return whether an object is no more."""
    return obj is None


def exists(obj: Object | None) -> bool:
    """Return whether an object is there and stays."""
    return obj is not None and "deletionTimestamp" not in obj["metadata"]


@pytest.fixture
async def jobs(operator: Operator, kube: KubeClient, namespace: str) -> AsyncIterator[Jobs]:
    """Jobs in a namespace of their own."""
    yield Jobs(kube, namespace)
    for job in (await kube.list(constants.API_VERSION, constants.KIND, namespace))["items"]:
        await kube.delete(constants.API_VERSION, constants.KIND, job["metadata"]["name"], namespace)


async def test_job_becomes_ready_with_its_children(jobs: Jobs) -> None:
    created = await jobs.create("nlp-model-001", replicas=8, autoscale=AUTOSCALE)
    job = await jobs.ready("nlp-model-001", "8/8")
    status = job["status"]
    assert {key: status[key] for key in ("replicas", "readyReplicas", "gpus", "profile", "runtime")} == {
        "replicas": 8,
        "readyReplicas": 8,
        "gpus": 8,
        "profile": "whole",
        "runtime": "text-embeddings-inference",
    }
    for kind in VERSIONS:
        child = await jobs.until(kind, "nlp-model-001", exists)
        assert child is not None
        owner = child["metadata"]["ownerReferences"]
        assert [(o["uid"], o["controller"], o["blockOwnerDeletion"]) for o in owner] == [
            (created["metadata"]["uid"], True, True)
        ]
    autoscaler = await jobs.child("HorizontalPodAutoscaler", "nlp-model-001")
    assert (autoscaler["spec"]["minReplicas"], autoscaler["spec"]["maxReplicas"]) == (1, 16)
    selected = await jobs.kube.list("v1", "Pod", jobs.namespace, labels=status["selector"])
    assert len(selected["items"]) == 8
    event = await _event(jobs, "AllReplicasReady")
    assert (event["type"], event["message"]) == ("Normal", "8 of 8 replicas serve bert-base-uncased")


async def _event(jobs: Jobs, reason: str) -> Object:
    async with asyncio.timeout(5):
        async for change, event in jobs.kube.watch("v1", "Event", jobs.namespace):
            if change == "ADDED" and event["reason"] == reason:
                return event
    raise AssertionError(reason)


async def test_edit_of_a_job_is_rolled_out(jobs: Jobs) -> None:
    await jobs.create("edited", priorityClassName="system-cluster-critical", env=[{"name": "A", "value": "1"}])
    await jobs.ready("edited", "2/2")
    await jobs.edit("edited", model="bert-large-uncased", priorityClassName=None, env=[{"name": "B", "value": "2"}])
    await jobs.ready("edited", "2/2")
    pod = (await jobs.child("Deployment", "edited"))["spec"]["template"]["spec"]
    assert "bert-large-uncased" in pod["containers"][0]["args"]
    # What the edit took away is gone too.
    assert [variable["name"] for variable in pod["containers"][0]["env"]] == ["HOME", "HF_HOME", "B"]
    assert "priorityClassName" not in pod
    await jobs.patch("InferenceJob", "edited", {"spec": {"replicas": 3}}, subresource="scale")
    await jobs.ready("edited", "3/3")
    await jobs.edit("edited", replicas=0)
    paused = await jobs.ready("edited", "0/0")
    assert condition_of(paused, "Ready")["reason"] == "Paused"


async def test_children_of_a_deleted_job_are_removed(jobs: Jobs) -> None:
    await jobs.create("gone", autoscale=AUTOSCALE)
    await jobs.ready("gone", "2/2")
    for kind in VERSIONS:
        await jobs.until(kind, "gone", exists)
    await jobs.delete(constants.KIND, "gone")
    for kind in VERSIONS:
        await jobs.until(kind, "gone", gone)


async def test_autoscaler_is_added_and_removed_and_owns_the_replicas(jobs: Jobs) -> None:
    await jobs.create("scaled")
    await jobs.ready("scaled", "2/2")
    await jobs.edit("scaled", autoscale=AUTOSCALE)
    await jobs.until("HorizontalPodAutoscaler", "scaled", exists)
    await jobs.patch("Deployment", "scaled", {"spec": {"replicas": 3}}, subresource="scale")  # as the autoscaler does
    await jobs.ready("scaled", "3/3")
    await jobs.edit("scaled", replicas=1)
    await jobs.ready("scaled", "1/1")
    await jobs.edit("scaled", autoscale=None)
    await jobs.until("HorizontalPodAutoscaler", "scaled", gone)


async def test_changed_and_deleted_children_are_repaired(jobs: Jobs) -> None:
    await jobs.create("mended")
    await jobs.ready("mended", "2/2")
    for kind in ("Service", "PodDisruptionBudget", "Deployment"):
        old = await jobs.until(kind, "mended", exists)
        assert old is not None
        uid = old["metadata"]["uid"]
        await jobs.delete(kind, "mended")
        await jobs.until(kind, "mended", lambda obj, uid=uid: exists(obj) and obj["metadata"]["uid"] != uid)  # type: ignore[misc]  # the default binds the loop's value
    await jobs.ready("mended", "2/2")
    await jobs.patch(
        "Deployment", "mended", {"spec": {"replicas": 1, "template": {"spec": {"priorityClassName": "x"}}}}
    )
    await jobs.patch("Service", "mended", {"metadata": {"labels": {"inferstack.dev/job": None}}})
    await jobs.until("Deployment", "mended", lambda obj: obj is not None and obj["spec"]["replicas"] == 2)
    await jobs.until(
        "Service", "mended", lambda obj: obj is not None and "inferstack.dev/job" in obj["metadata"]["labels"]
    )


async def test_quota_exceeded_sets_condition(jobs: Jobs) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "gpus", "namespace": jobs.namespace},
        "spec": {"hard": {"requests.nvidia.com/gpu": "2"}},
    }
    await jobs.kube.apply(quota, field_manager=MANAGER)
    await jobs.create("greedy", replicas=3)
    message = await jobs.degraded("greedy", "QuotaExceeded")
    for part in ("1 of 3 pods not created", "quota gpus", "requests.nvidia.com/gpu: requested 1, used 2, limited 2"):
        assert part in message
    assert (await _event(jobs, "QuotaExceeded"))["type"] == "Warning"


async def test_insufficient_gpus_set_condition(jobs: Jobs) -> None:
    huge = {"nvidia.com/gpu": 16}
    await jobs.create("huge", resources={"requests": huge, "limits": huge})
    message = await jobs.degraded("huge", "Unschedulable")
    assert message.startswith("insufficient nvidia.com/gpu on ")
    await jobs.until(constants.KIND, "huge", lambda job: "2 of 2 pods pending" in condition_of(job, "Ready")["message"])
    resources = {"nvidia.com/gpu": 1}
    await jobs.edit("huge", resources={"requests": resources, "limits": resources})
    await jobs.ready("huge", "2/2")


async def test_service_of_another_owner_sets_name_taken(jobs: Jobs) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "taken", "namespace": jobs.namespace},
        "spec": {"ports": [{"port": 1234}]},
    }
    await jobs.kube.create(service, field_manager=MANAGER)
    await jobs.create("taken")
    assert "Service taken" in await jobs.degraded("taken", "NameTaken")
    assert (await jobs.child("Service", "taken"))["spec"]["ports"][0]["port"] == 1234


async def test_killed_operator_resumes(operator: Operator, jobs: Jobs) -> None:
    await jobs.create("old")
    await jobs.ready("old", "2/2")
    before = {kind: await jobs.until(kind, "old", exists) for kind in ("Deployment", "Service", "PodDisruptionBudget")}
    await jobs.create("half-done")
    assert operator.end(signal.SIGKILL) == -signal.SIGKILL
    await jobs.create("meanwhile")
    await jobs.delete("PodDisruptionBudget", "old")
    operator.start()
    await operator.healthy()
    for name in ("half-done", "meanwhile", "old"):
        await jobs.ready(name, "2/2")
    await jobs.until("PodDisruptionBudget", "old", exists)
    for kind in ("Deployment", "Service"):
        was, now = before[kind], await jobs.child(kind, "old")
        assert was is not None
        assert (now["metadata"]["uid"], now["spec"]) == (was["metadata"]["uid"], was["spec"])
    pods = await jobs.kube.list("v1", "Pod", jobs.namespace)
    assert len(pods["items"]) == 6


async def test_operator_survives_an_api_server_restart(plane: Rehearsal, operator: Operator, jobs: Jobs) -> None:
    assert "forbidden" not in operator.log.read_text()  # the rights that it asks for are enough
    pid = next(part.pid for part in plane.status() if part.name == "kube-apiserver")
    assert pid is not None
    psutil.Process(pid).kill()
    plane.start(lambda _: None)
    await jobs.create("after")
    await jobs.ready("after", "2/2", seconds=40)
