"""The agent plays Fluid: Datasets are bound, loaded, mounted and let go of, and jobs wait for them as told."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from inferstack.api import constants
from inferstack.apimachinery.objects import Object
from inferstack.k8s import KubeClient
from rehearsal.control_plane import Rehearsal
from rehearsal.simulators.fluid.status import API_VERSION, MISSING, SECONDS
from tests.rehearsal.kinds import crds_of, served
from tests.rehearsal.operator_process import MANAGER, Operator, serving

pytestmark = pytest.mark.rehearsal

Apply = Callable[..., Awaitable[Object]]
ONE = {"nvidia.com/gpu": 1}


@pytest.fixture(scope="module")
def kinds(plane: Rehearsal) -> Iterator[None]:
    """Fluid's kinds, as a stack of the rehearsal brings them."""
    with served(plane, crds_of("fluid")):
        yield


@pytest.fixture(scope="module")
def operator(plane: Rehearsal, kinds: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """A running operator, and nodes for replicas and workers."""
    with serving(plane.kubeconfig, tmp_path_factory.mktemp("operator")) as running:
        yield running


class Space:
    """What is in one namespace."""

    def __init__(self, kube: KubeClient, namespace: str) -> None:
        self.kube, self.namespace = kube, namespace

    async def apply(
        self, kind: str, name: str, spec: Object, api_version: str = API_VERSION, *, notes: Object | None = None
    ) -> Object:
        meta = {"name": name, "namespace": self.namespace, "annotations": notes or {}}
        obj = {"apiVersion": api_version, "kind": kind, "metadata": meta, "spec": spec}
        return await self.kube.apply(obj, field_manager=MANAGER)

    async def dataset(
        self, name: str = "bert", *, mount: str = "s3://models/bert", notes: Object | None = None
    ) -> None:
        await self.apply("Dataset", name, {"mounts": [{"mountPoint": mount, "path": "/"}]}, notes=notes)

    async def runtime(self, name: str = "bert", *, replicas: int = 2, notes: Object | None = None) -> None:
        level = {"mediumtype": "MEM", "path": "/cache", "quota": "4Gi", "high": "0.95", "low": "0.7"}
        await self.apply(
            "AlluxioRuntime", name, {"replicas": replicas, "tieredstore": {"levels": [level]}}, notes=notes
        )

    async def load(self, name: str = "load", *, paths: tuple[str, ...] = ("/",), notes: Object | None = None) -> None:
        target = [{"path": path, "replicas": 1} for path in paths]
        spec = {"dataset": {"name": "bert", "namespace": self.namespace}, "loadMetadata": True, "target": target}
        await self.apply("DataLoad", name, spec, notes=notes)

    async def job(self, name: str = "nlp", **cache: Any) -> None:
        resources = {"requests": dict(ONE), "limits": dict(ONE)}
        spec = {"model": "bert-base-uncased", "replicas": 2, "resources": resources}
        await self.apply(constants.KIND, name, {**spec, "cache": {"dataset": "bert", **cache}}, constants.API_VERSION)

    async def find(self, kind: str, name: str, api_version: str = API_VERSION) -> Object | None:
        return await self.kube.find(api_version, kind, name, self.namespace)

    async def delete(self, kind: str, name: str, api_version: str = API_VERSION) -> None:
        await self.kube.delete(api_version, kind, name, self.namespace, propagation="Background")

    async def until(
        self, kind: str, name: str, holds: Callable[[Object], bool], api_version: str = API_VERSION, seconds: float = 20
    ) -> Object:
        """Wait until an object, an empty one where there is none, is as it should be."""
        last: Object = {}
        try:
            async with asyncio.timeout(seconds):
                while True:
                    last = await self.find(kind, name, api_version) or {}
                    if holds(last):
                        return last
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{kind} {name} after {seconds} s: {json.dumps(last, indent=1)}") from None

    async def phase(self, kind: str, name: str, wanted: str, seconds: float = 20) -> Object:
        return await self.until(kind, name, lambda obj: obj.get("status", {}).get("phase") == wanted, seconds=seconds)

    async def condition(self, name: str, kind: str, status: str, reason: str, seconds: float = 20) -> Object:
        """Wait until a job says something."""

        def says(job: Object) -> bool:
            conditions = job.get("status", {}).get("conditions") or []
            return any((c["type"], c["status"], c["reason"]) == (kind, status, reason) for c in conditions)

        return await self.until(constants.KIND, name, says, constants.API_VERSION, seconds)

    async def pods(self) -> list[Object]:
        return list((await self.kube.list("v1", "Pod", self.namespace))["items"])


def gone(obj: Object) -> bool:
    return obj == {}


@pytest.fixture
async def space(operator: Operator, kube: KubeClient, namespace: str) -> AsyncIterator[Space]:
    """An empty namespace; what a test leaves in it must go with it."""
    here = Space(kube, namespace)
    yield here
    for api_version, kind in (
        (constants.API_VERSION, constants.KIND),
        (API_VERSION, "DataLoad"),
        (API_VERSION, "AlluxioRuntime"),
        (API_VERSION, "Dataset"),
    ):
        for obj in (await kube.list(api_version, kind, namespace))["items"]:
            await here.delete(kind, obj["metadata"]["name"], api_version)
            await here.until(kind, obj["metadata"]["name"], gone, api_version)
    assert await kube.find("v1", "PersistentVolume", f"{namespace}-bert") is None


async def test_runtime_binds_its_dataset_and_claim(space: Space, kube: KubeClient) -> None:
    await space.dataset()
    unbound = await space.phase("Dataset", "bert", "NotBound")
    assert unbound["metadata"]["finalizers"] == ["fluid-dataset-controller-finalizer"]
    assert await space.find("PersistentVolumeClaim", "bert", "v1") is None
    await space.runtime()
    bound = await space.phase("Dataset", "bert", "Bound")
    assert bound["status"]["ufsTotal"] == "420.05MiB"
    assert bound["status"]["cacheStates"] == {
        "cacheCapacity": "8.00GiB",
        "cached": "0.00B",
        "cachedPercentage": "0.0%",
    }
    runtime = await space.find("AlluxioRuntime", "bert")
    assert runtime is not None
    phases = {key: runtime["status"][key] for key in ("masterPhase", "workerPhase", "fusePhase", "workerNumberReady")}
    assert phases == {"masterPhase": "Ready", "workerPhase": "Ready", "fusePhase": "Ready", "workerNumberReady": 2}
    assert runtime["metadata"]["ownerReferences"][0]["uid"] == bound["metadata"]["uid"]
    claim = await space.until(
        "PersistentVolumeClaim", "bert", lambda c: c.get("status", {}).get("phase") == "Bound", "v1", 20
    )
    assert claim["spec"]["volumeName"] == f"{space.namespace}-bert"
    volume = await kube.get("v1", "PersistentVolume", f"{space.namespace}-bert")
    assert (volume["status"]["phase"], volume["spec"]["storageClassName"]) == ("Bound", "fluid")


async def test_data_load_progress_shows_on_the_dataset(space: Space) -> None:
    await space.dataset()
    await space.runtime()
    await space.load(notes={SECONDS: "2"})
    running = await space.until("Dataset", "bert", lambda d: bool(d.get("status", {}).get("operationRef")))
    assert running["status"]["operationRef"] == {"DataLoad": "load"}
    part = await space.until(
        "Dataset",
        "bert",
        lambda d: d["status"].get("cacheStates", {}).get("cachedPercentage", "0.0%") not in ("0.0%", "100.0%"),
    )
    assert part["status"]["cacheStates"]["cachedPercentage"] in ("25.0%", "50.0%", "75.0%")
    done = await space.phase("DataLoad", "load", "Complete")
    assert done["status"]["conditions"][0]["type"] == "Complete"
    whole = await space.until("Dataset", "bert", lambda d: d["status"]["cacheStates"]["cachedPercentage"] == "100.0%")
    assert "operationRef" not in whole["status"]


async def test_data_loads_run_one_at_a_time(space: Space) -> None:
    await space.dataset()
    await space.runtime()
    await space.load("first", notes={SECONDS: "1"})
    await space.phase("DataLoad", "first", "Executing")
    await space.load("second", notes={SECONDS: "0.1"})
    waiting = await space.phase("DataLoad", "second", "Pending")
    first = await space.find("DataLoad", "first")
    assert first is not None
    assert (first["status"]["phase"], waiting["status"]["phase"]) == ("Executing", "Pending")
    await space.phase("DataLoad", "second", "Complete")


async def test_data_load_of_a_missing_path_fails(space: Space) -> None:
    await space.dataset(notes={MISSING: "/lost"})
    await space.runtime()
    await space.load(paths=("/there", "/lost"))
    failed = await space.phase("DataLoad", "load", "Failed")
    assert failed["status"]["conditions"][0]["message"] == "the buckets have no /lost"
    await space.job()
    job = await space.condition("nlp", "Degraded", "True", "CacheLoadFailed")
    assert "the buckets have no /lost" in json.dumps(job["status"])
    assert await space.pods() == []


async def test_dataset_stays_unbound_without_nodes_for_workers(space: Space) -> None:
    rule = {"key": "inferstack.dev/none", "operator": "In", "values": ["x"]}
    affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": [rule]}]}}
    await space.apply("Dataset", "bert", {"mounts": [{"mountPoint": "s3://m/b"}], "nodeAffinity": affinity})
    await space.runtime()
    await space.until("AlluxioRuntime", "bert", lambda r: r.get("status", {}).get("masterPhase") == "Ready")
    runtime = await space.find("AlluxioRuntime", "bert")
    assert runtime is not None
    assert runtime["status"]["workerPhase"] == "NotReady"
    await space.job()
    job = await space.condition("nlp", "CacheReady", "False", "DatasetNotBound")
    assert job["status"]["ready"] == "0/2"
    await space.apply("Dataset", "bert", {"mounts": [{"mountPoint": "s3://m/b"}]})
    await space.condition("nlp", "Ready", "True", "AllReplicasReady")


async def test_job_waits_for_its_cache_to_warm(space: Space) -> None:
    await space.job(path="/base")
    missing = await space.condition("nlp", "Degraded", "True", "DatasetMissing")
    assert f"namespace {space.namespace} has no Dataset bert" in json.dumps(missing["status"])
    await space.dataset()
    await space.condition("nlp", "Progressing", "True", "DatasetNotBound")
    await space.runtime()
    await space.load(notes={SECONDS: "2"})
    await space.condition("nlp", "Progressing", "True", "CacheLoading")
    assert await space.find("Deployment", "nlp", "apps/v1") is None
    job = await space.condition("nlp", "Ready", "True", "AllReplicasReady")
    assert job["status"]["ready"] == "2/2"
    assert (await space.phase("DataLoad", "load", "Complete", 1))["status"]["phase"] == "Complete"
    pods = await space.pods()
    assert len(pods) == 2
    for pod in pods:
        claims = [volume.get("persistentVolumeClaim") for volume in pod["spec"]["volumes"]]
        assert {"claimName": "bert", "readOnly": True} in claims
        assert "/models/base" in pod["spec"]["containers"][0]["args"]


async def test_job_started_without_cache_mounts_it_at_the_next_change(space: Space, kube: KubeClient) -> None:
    await space.job(whenCold="StartDegraded")
    await space.condition("nlp", "Ready", "True", "AllReplicasReady")
    await space.condition("nlp", "Degraded", "True", "StartedWithoutCache")
    before = {pod["metadata"]["uid"] for pod in await space.pods()}
    await space.dataset()
    await space.runtime()
    await space.load(notes={SECONDS: "0.1"})
    job = await space.until(
        constants.KIND, "nlp", lambda j: "any change of the job" in json.dumps(j["status"]), constants.API_VERSION
    )
    assert {pod["metadata"]["uid"] for pod in await space.pods()} == before
    body = {"spec": {"env": [{"name": "LOG_LEVEL", "value": "info"}]}}
    await kube.patch(constants.API_VERSION, constants.KIND, "nlp", body, space.namespace)
    await space.condition("nlp", "CacheReady", "True", "CacheWarm")
    after = await space.until(
        constants.KIND,
        "nlp",
        lambda j: j["status"]["observedGeneration"] > job["metadata"]["generation"] and j["status"]["ready"] == "2/2",
        constants.API_VERSION,
    )
    assert after["status"]["ready"] == "2/2"
    await space.condition("nlp", "Degraded", "False", "AsExpected")
    deployment = await space.find("Deployment", "nlp", "apps/v1")
    assert deployment is not None
    volumes = deployment["spec"]["template"]["spec"]["volumes"]
    assert [v["persistentVolumeClaim"]["claimName"] for v in volumes if "persistentVolumeClaim" in v] == ["bert"]


async def test_cache_wait_timeout_is_reported(space: Space) -> None:
    await space.dataset()
    await space.job(timeoutSeconds=6)
    await space.condition("nlp", "Progressing", "True", "DatasetNotBound")
    await space.condition("nlp", "Degraded", "True", "CacheTimeout")
    await space.runtime()
    await space.condition("nlp", "Ready", "True", "AllReplicasReady")


async def test_reference_dataset_is_mounted_from_its_own_namespace(space: Space, kube: KubeClient) -> None:
    other = f"{space.namespace}-caches"
    await kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": other}}, field_manager=MANAGER)
    home = Space(kube, other)
    await home.dataset()
    await home.runtime()
    await home.load(notes={SECONDS: "1"})
    await space.dataset(mount=f"dataset://{other}/bert")
    await space.job()
    await space.condition("nlp", "CacheReady", "False", "CacheLoading")
    await space.condition("nlp", "Ready", "True", "AllReplicasReady")
    physical = await home.until("Dataset", "bert", lambda d: bool(d["status"].get("datasetRef")))
    assert physical["status"]["datasetRef"] == [f"{space.namespace}/bert"]
    reference = await space.phase("Dataset", "bert", "Bound")
    assert reference["status"]["runtimes"][0]["type"] == "thin"
    volume = await kube.get("v1", "PersistentVolume", f"{space.namespace}-bert")
    assert volume["spec"]["csi"]["volumeAttributes"]["runtime_namespace"] == other
    # What another stands for does not go before it.
    await home.delete("Dataset", "bert")
    await asyncio.sleep(1)
    assert await home.find("Dataset", "bert") is not None
    await space.delete(constants.KIND, "nlp", constants.API_VERSION)
    await space.delete("Dataset", "bert")
    await space.until("Dataset", "bert", gone)
    await home.until("Dataset", "bert", gone)
    for kind in ("DataLoad", "AlluxioRuntime"):
        await home.delete(kind, "load" if kind == "DataLoad" else "bert")
        await home.until(kind, "load" if kind == "DataLoad" else "bert", gone)
    await kube.delete("v1", "Namespace", other, propagation="Background")


async def test_claim_in_use_is_kept_until_its_pods_end(space: Space, kube: KubeClient) -> None:
    await space.dataset()
    await space.runtime()
    await space.job()
    await space.condition("nlp", "Ready", "True", "AllReplicasReady")
    await space.delete("Dataset", "bert")
    await space.delete("AlluxioRuntime", "bert")
    await space.condition("nlp", "Degraded", "True", "DatasetNotBound")
    claim = await space.find("PersistentVolumeClaim", "bert", "v1")
    assert claim is not None
    assert await space.find("Dataset", "bert") is not None
    assert len(await space.pods()) == 2
    await space.delete(constants.KIND, "nlp", constants.API_VERSION)
    for kind in ("AlluxioRuntime", "Dataset"):
        await space.until(kind, "bert", gone)
    await space.until("PersistentVolumeClaim", "bert", gone, "v1")
    attachments = await kube.list("storage.k8s.io/v1", "VolumeAttachment")
    assert attachments["items"] == []


async def test_killed_agent_resumes_a_data_load(space: Space, plane: Rehearsal) -> None:
    await space.dataset()
    await space.runtime()
    await space.load(notes={SECONDS: "3"})
    await space.phase("DataLoad", "load", "Executing")
    await space.until(
        "Dataset", "bert", lambda d: d["status"].get("cacheStates", {}).get("cachedPercentage", "0.0%") != "0.0%"
    )
    os.kill(next(part.pid for part in plane.status() if part.name == "agent" and part.pid), signal.SIGKILL)
    await asyncio.to_thread(plane.start, lambda _: None)
    await space.phase("DataLoad", "load", "Complete", 30)
    await space.job()
    await space.condition("nlp", "Ready", "True", "AllReplicasReady", 30)
