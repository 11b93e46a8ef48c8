"""What is read out of objects: which pods must leave, which budgets count them, what nodes publish."""

from __future__ import annotations

from typing import Any

import pytest

from inferstack.apimachinery.objects import Object
from inferstack.controllers.mig.cluster_state import budget_of, node_of, pod_of, prune_node, prune_pod
from inferstack.controllers.mig.devices import (
    MigSettings,
    UnknownDevicesError,
    allocatable_devices,
    expected_devices,
    matches,
)
from inferstack.controllers.mig.orphans import is_orphan
from inferstack.mig.errors import LayoutError
from inferstack.mig.gpu_operator import COUNT, PRODUCT
from tests.unit.controllers.mig.cluster import LAYOUTS, MODEL, SETTINGS

A100 = {PRODUCT: MODEL.product, COUNT: "8"}


def pod(**changes: Any) -> Object:
    obj: Object = {
        "metadata": {
            "name": "p", "namespace": "ns", "uid": "u", "resourceVersion": "1", "labels": {"app": "a"},
            "ownerReferences": [{"kind": "ReplicaSet", "controller": True}],
        },
        "spec": {
            "nodeName": "n",
            "containers": [{"resources": {"limits": {"nvidia.com/mig-1g.5gb": "1"}}}],
        },
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }  # fmt: skip
    for key, value in changes.items():
        part, _, name = key.partition("_")
        obj[part][name] = value
    return obj


def test_a_pod_with_gpus_must_leave() -> None:
    gpu_pod = pod_of(pod())
    assert gpu_pod is not None
    assert (str(gpu_pod), gpu_pod.node, gpu_pod.ready, gpu_pod.leaving, gpu_pod.replaced) == (
        "ns/p",
        "n",
        True,
        False,
        True,
    )
    leaving = pod_of(pod(metadata_deletionTimestamp="now"))
    assert leaving is not None
    assert leaving.leaving
    alone = pod_of(pod(metadata_ownerReferences=[]))
    assert alone is not None
    assert not alone.replaced
    early = pod(spec_containers=[{}], spec_initContainers=[{"resources": {"requests": {"nvidia.com/gpu": 1}}}])
    assert pod_of(early) is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"spec_nodeName": None},
        {"spec_containers": [{"resources": {"limits": {"cpu": "1"}}}]},
        {"spec_containers": [{"resources": {"limits": {"nvidia.com/gpu": "0"}}}]},
        {"status_phase": "Succeeded"},
        {"status_phase": "Failed"},
        {"metadata_annotations": {"kubernetes.io/config.mirror": "x"}},
        {"metadata_ownerReferences": [{"kind": "DaemonSet", "controller": True}]},
    ],
)
def test_other_pods_stay(changes: Object) -> None:
    assert pod_of(pod(**changes)) is None
    assert "pod" not in prune_pod(pod(**changes))


@pytest.mark.parametrize(
    ("selector", "covers"),
    [
        ({}, True),
        (None, False),
        ({"matchLabels": {"app": "a"}}, True),
        ({"matchLabels": {"app": "b"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "b"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["a"]}]}, False),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
    ],
)
def test_budget_covers_selected_pods(selector: Object | None, covers: bool) -> None:
    meta = {"name": "b", "namespace": "ns", "generation": 2}
    status = {"disruptionsAllowed": 1, "currentHealthy": 3, "expectedPods": 4, "observedGeneration": 1}
    budget = budget_of({"metadata": meta, "spec": {"selector": selector}, "status": status})
    gpu_pod = pod_of(pod())
    assert gpu_pod is not None
    assert budget.covers(gpu_pod) is covers
    assert (budget.allowed, budget.healthy, budget.expected, budget.current) == (1, 3, 4, False)
    elsewhere = budget_of({"metadata": {**meta, "namespace": "other"}, "spec": {"selector": {}}})
    assert not elsewhere.covers(gpu_pod)


def test_a_pruned_node_is_the_same() -> None:
    node = {
        "metadata": {
            "name": "n",
            "uid": "u",
            "resourceVersion": "3",
            "labels": {"nvidia.com/mig.config": "x", "a": "b"},
        },
        "spec": {"unschedulable": True},
        "status": {
            "allocatable": {"cpu": "4", "nvidia.com/gpu": "8"},
            "conditions": [{"type": "Ready", "status": "True"}, {"type": "MemoryPressure", "status": "False"}],
        },
    }
    whole, pruned = node_of(node), node_of(prune_node(node))
    assert (pruned.layout, pruned.state, pruned.owner, pruned.unschedulable, pruned.ready) == (
        "x", None, None, True, True,
    )  # fmt: skip
    assert (whole.ready, whole.unschedulable) == (True, True)
    assert pruned.allocatable == {"nvidia.com/gpu": "8"}


def test_expected_devices_of_a_layout() -> None:
    assert expected_devices(A100, SETTINGS, "all-1g.5gb", "") == {"nvidia.com/mig-1g.5gb": 56}
    cut = {PRODUCT: f"{MODEL.product}-MIG-1g.5gb", COUNT: "56"}
    single = MigSettings(LAYOUTS, "single", "all-disabled")
    assert expected_devices(cut, single, "all-2g.10gb", "all-1g.5gb") == {"nvidia.com/gpu": 24}
    assert expected_devices(cut, single, "all-disabled", "all-1g.5gb") == {"nvidia.com/gpu": 8}


@pytest.mark.parametrize(
    ("labels", "layout", "current", "error", "mentions"),
    [
        (A100, "none", "", LayoutError, "no layout 'none'"),
        (A100, "all-enabled", "", LayoutError, "would publish nothing"),
        ({}, "all-1g.5gb", "", UnknownDevicesError, "has no label nvidia.com/gpu.product"),
        ({PRODUCT: "NVIDIA-Z9", COUNT: "1"}, "all-1g.5gb", "", UnknownDevicesError, "no GPU with the product"),
        ({**A100, COUNT: "x"}, "all-1g.5gb", "", UnknownDevicesError, "nvidia.com/gpu.count is 'x'"),
    ],
)
def test_unknown_devices_are_errors(
    labels: dict[str, str], layout: str, current: str, error: type[Exception], mentions: str
) -> None:
    with pytest.raises(error, match=mentions):
        expected_devices(labels, SETTINGS, layout, current)


def test_shared_devices_match_by_their_replicas_label() -> None:
    devices = {"nvidia.com/mig-1g.5gb": 14}
    assert matches(devices, {}, {"nvidia.com/mig-1g.5gb": "14", "nvidia.com/gpu": "0", "cpu": "96"})
    assert not matches(devices, {}, {"nvidia.com/mig-1g.5gb": "28"})
    twice = {"nvidia.com/mig-1g.5gb.replicas": "2"}
    assert matches(devices, twice, {"nvidia.com/mig-1g.5gb": "28"})
    assert matches(devices, twice, {"nvidia.com/mig-1g.5gb.shared": "28"})
    assert not matches(devices, twice, {"nvidia.com/mig-1g.5gb": "14", "nvidia.com/gpu": "1"})
    assert allocatable_devices({"nvidia.com/gpu": "0", "nvidia.com/mig-1g.5gb": "2", "cpu": "1"}) == {
        "nvidia.com/mig-1g.5gb": 2
    }


def test_orphans_are_nodes_of_finished_or_missing_rollouts() -> None:
    spec = {"nodes": [{"name": "n", "layout": "x"}]}
    meta = {"name": "r"}
    at_work = {
        "metadata": meta,
        "spec": spec,
        "status": {"phase": "Running", "nodes": [{"name": "n", "step": "Draining"}]},
    }
    assert not is_orphan("n", at_work)
    assert not is_orphan("n", {"metadata": meta, "spec": spec})
    assert is_orphan("m", at_work)
    assert is_orphan("n", None)
    assert is_orphan("n", {"metadata": meta, "spec": spec, "status": {"phase": "Failed", "nodes": []}})
    assert is_orphan(
        "n", {"metadata": meta, "spec": spec, "status": {"phase": "Running", "nodes": [{"name": "n", "step": "Done"}]}}
    )
    assert is_orphan("n", {**at_work, "metadata": {**meta, "deletionTimestamp": "now"}})
