"""What is kept of the cluster's objects, and what follows from it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstack.controllers.scaling import cluster
from inferstack.controllers.scaling.rbac import RIGHTS, rules
from tests.unit.controllers.scaling.jobs import make_job, parsed

Object = dict[str, Any]
GPU, SLICE = "nvidia.com/gpu", "nvidia.com/mig-1g.5gb"


def make_pod(name: str, job: str | None = None, node: str | None = "n1", **rest: Any) -> Object:
    """Return a pod as the API server shows it."""
    labels = {"inferstack.dev/job": job} if job else {}
    gpus = rest.pop("gpus", {GPU: "1"})
    conditions = [{"type": "Ready", "status": "True", "lastTransitionTime": rest["ready"]}] if "ready" in rest else []
    return cluster.prune_pod(
        {
            "metadata": {
                "name": name,
                "namespace": rest.get("namespace", "ml"),
                "uid": f"uid-{name}",
                "resourceVersion": "1",
                "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": labels,
            },
            "spec": {**({"nodeName": node} if node else {}), "containers": [{"resources": {"limits": gpus}}, {}]},
            "status": {"phase": rest.get("phase", "Running"), "conditions": conditions},
        }
    )


def make_node(name: str, gpus: Object, *, ready: bool = True, **spec: Any) -> Object:
    """Return a node as the API server shows it."""
    conditions = [{"type": "Ready", "status": "True" if ready else "Unknown"}]
    status = {"allocatable": {"cpu": "96", **gpus}, "conditions": conditions}
    meta = {"name": name, "uid": name, "resourceVersion": "1"}
    return cluster.prune_node({"metadata": meta, "spec": spec, "status": status})


def test_a_pool_is_what_others_leave() -> None:
    nodes = [make_node("n1", {GPU: "8", SLICE: "7"}), make_node("n2", {GPU: "8"})]
    pods = [
        make_pod("ours", "chat"),
        make_pod("theirs", gpus={GPU: "3"}),
        make_pod("another-job", "static"),
        make_pod("same-name-elsewhere", "chat", namespace="other"),
        make_pod("waiting", node=None),
        make_pod("done", phase="Succeeded"),
        make_pod("cpu-only", gpus={"cpu": "1"}),
    ]
    assert cluster.pools(nodes, pods, {"ml/chat": GPU}) == {GPU: 16 - 3 - 1 - 1}
    assert cluster.pools(nodes, pods, {"ml/chat": GPU, "ml/embed": SLICE}) == {GPU: 11, SLICE: 7}


@pytest.mark.parametrize(
    "gone", [make_node("n1", {GPU: "8"}, unschedulable=True), make_node("n1", {GPU: "8"}, ready=False)]
)
def test_of_a_node_that_takes_no_pods_the_jobs_keep_what_they_hold(gone: Object) -> None:
    nodes = [gone, make_node("n2", {GPU: "8"})]
    pods = [make_pod("a", "chat"), make_pod("b", "chat", node="n2"), make_pod("c"), make_pod("d", node="n2")]
    assert cluster.pools(nodes, pods, {"ml/chat": GPU}) == {GPU: 8 - 1 + 1}


def test_a_pool_counts_sidecars_and_init_containers_as_the_scheduler_does() -> None:
    asks: Object = {"resources": {"limits": {GPU: "2"}}}
    other = cluster.prune_pod(
        {
            "metadata": {"name": "other", "namespace": "ml", "uid": "other"},
            "spec": {
                "nodeName": "n1",
                "containers": [asks],
                "initContainers": [{**asks, "restartPolicy": "Always"}, {"resources": {"limits": {GPU: "3"}}}],
            },
            "status": {"phase": "Running"},
        }
    )
    assert cluster.pools([make_node("n1", {GPU: "8"})], [other], {"ml/chat": GPU}) == {GPU: 8 - 5}


def test_no_pool_is_below_nothing() -> None:
    assert cluster.pools([make_node("n1", {GPU: "1"})], [make_pod("a", gpus={GPU: "4"})], {"ml/chat": GPU}) == {GPU: 0}


def make_class(name: str, value: int, *, default: bool = False) -> Object:
    """Return a PriorityClass."""
    meta = {"name": name, "uid": name, "resourceVersion": "1"}
    return cluster.prune_priority({"metadata": meta, "value": value, **({"globalDefault": True} if default else {})})


@pytest.mark.parametrize(("named", "value"), [("high", 1000), ("absent", 0), (None, 5)])
def test_priorities(named: str | None, value: int) -> None:
    classes = [make_class("high", 1000), make_class("usual", 5, default=True)]
    job = make_job()
    if named:
        job["spec"]["priorityClassName"] = named
    spec = parsed(job)
    assert cluster.priority(spec, classes) == value
    assert cluster.priority(spec, []) == 0


def test_cold_starts_are_measured_from_creation_to_ready() -> None:
    cold = cluster.ColdStarts()
    for index, ready in enumerate(("00:00:40", "00:01:00", "00:01:20")):
        waiting = make_pod(f"p{index}", "chat")
        cold.see(None, waiting)
        started = make_pod(f"p{index}", "chat", ready=f"2026-01-01T{ready}Z")
        cold.see(waiting, started)
        # It goes away and comes back: that is no start.
        cold.see(started, waiting)
        cold.see(waiting, make_pod(f"p{index}", "chat", ready="2026-01-01T09:00:00Z"))
    found = cold.of("ml/chat", 1800)
    assert [found.quantile(share) for share in (0.0, 0.5, 1.0)] == [40, 60, 80]


def test_what_was_not_measured_takes_as_long_as_a_start_may() -> None:
    cold = cluster.ColdStarts()
    assert cold.of("ml/chat", 1800).quantile(0.5) == 1800
    # Ready after hours: it waited for a node, or its server was mended.
    cold.see(None, make_pod("late", "chat", ready="2026-01-01T09:00:00Z"))
    assert cold.of("ml/chat", 1800).quantile(0.5) == 1800
    cold.see(None, make_pod("good", "chat", ready="2026-01-01T00:00:30Z"))
    assert cold.of("ml/chat", 1800).quantile(0.5) == 30
    cold.forget("ml/chat")
    assert cold.of("ml/chat", 1800).quantile(0.5) == 1800


@given(count=st.integers(1, 200))
def test_only_the_latest_starts_are_kept(count: int) -> None:
    cold = cluster.ColdStarts()
    for index in range(count):
        pod = make_pod(f"p{index}", "chat", ready=f"2026-01-01T00:{index // 60:02}:{index % 60:02}Z")
        cold.see(None, pod)
        cold.see(pod, None)
    found = cold.of("ml/chat", 1e6)
    assert len(found.points) == min(count, cluster.COLD_STARTS)
    assert found.quantile(1.0) == count - 1


def test_a_job_is_kept_with_what_was_said_of_it() -> None:
    raw = make_job()
    raw["status"] = {"ready": "1/1", "scaling": {"reason": "Forecast"}}
    kept = cluster.prune_job(raw)
    assert kept["status"] == {"scaling": {"reason": "Forecast"}}
    assert kept["metadata"]["generation"] == raw["metadata"]["generation"]


def test_each_right_has_its_reason_and_none_reads_secrets() -> None:
    assert all(right.reason for right in RIGHTS)
    verbs = {verb for rule in rules() for verb in rule["verbs"]}
    assert verbs == {"list", "watch", "patch", "create"}
    writes = [(right.resources, right.verbs) for right in RIGHTS if {"patch", "create"} & set(right.verbs)]
    assert writes == [(("inferencejobs/status",), ("patch",)), (("events",), ("create",))]
    assert not any("secrets" in right.resources or "*" in right.resources for right in RIGHTS)
