"""What the agent says in Fluid's place: statuses that Fluid's own kinds take, and volumes that bind."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from components.addon.catalogue import load as load_catalogue
from components.addon.plan import rehearsed_crds
from inferstack.apimachinery.objects import Object
from rehearsal.simulators.fluid import status, volume
from tests.unit.api.structural import faults

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
CREATED = "2026-01-01T11:59:00Z"
SCHEMAS = {
    crd["spec"]["names"]["kind"]: crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["status"]
    for crd in rehearsed_crds("fluid", load_catalogue()["fluid"])
}


def meta(name: str = "bert", **annotations: str) -> Object:
    return {
        "name": name,
        "namespace": "caches",
        "uid": "8f7c",
        "creationTimestamp": CREATED,
        "annotations": annotations,
    }


def dataset(mount: str = "s3://models/bert", observed: Object | None = None, notes: Object | None = None) -> Object:
    resource: Object = {
        "kind": "Dataset",
        "metadata": meta(**notes or {}),
        "spec": {"mounts": [{"mountPoint": mount}]},
    }
    return {**resource, "status": observed} if observed else resource


def runtime(replicas: int = 2, *, nodes: int = 5, now: datetime = NOW, notes: Object | None = None) -> Object:
    levels = [
        {"mediumtype": "MEM", "path": "/dev/shm", "quota": "1Gi"},  # noqa: S108
        {"mediumtype": "SSD", "path": "/a,/b", "quotaList": "2Gi,512Mi"},
    ]
    spec = {"replicas": replicas, "tieredstore": {"levels": levels}}
    resource: Object = {"kind": "AlluxioRuntime", "metadata": meta(**notes or {}), "spec": spec}
    observed, _ = status.runtime_status(resource, nodes=nodes, now=now)
    return {**resource, "status": observed}


def load(phase: str | None = None, started: datetime | None = None, /, *paths: str, **spec: Any) -> Object:
    notes = {status.SECONDS: "8", **({status.STARTED: started.isoformat()} if started else {})}
    targets = [{"path": path} for path in paths or ("/",)]
    resource: Object = {"kind": "DataLoad", "metadata": meta("load", **notes)}
    resource["spec"] = {"dataset": {"name": "bert"}, "target": targets, **spec}
    return {**resource, "status": {"phase": phase}} if phase else resource


def good(kind: str, observed: Object) -> Object:
    """Return a status that the kind takes as it is: the API server drops what a schema lacks."""
    assert list(faults(SCHEMAS[kind], observed)) == []
    return observed


def bound() -> Object:
    return dataset(observed=status.dataset_status(dataset(), runtime(), [], [], NOW))


@pytest.mark.parametrize(
    ("replicas", "nodes", "phase", "ready"),
    [(2, 5, "Ready", 2), (2, 1, "PartialReady", 1), (2, 0, "NotReady", 0), (0, 5, "Ready", 0)],
)
def test_each_worker_needs_its_own_node(replicas: int, nodes: int, phase: str, ready: int) -> None:
    observed = good("AlluxioRuntime", runtime(replicas, nodes=nodes)["status"])
    assert (observed["workerPhase"], observed["workerNumberReady"], observed["masterPhase"]) == (phase, ready, "Ready")
    assert (observed["desiredWorkerNumberScheduled"], observed["workerNumberUnavailable"]) == (
        replicas,
        replicas - ready,
    )
    assert status.ready(runtime(replicas, nodes=nodes)) is (phase != "NotReady")


def test_runtime_is_ready_after_its_start_duration() -> None:
    slow = runtime(notes={status.SECONDS: "90"})
    assert {slow["status"][f"{part}Phase"] for part in ("master", "worker", "fuse")} == {"NotReady"}
    assert status.runtime_status(slow, nodes=5, now=NOW)[1] == 30
    assert status.ready(runtime(now=NOW + timedelta(seconds=31), notes={status.SECONDS: "90"}))


def test_terminating_runtime_does_not_serve() -> None:
    going = runtime()
    going["metadata"]["deletionTimestamp"] = CREATED
    assert not status.ready(going)
    assert good("Dataset", status.dataset_status(bound(), going, [], [], NOW))["phase"] == "NotBound"


@pytest.mark.parametrize(
    ("operator", "values", "labels", "selected"),
    [
        ("In", ["a"], {"k": "a"}, True),
        ("In", ["a"], {"k": "b"}, False),
        ("In", ["a"], {}, False),
        ("NotIn", ["a"], {}, True),
        ("NotIn", ["a"], {"k": "a"}, False),
        ("Exists", None, {"k": ""}, True),
        ("Exists", None, {}, False),
        ("DoesNotExist", None, {}, True),
        ("Gt", ["1"], {"k": "2"}, False),
    ],
)
def test_node_affinity_selects_nodes_by_label(
    operator: str, values: list[str] | None, labels: dict[str, str], selected: bool
) -> None:
    rule = {"key": "k", "operator": operator, "values": values}
    affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": [rule]}]}}
    assert status.selects({"spec": {"nodeAffinity": affinity}}, labels) is selected
    assert status.selects({"spec": {}}, labels)


def test_ready_runtime_binds_dataset() -> None:
    assert good("Dataset", status.dataset_status(dataset(), None, [], [], NOW)) == {
        "phase": "NotBound",
        "conditions": [],
    }
    observed = good("Dataset", bound()["status"])
    assert observed["phase"] == "Bound"
    # Two workers with 1 GiB of memory and 2.5 GiB on disks each.
    assert observed["cacheStates"] == {"cacheCapacity": "7.00GiB", "cached": "0.00B", "cachedPercentage": "0.0%"}
    assert observed["runtimes"] == [
        {"category": "Accelerate", "name": "bert", "namespace": "caches", "type": "alluxio", "masterReplicas": 1}
    ]


def test_dataset_fails_without_workers_and_recovers() -> None:
    lost = good("Dataset", status.dataset_status(bound(), runtime(nodes=0), [], [], NOW + timedelta(minutes=1)))
    assert (lost["phase"], lost["conditions"][0]["status"]) == ("Failed", "False")
    again = status.dataset_status(dataset(observed=lost), runtime(), [], [], NOW + timedelta(minutes=2))
    assert (again["phase"], again["conditions"][0]["lastTransitionTime"]) == ("Bound", "2026-01-01T12:02:00Z")


def test_unchanged_condition_keeps_its_times() -> None:
    later = status.dataset_status(bound(), runtime(), [], [], NOW + timedelta(hours=1))
    assert later == bound()["status"]


def test_load_progress_appears_in_dataset_status_in_steps() -> None:
    running = load("Executing", NOW)
    seen = [
        good("Dataset", status.dataset_status(bound(), runtime(), [running], [], NOW + timedelta(seconds=at)))
        for at in (0, 2, 4.1, 7.9, 60)
    ]
    assert [observation["cacheStates"]["cachedPercentage"] for observation in seen] == [
        "0.0%",
        "25.0%",
        "50.0%",
        "75.0%",
        "75.0%",
    ]
    assert seen[0]["operationRef"] == {"DataLoad": "load"}
    done = status.dataset_status(bound(), runtime(), [load("Complete")], [], NOW)
    assert done["cacheStates"]["cachedPercentage"] == "100.0%"
    assert done["cacheStates"]["cached"] == done["ufsTotal"] == "420.05MiB"
    assert "operationRef" not in done


def test_cached_bytes_do_not_exceed_capacity() -> None:
    large = dataset(notes={status.SIZE: "70Gi"})
    observed = status.dataset_status(large, runtime(), [load("Complete")], [], NOW)
    assert observed["ufsTotal"] == "70.00GiB"
    assert observed["cacheStates"] == {"cacheCapacity": "7.00GiB", "cached": "7.00GiB", "cachedPercentage": "10.0%"}


def test_dataset_status_lists_its_referrers() -> None:
    observed = good("Dataset", status.dataset_status(dataset(), None, [], ["nlp/bert", "a/bert"], NOW))
    assert observed["datasetRef"] == ["a/bert", "nlp/bert"]


def test_reference_dataset_copies_status_of_its_target() -> None:
    reference = dataset("dataset://caches/bert/sub")
    assert status.origin(reference) == "caches/bert"
    assert status.origin(dataset()) is None
    assert status.reference_status(reference, None)["phase"] == "NotBound"
    assert status.reference_status(reference, dataset())["phase"] == "NotBound"
    theirs = dataset(observed={**bound()["status"], "datasetRef": ["nlp/bert"], "operationRef": {"DataLoad": "x"}})
    observed = good("Dataset", status.reference_status(reference, theirs))
    assert observed["phase"] == "Bound"
    assert [runtime["type"] for runtime in observed["runtimes"]] == ["thin"]
    assert not {"datasetRef", "operationRef"} & observed.keys()


def steps(
    load: Object, of: Object | None, *, busy: bool = False, now: datetime = NOW
) -> tuple[Object | None, float | None]:
    observed, wait = status.load_status(load, of, busy=busy, now=now)
    return (good("DataLoad", observed) if observed else None), wait


def test_load_waits_for_bound_dataset_and_for_other_loads() -> None:
    assert steps(load(), None) == (None, None)
    assert steps(load(), dataset()) == (None, None)
    assert steps(load(policy="OnEvent"), bound()) == (None, None)
    observed, _ = steps(load(), bound())
    assert observed is not None
    assert (observed["phase"], observed["duration"]) == ("Pending", "Unfinished")
    assert steps(load("Pending"), bound(), busy=True) == (None, None)
    observed, _ = steps(load("Pending"), bound())
    assert observed is not None
    assert observed["phase"] == "Executing"


def test_load_completes_after_its_duration() -> None:
    assert steps(load("Executing", NOW), bound()) == (None, 2.0)
    assert steps(load("Executing", NOW), bound(), now=NOW + timedelta(seconds=7)) == (None, 1.0)
    observed, wait = steps(load("Executing", NOW), bound(), now=NOW + timedelta(seconds=8))
    assert observed is not None
    assert (observed["phase"], observed["duration"], wait) == ("Complete", "8s", None)
    assert steps(load("Complete", NOW), bound()) == (None, None)
    # Its beginning is not written yet.
    assert steps(load("Executing"), bound()) == (None, None)


def test_load_of_missing_path_fails() -> None:
    lacking = dataset(observed=bound()["status"], notes={status.MISSING: "/x,/lost"})
    observed, _ = steps(load("Executing", NOW, "/there", "/lost"), lacking, now=NOW + timedelta(seconds=9))
    assert observed is not None
    assert observed["phase"] == "Failed"
    assert observed["conditions"][0]["message"] == "the buckets have no /lost"


def test_scheduled_load_records_last_success() -> None:
    observed, _ = steps(
        load("Executing", NOW, policy="Cron", schedule="* * * * *"), bound(), now=NOW + timedelta(seconds=9)
    )
    assert observed is not None
    assert (observed["lastScheduleTime"], observed["lastSuccessfulTime"]) == (
        "2026-01-01T12:00:00Z",
        "2026-01-01T12:00:09Z",
    )


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0.00B"),
        (1023, "1023.00B"),
        (1024, "1.00KiB"),
        (440449768, "420.05MiB"),
        (7 * 2**30, "7.00GiB"),
        (2**60, "1024.00PiB"),
    ],
)
def test_sizes_are_formatted_as_in_fluid(size: int, text: str) -> None:
    assert status.human(size) == text


def test_claim_and_volume_name_each_other() -> None:
    claim, persistent_volume = volume.make_claim(dataset()), volume.make_volume(dataset(), "caches/bert")
    assert claim["spec"]["volumeName"] == persistent_volume["metadata"]["name"] == "caches-bert"
    assert persistent_volume["spec"]["claimRef"] == {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "namespace": "caches",
        "name": "bert",
    }
    for key in ("storageClassName", "accessModes"):
        assert claim["spec"][key] == persistent_volume["spec"][key]
    assert claim["spec"]["resources"]["requests"] == persistent_volume["spec"]["capacity"] == {"storage": "100Pi"}


def test_name_too_long_for_label_is_replaced_by_uid() -> None:
    long = dataset()
    long["metadata"]["name"] = "b" * 60
    assert volume.make_claim(dataset())["metadata"]["labels"]["fluid.io/dataset-id"] == "caches-bert"
    assert volume.make_claim(long)["metadata"]["labels"] == {"fluid.io/s-8f7c": "true", "fluid.io/dataset-id": "8f7c"}


@pytest.mark.parametrize(
    ("claim", "phase", "uses"), [("bert", "Running", True), ("gpt", "Running", False), ("bert", "Succeeded", False)]
)
def test_only_unfinished_pods_with_the_claim_use_dataset(claim: str, phase: str, uses: bool) -> None:
    volumes = [{"name": "a", "emptyDir": {}}, {"name": "b", "persistentVolumeClaim": {"claimName": claim}}]
    assert volume.uses({"spec": {"volumes": volumes}, "status": {"phase": phase}}, "bert") is uses
