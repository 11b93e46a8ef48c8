"""From what a node says and should say to patches."""

from __future__ import annotations

from typing import Any

import pytest

from rehearsal.simulators.desired import Condition, Desired, metadata_patch, owns_label, status_patch
from rehearsal.simulators.nodes.cluster_policy import make_status, status_differs
from rehearsal.simulators.nodes.policy import Policy

NOW = "2026-01-01T00:00:00Z"


@pytest.mark.parametrize(
    ("key", "ours"),
    [
        ("nvidia.com/gpu.product", True),
        ("nvidia.com/mig-1g.5gb.count", True),
        ("nvidia.com/mig.config.state", True),
        ("feature.node.kubernetes.io/pci-10de.present", True),
        ("nvidia.com/mig.config", False),
        ("nvidia.com/gpu.workload.config", False),
        ("nvidia.com/gpu.deploy.operands", False),
        ("kubernetes.io/hostname", False),
    ],
)
def test_label_ownership(key: str, ours: bool) -> None:
    assert owns_label(key) == ours


def _node(**status: Any) -> dict[str, Any]:
    return {
        "metadata": {
            "uid": "u",
            "labels": {"nvidia.com/gpu.count": "8", "nvidia.com/mig.config": "all-1g.5gb", "team": "x"},
            "annotations": {"a": "1"},
        },
        "status": status,
    }


def test_metadata_patch_writes_differences_and_removes_owned_keys() -> None:
    wanted = Desired(labels={"nvidia.com/gpu.memory": "1"}, annotations={"a": None, "b": "2", "c": None})
    assert metadata_patch(_node(), wanted) == {
        "metadata": {
            "uid": "u",
            "labels": {"nvidia.com/gpu.memory": "1", "nvidia.com/gpu.count": None},
            "annotations": {"a": None, "b": "2"},
        }
    }


def test_equal_metadata_needs_no_patch() -> None:
    wanted = Desired(labels={"nvidia.com/gpu.count": "8"}, annotations={"a": "1", "z": None})
    assert metadata_patch(_node(), wanted) is None
    same = Desired(capacity={"memory": "1Gi"}, allocatable={"nvidia.com/gpu": None})
    assert status_patch(_node(capacity={"memory": "1024Mi"}), same, now=NOW) is None


def test_status_patch_contains_only_differences() -> None:
    node = _node(
        capacity={"cpu": "1k"},
        allocatable={"nvidia.com/gpu": "8"},
        conditions=[
            {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastTransitionTime": "2025-01-01T00:00:00Z"}
        ],
    )
    wanted = Desired(
        capacity={"cpu": "96"},
        allocatable={"nvidia.com/gpu": None},
        conditions=(Condition("Ready", "False", "KubeletNotReady", "m"),),
    )
    assert status_patch(node, wanted, now=NOW) == {
        "metadata": {"uid": "u"},
        "status": {
            "capacity": {"cpu": "96"},
            "allocatable": {"nvidia.com/gpu": None},
            "conditions": [
                {
                    "type": "Ready",
                    "status": "False",
                    "reason": "KubeletNotReady",
                    "message": "m",
                    "lastHeartbeatTime": NOW,
                    "lastTransitionTime": NOW,
                }
            ],
        },
    }


@pytest.mark.parametrize(
    ("name", "policy", "state", "ready"),
    [
        ("cluster-policy", Policy(layouts={}), "ready", "True"),
        ("cluster-policy", Policy(layouts=None, layouts_problem="ConfigMap x does not exist"), "notReady", "False"),
        ("cluster-policy", Policy(layouts=None, mig_manager=False), "ready", "True"),
        ("second", Policy(layouts={}), "ignored", None),
    ],
)
def test_cluster_policy_status_follows_policy(name: str, policy: Policy, state: str, ready: str | None) -> None:
    status = make_status(name, policy, 3)
    assert status["state"] == state
    conditions = {entry["type"]: entry for entry in status.get("conditions", [])}
    assert conditions.get("Ready", {}).get("status") == ready


def test_written_status_is_not_written_again() -> None:
    wanted = make_status("cluster-policy", Policy(layouts={}), 1)
    written = {**wanted, "conditions": [{**c, "lastTransitionTime": NOW} for c in wanted["conditions"]]}
    assert not status_differs(written, wanted)
    assert status_differs(None, wanted)
    assert status_differs(written, make_status("cluster-policy", Policy(layouts={}), 2))
