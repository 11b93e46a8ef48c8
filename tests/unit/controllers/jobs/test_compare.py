"""What counts as a difference, and what is kept in memory."""

from __future__ import annotations

from typing import Any

import pytest

from inferstack.controllers.jobs import compare
from inferstack.controllers.jobs.prune import prune_child, prune_job, prune_pod

OURS = "inferstack-operator"
CREATED = {"manager": OURS, "operation": "Update", "apiVersion": "v1", "fieldsV1": {"f:spec": {}}}
APPLIED = {**CREATED, "operation": "Apply"}
STATUS = {**CREATED, "subresource": "status"}
OTHER = {**CREATED, "manager": "kubectl-edit"}


@pytest.mark.parametrize(
    ("live", "wanted", "covered"),
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
def test_covers(live: Any, wanted: Any, covered: bool) -> None:
    assert compare.covers(live, wanted) is covered


def test_what_was_created_counts_as_applied() -> None:
    assert compare.as_applied([CREATED, STATUS, OTHER], OURS) == [APPLIED, STATUS, OTHER]
    states = [[CREATED], [APPLIED], [STATUS, OTHER], []]
    assert [compare.created({"metadata": {"managedFields": fields}}, OURS) for fields in states] == [
        True,
        False,
        False,
        False,
    ]


def test_the_controller() -> None:
    owners = [{"uid": "a"}, {"uid": "b", "controller": True}]
    assert compare.controller({"metadata": {"ownerReferences": owners}}) == owners[1]
    assert compare.controller({"metadata": {}}) is None


def test_what_is_kept_of_a_pod() -> None:
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


def test_what_is_kept_of_a_child_and_of_a_job() -> None:
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
