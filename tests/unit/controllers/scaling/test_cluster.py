"""Pruned cluster objects, GPU pools, priorities and cold_starts starts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstack.apimachinery.objects import Object
from inferstack.controllers.scaling import cluster
from inferstack.controllers.scaling.rbac import RIGHTS, rules
from tests.unit.controllers.scaling.jobs import make_job, parsed

GPU, SLICE = "nvidia.com/gpu", "nvidia.com/mig-1g.5gb"


def make_pod(name: str, job: str | None = None, node: str | None = "n1", **rest: Any) -> Object:
    """Return a pruned pod."""
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
    """Return a pruned node."""
    conditions = [{"type": "Ready", "status": "True" if ready else "Unknown"}]
    status = {"allocatable": {"cpu": "96", **gpus}, "conditions": conditions}
    meta = {"name": name, "uid": name, "resourceVersion": "1"}
    return cluster.prune_node({"metadata": meta, "spec": spec, "status": status})


def test_pool_excludes_gpus_of_other_pods() -> None:
    nodes = [make_node("n1", {GPU: "8", SLICE: "7"}), make_node("n2", {GPU: "8"})]
    pods = [
        make_pod("shares-pool", "chat"),
        make_pod("no-job", gpus={GPU: "3"}),
        make_pod("another-job", "static"),
        make_pod("same-name-elsewhere", "chat", namespace="other"),
        make_pod("waiting", node=None),
        make_pod("done", phase="Succeeded"),
        make_pod("cpu-only", gpus={"cpu": "1"}),
    ]
    assert cluster.pools(nodes, pods, {"ml/chat": GPU}) == {GPU: 16 - 3 - 1 - 1}
    assert cluster.pools(nodes, pods, {"ml/chat": GPU, "ml/embed": SLICE}) == {GPU: 11, SLICE: 7}


@pytest.mark.parametrize(
    "node", [make_node("n1", {GPU: "8"}, unschedulable=True), make_node("n1", {GPU: "8"}, ready=False)]
)
def test_pool_includes_gpus_held_on_unschedulable_nodes(node: Object) -> None:
    nodes = [node, make_node("n2", {GPU: "8"})]
    pods = [make_pod("a", "chat"), make_pod("b", "chat", node="n2"), make_pod("c"), make_pod("d", node="n2")]
    assert cluster.pools(nodes, pods, {"ml/chat": GPU}) == {GPU: 8 - 1 + 1}


def test_pool_counts_sidecars_and_init_containers_as_kube_scheduler_does() -> None:
    container: Object = {"resources": {"limits": {GPU: "2"}}}
    other = cluster.prune_pod(
        {
            "metadata": {"name": "other", "namespace": "ml", "uid": "other"},
            "spec": {
                "nodeName": "n1",
                "containers": [container],
                "initContainers": [{**container, "restartPolicy": "Always"}, {"resources": {"limits": {GPU: "3"}}}],
            },
            "status": {"phase": "Running"},
        }
    )
    assert cluster.pools([make_node("n1", {GPU: "8"})], [other], {"ml/chat": GPU}) == {GPU: 8 - 5}


def test_pool_is_never_negative() -> None:
    assert cluster.pools([make_node("n1", {GPU: "1"})], [make_pod("a", gpus={GPU: "4"})], {"ml/chat": GPU}) == {GPU: 0}


def make_class(name: str, value: int, *, default: bool = False) -> Object:
    """Return a PriorityClass."""
    meta = {"name": name, "uid": name, "resourceVersion": "1"}
    return cluster.prune_priority({"metadata": meta, "value": value, **({"globalDefault": True} if default else {})})


@pytest.mark.parametrize(("named", "value"), [("high", 1000), ("absent", 0), (None, 5)])
def test_priority_of_class_or_default(named: str | None, value: int) -> None:
    classes = [make_class("high", 1000), make_class("usual", 5, default=True)]
    job = make_job()
    if named:
        job["spec"]["priorityClassName"] = named
    spec = parsed(job)
    assert cluster.priority(spec, classes) == value
    assert cluster.priority(spec, []) == 0


def test_cold_start_is_measured_from_creation_to_first_ready() -> None:
    cold_starts = cluster.ColdStarts()
    for index, ready in enumerate(("00:00:40", "00:01:00", "00:01:20")):
        waiting = make_pod(f"p{index}", "chat")
        cold_starts.observe(None, waiting)
        started = make_pod(f"p{index}", "chat", ready=f"2026-01-01T{ready}Z")
        cold_starts.observe(waiting, started)
        # A pod that becomes Ready again is not a cold_starts start.
        cold_starts.observe(started, waiting)
        cold_starts.observe(waiting, make_pod(f"p{index}", "chat", ready="2026-01-01T09:00:00Z"))
    distribution = cold_starts.distribution("ml/chat", 1800)
    assert [distribution.quantile(share) for share in (0.0, 0.5, 1.0)] == [40, 60, 80]


def test_cold_start_without_measurement_is_the_limit() -> None:
    cold_starts = cluster.ColdStarts()
    assert cold_starts.distribution("ml/chat", 1800).quantile(0.5) == 1800
    # Ready after hours: it waited for a node, or its server was repaired.
    cold_starts.observe(None, make_pod("late", "chat", ready="2026-01-01T09:00:00Z"))
    assert cold_starts.distribution("ml/chat", 1800).quantile(0.5) == 1800
    cold_starts.observe(None, make_pod("good", "chat", ready="2026-01-01T00:00:30Z"))
    assert cold_starts.distribution("ml/chat", 1800).quantile(0.5) == 30
    cold_starts.forget("ml/chat")
    assert cold_starts.distribution("ml/chat", 1800).quantile(0.5) == 1800


@given(count=st.integers(1, 200))
def test_only_the_latest_cold_starts_are_kept(count: int) -> None:
    cold_starts = cluster.ColdStarts()
    for index in range(count):
        pod = make_pod(f"p{index}", "chat", ready=f"2026-01-01T00:{index // 60:02}:{index % 60:02}Z")
        cold_starts.observe(None, pod)
        cold_starts.observe(pod, None)
    distribution = cold_starts.distribution("ml/chat", 1e6)
    assert len(distribution.points) == min(count, cluster.COLD_STARTS)
    assert distribution.quantile(1.0) == count - 1


def test_pruned_job_keeps_its_scaling_status() -> None:
    raw = make_job()
    raw["status"] = {"ready": "1/1", "scaling": {"reason": "Forecast"}}
    kept = cluster.prune_job(raw)
    assert kept["status"] == {"scaling": {"reason": "Forecast"}}
    assert kept["metadata"]["generation"] == raw["metadata"]["generation"]


def test_rights_have_reasons_and_exclude_secrets() -> None:
    assert all(right.reason for right in RIGHTS)
    verbs = {verb for rule in rules() for verb in rule["verbs"]}
    assert verbs == {"list", "watch", "patch", "create"}
    writes = [(right.resources, right.verbs) for right in RIGHTS if {"patch", "create"} & set(right.verbs)]
    assert writes == [(("inferencejobs/status",), ("patch",)), (("events",), ("create",))]
    assert not any("secrets" in right.resources or "*" in right.resources for right in RIGHTS)
