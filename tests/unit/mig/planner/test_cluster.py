"""From Nodes, Pods and InferenceJobs to a fleet and its demands."""

from __future__ import annotations

from typing import Any

import pytest

from inferstack.mig import catalogue
from inferstack.mig.gpu_operator import MIG_CONFIG, MIG_STATE, gfd_labels
from inferstack.mig.layout import advertised_resources, apply_layout, mig_disabled
from inferstack.mig.mig_parted import dump_config, make_mig_parted_config, parse_config
from inferstack.mig.planner import Demand, plan
from inferstack.mig.planner.cluster import ClusterFleet, read_cluster
from tests.unit.mig.planner.fleets import H100

JOB = "inferstack.dev/job"
LAYOUTS = parse_config(dump_config(make_mig_parted_config([H100])))
OWNED = [{"kind": "ReplicaSet", "name": "web-abc", "controller": True}]


def make_node(name: str, layout: str | None = "all-balanced", gpus: int = 2, **labels: str) -> dict[str, Any]:
    """A node as GPU feature discovery, the MIG manager and the device plugin show it."""
    gpu_model = catalogue.gpu(H100)
    states = apply_layout(LAYOUTS[layout or "all-disabled"], gpu_model, mig_disabled(gpus))
    node_labels = gfd_labels(catalogue.load(), gpu_model, states, "mixed", machine="p5")
    if layout is not None:
        node_labels |= {MIG_CONFIG: layout, MIG_STATE: "success"}
    capacity = {
        resource: str(count) for resource, count in advertised_resources(gpu_model, states, "mixed").capacity.items()
    }
    return {"metadata": {"name": name, "labels": node_labels | labels}, "status": {"capacity": capacity}}


def make_pod(name: str, node: str | None, profile: str = "1g.10gb", count: int = 1, **more: Any) -> dict[str, Any]:
    asked = {"nvidia.com/gpu" if not profile else f"nvidia.com/mig-{profile}": str(count)}
    meta = {"name": name, "namespace": "a", "ownerReferences": OWNED, "labels": {"pod-template-hash": "abc"}}
    spec = {"containers": [{"name": "c", "resources": {"limits": asked}}], **more.pop("spec", {})}
    return {
        "metadata": meta | more,
        "spec": spec | ({"nodeName": node} if node else {}),
        "status": {"phase": "Running" if node else "Pending"},
    }


def _observe(nodes: list[Any], pods: list[Any], jobs: list[Any] | None = None, **more: Any) -> ClusterFleet:
    return read_cluster(nodes, pods, jobs or [], LAYOUTS, job_label=JOB, **more)


def test_node_has_instances_of_its_layout_and_pods_one_each() -> None:
    pods = [make_pod("one", "n"), make_pod("two", "n", "3g.40gb"), make_pod("over", "n", status="ignored")]
    pods[2]["status"] = {"phase": "Succeeded"}
    observed = _observe([make_node("n"), {"metadata": {"name": "cpu"}, "status": {"capacity": {"cpu": "8"}}}], pods)
    assert (observed.skipped, observed.demands) == ({}, ())
    assert [gpu.name for gpu in observed.fleet.gpus] == ["n/0", "n/1"]
    assert observed.fleet.scope == "node"
    for gpu in observed.fleet.gpus:
        assert sorted(instance.profile for instance in gpu.instances) == ["1g.10gb", "1g.10gb", "2g.20gb", "3g.40gb"]
    used = {
        instance.pod: (instance.profile, instance.demand, instance.pinned)
        for g in observed.fleet.gpus
        for instance in g.instances
        if instance.pod
    }
    assert used == {"a/one": ("1g.10gb", "a/web", True), "a/two": ("3g.40gb", "a/web", True)}


def test_only_reschedulable_pods_are_movable() -> None:
    needs: dict[str, Any] = {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}
    }
    pods = [
        make_pod("free", "n"),
        make_pod("bare", "n", ownerReferences=[]),
        make_pod("job", "n", ownerReferences=[{"kind": "Job", "name": "j", "controller": True}]),
        make_pod("kept", "n", "3g.40gb", annotations={"cluster-autoscaler.kubernetes.io/safe-to-evict": "false"}),
        make_pod("tied", "m", spec={"affinity": needs}),
        make_pod("here", "m", spec={"nodeSelector": {"zone": "1"}}),
        make_pod("both", "m", spec={"nodeSelector": {"nvidia.com/mig.strategy": "mixed"}}),
        make_pod("pair", "m", "3g.40gb", 2),
    ]
    observed = _observe([make_node("n", zone="1"), make_node("m", zone="2")], pods, moves=True)
    movable = {s.pod for g in observed.fleet.gpus for s in g.instances if s.pod and not s.pinned}
    assert movable == {"a/free", "a/both"}
    assert set(observed.pinned) == {"a/bare", "a/job", "a/kept", "a/tied", "a/here", "a/pair"}
    assert "several instances" in observed.pinned["a/pair"]
    pods_placed = [s.pod for g in observed.fleet.gpus for s in g.instances if s.pod]
    assert {"a/pair", "a/pair#2"} <= set(pods_placed)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"nvidia.com/gpu.product": "Other"}, "'Other' is not in the catalogue"),
        ({"nvidia.com/mig.strategy": "single"}, "only mixed is planned"),
        ({MIG_STATE: "pending"}, "is pending"),
        ({MIG_CONFIG: "mine"}, "mine is not in the MIG manager's configuration"),
        ({MIG_CONFIG: "all-3g.40gb"}, r"it offers 4 of nvidia.com/mig-1g.10gb, its layout 0"),
        ({"nvidia.com/gpu.count": "x"}, "nvidia.com/gpu.count"),
    ],
)
def test_inconsistent_node_is_skipped_with_reason(change: dict[str, str], reason: str) -> None:
    node = make_node("n")
    node["metadata"]["labels"] |= change
    observed = _observe([node, make_node("ok")], [])
    assert list(observed.skipped) == ["n"]
    assert reason in observed.skipped["n"]
    assert {gpu.node for gpu in observed.fleet.gpus} == {"ok"}


def test_unavailable_nodes_are_skipped() -> None:
    cordoned, broken = make_node("cordoned"), make_node("broken")
    cordoned["spec"] = {"unschedulable": True}
    broken["status"]["conditions"] = [{"type": "Ready", "status": "Unknown"}]
    crowded = [make_pod(f"p{n}", "crowded", "3g.40gb") for n in range(3)]
    nodes = [cordoned, broken, make_node("whole", None), make_node("crowded"), make_node("new", None)]
    observed = _observe(nodes, [make_pod("big", "whole", ""), *crowded])
    assert {name: why.split(" ")[0] for name, why in observed.skipped.items()} == {
        "cordoned": "it",
        "broken": "it",
        "whole": "the",
        "crowded": "its",
    }
    assert [(gpu.node, gpu.instances) for gpu in observed.fleet.gpus] == [("new", ()), ("new", ())]


def test_pending_pods_and_missing_replicas_are_demands() -> None:
    anti = {
        "podAntiAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": [
                {"topologyKey": "kubernetes.io/hostname", "labelSelector": {"matchLabels": {"app": "x"}}}
            ]
        }
    }
    of_job: dict[str, Any] = {"labels": {JOB: "chat"}}
    pods = [
        make_pod("w1", None, "2g.20gb", spec={"priority": 7}),
        make_pod("w2", None, "2g.20gb", spec={"priority": 7}),
        make_pod("s", None, spec={"affinity": anti}, labels={"app": "x"}, ownerReferences=[]),
        make_pod("c0", "n", **of_job),
        make_pod("c1", None, spec={"priority": 3}, **of_job),
        make_pod("whole", None, ""),
        make_pod("twin", None, "1g.10gb", 2),
        make_pod("gated", None, spec={"schedulingGates": [{"name": "g"}]}),
    ]
    job = {
        "metadata": {"name": "chat", "namespace": "a"},
        "spec": {"replicas": 5, "resources": {"limits": {"nvidia.com/mig-1g.10gb": "1", "cpu": "4"}}},
    }
    observed = _observe([make_node("n")], pods, [job])
    assert set(observed.demands) == {
        Demand("a/web", 2, 7, "2g.20gb"),
        Demand("a/s", 1, 0, "1g.10gb", max_per_node=1),
        Demand("a/chat", 4, 3, "1g.10gb"),
    }
    assert set(observed.ignored) == {"a/whole", "a/twin", "a/gated"}
    # The pod that runs is pinned, so the node stays as it is: three small instances are free.
    assert plan(observed.fleet, observed.demands).objective.served == (2, 3, 0)


def test_media_profile_names_are_decoded_from_resources() -> None:
    observed = _observe([], [make_pod("m", None, "1g.24gb.me.all"), make_pod("n", None, "1g.24gb-me")])
    assert {demand.profile for demand in observed.demands} == {"1g.24gb+me.all", "1g.24gb-me"}
