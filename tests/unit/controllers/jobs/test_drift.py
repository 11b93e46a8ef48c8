"""Comparison of live with desired objects, and pruning."""

from __future__ import annotations

from typing import Any

import pytest

from inferstack.controllers.jobs import drift
from inferstack.controllers.jobs.pruning import prune_child, prune_job, prune_pod

MANAGER = "inferstack-operator"
CREATED = {"manager": MANAGER, "operation": "Update", "apiVersion": "v1", "fieldsV1": {"f:spec": {}}}
APPLIED = {**CREATED, "operation": "Apply"}
STATUS = {**CREATED, "subresource": "status"}
OTHER = {**CREATED, "manager": "kubectl-edit"}


@pytest.mark.parametrize(
    ("live", "desired", "covered"),
    [
        ({"a": 1, "b": {"c": 2, "d": 3}}, {"b": {"c": 2}}, True),
        ({"b": {}}, {"b": {"c": 2}}, False),
        ({"l": [{"n": 1, "default": True}]}, {"l": [{"n": 1}]}, True),
        ({"l": [1, 2]}, {"l": [1]}, False),
        ({"l": []}, {"l": [1]}, False),
        ({"a": "1"}, {"a": 1}, False),
        ({"a": [1]}, {"a": {"b": 1}}, False),
        ({}, {}, True),
    ],
)
def test_additional_fields_are_no_drift(live: Any, desired: Any, covered: bool) -> None:
    assert drift.covers(live, desired) is covered


def test_created_fields_become_applied_fields() -> None:
    assert drift.as_applied([CREATED, STATUS, OTHER], MANAGER) == [APPLIED, STATUS, OTHER]
    states = [[CREATED], [APPLIED], [STATUS, OTHER], []]
    assert [drift.created({"metadata": {"managedFields": fields}}, MANAGER) for fields in states] == [
        True,
        False,
        False,
        False,
    ]


def test_controller_is_the_controlling_owner() -> None:
    owners = [{"uid": "a"}, {"uid": "b", "controller": True}]
    assert drift.controller({"metadata": {"ownerReferences": owners}}) == owners[1]
    assert drift.controller({"metadata": {}}) is None


def test_prune_pod_keeps_what_it_waits_for() -> None:
    pod = {
        "metadata": {
            "name": "p",
            "namespace": "ml",
            "uid": "u",
            "resourceVersion": "5",
            "labels": {"inferstack.dev/job": "bert", "pod-template-hash": "x"},
            "managedFields": [OTHER],
        },
        "spec": {"containers": [{"name": "server"}]},
        "status": {
            "phase": "Pending",
            "conditions": [
                {"type": "Ready", "status": "False"},
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "m", "probe": None},
            ],
            "containerStatuses": [
                {"name": "server", "state": {"waiting": {"reason": "ErrImagePull"}}},
                {"name": "side", "state": {"running": {}}},
            ],
        },
    }
    assert prune_pod(pod) == {
        "metadata": {
            "name": "p",
            "namespace": "ml",
            "uid": "u",
            "resourceVersion": "5",
            "labels": {"inferstack.dev/job": "bert"},
        },
        "status": {
            "phase": "Pending",
            "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "m"},
            ],
            "containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull"}}}],
        },
    }


def test_prune_child_and_job() -> None:
    meta = {"name": "a", "namespace": "ml", "uid": "u", "resourceVersion": "5"}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**meta, "annotations": {"inferstack.dev/applied": "h", "other": "x"}, "managedFields": [CREATED]},
        "spec": {"type": "ClusterIP"},
        "status": {"loadBalancer": {}},
    }
    assert prune_child(service) == {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {**meta, "labels": {}, "ownerReferences": [], "annotations": {"inferstack.dev/applied": "h"}},
        "spec": {"type": "ClusterIP"},
        "created": True,
    }
    job = {"apiVersion": "x", "kind": "y", "metadata": {**meta, "managedFields": [OTHER]}, "spec": {"model": "m"}}
    assert prune_job(job) == {"metadata": meta, "spec": {"model": "m"}}
