"""Nodes, pods that hold GPUs and PodDisruptionBudgets, made of raw objects. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from inferstack.apimachinery.objects import Object
from inferstack.controllers.mig.devices import MigSettings
from inferstack.mig.gpu_operator import MIG_CONFIG, MIG_STATE
from inferstack.mig.pods import pod_requests
from inferstack.mig.resources import is_nvidia

OWNER: Final = "inferstack.dev/mig-rollout"
"""Label of a node that was cordoned for a rollout: the rollout's name. It permits uncordoning the node."""
_MIRROR: Final = "kubernetes.io/config.mirror"
_ENDED: Final = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Node:
    """The part of a Node that decisions depend on."""

    name: str
    labels: Mapping[str, str]
    allocatable: Mapping[str, str]
    unschedulable: bool
    ready: bool

    @property
    def owner(self) -> str | None:
        """Name of the rollout that cordoned it."""
        return self.labels.get(OWNER)

    @property
    def layout(self) -> str | None:
        """The layout requested from the MIG manager."""
        return self.labels.get(MIG_CONFIG) or None

    @property
    def state(self) -> str | None:
        """The state that the MIG manager reports."""
        return self.labels.get(MIG_STATE)


@dataclass(frozen=True)
class Pod:
    """A pod that holds GPUs and must leave its node before the layout changes."""

    namespace: str
    name: str
    uid: str
    node: str
    labels: Mapping[str, str]
    ready: bool = True
    leaving: bool = False
    """It is being deleted."""
    replaced: bool = True
    """It has a controller that will replace it."""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class Budget:
    """A PodDisruptionBudget."""

    namespace: str
    name: str
    selector: Mapping[str, Any] | None
    allowed: int
    healthy: int
    expected: int
    current: bool = True
    """Its status is of its latest generation."""

    def covers(self, pod: Pod) -> bool:
        """Return whether it covers a pod. In policy/v1 an empty selector selects all pods, a missing one none."""
        return self.namespace == pod.namespace and self.selector is not None and _selects(self.selector, pod.labels)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class ClusterState:
    """The cluster at one moment."""

    nodes: Mapping[str, Node]
    pods: Mapping[str, Sequence[Pod]] = field(default_factory=dict)
    """By node."""
    budgets: Sequence[Budget] = ()
    settings: MigSettings | None = None
    settings_problem: str = ""
    """Why there are no settings."""

    def covering(self, pods: Iterable[Pod]) -> list[Budget]:
        """Return the budgets that cover one of the pods."""
        listed = list(pods)
        return [budget for budget in self.budgets if any(budget.covers(pod) for pod in listed)]


def prune_node(obj: Object) -> Object:
    """Keep what `node_of` reads."""
    meta, status = obj["metadata"], obj.get("status") or {}
    kept_labels = {key: value for key, value in (meta.get("labels") or {}).items() if _matters(key)}
    return {
        "metadata": {**{key: meta[key] for key in ("name", "uid", "resourceVersion")}, "labels": kept_labels},
        "spec": {"unschedulable": bool((obj.get("spec") or {}).get("unschedulable"))},
        "status": {
            "allocatable": {
                name: count for name, count in (status.get("allocatable") or {}).items() if is_nvidia(name)
            },
            "conditions": [
                {key: condition[key] for key in ("type", "status")}
                for condition in status.get("conditions") or []
                if condition["type"] == "Ready"
            ],
        },
    }


def _matters(label: str) -> bool:
    return label == OWNER or label.startswith(("nvidia.com/gpu.", "nvidia.com/mig"))


def node_of(obj: Object) -> Node:
    """Return a node from its object, pruned or not."""
    status = obj.get("status") or {}
    return Node(
        name=obj["metadata"]["name"],
        labels=obj["metadata"].get("labels") or {},
        allocatable=status.get("allocatable") or {},
        unschedulable=bool((obj.get("spec") or {}).get("unschedulable")),
        ready=any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or []),
    )


def prune_pod(obj: Object) -> Object:
    """Keep what `pod_of` reads; of a pod without GPUs only the identity."""
    meta = obj["metadata"]
    kept: Object = {"metadata": {key: meta[key] for key in ("name", "namespace", "uid", "resourceVersion")}}
    if (pod := pod_of(obj)) is not None:
        kept["pod"] = pod
    return kept


def pod_of(obj: Object) -> Pod | None:
    """Return a pod that must leave its node before the layout changes; None for any other.

    Pods of DaemonSets and mirror pods stay: they would return at once, and the MIG manager stops NVIDIA's own.
    """
    meta, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
    if not spec.get("nodeName") or status.get("phase") in _ENDED or not pod_requests(obj, is_nvidia):
        return None
    owner = next((ref for ref in meta.get("ownerReferences") or [] if ref.get("controller")), None)
    if _MIRROR in (meta.get("annotations") or {}) or (owner and owner["kind"] == "DaemonSet"):
        return None
    conditions = status.get("conditions") or []
    return Pod(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        node=spec["nodeName"],
        labels=meta.get("labels") or {},
        ready=any(c["type"] == "Ready" and c["status"] == "True" for c in conditions),
        leaving="deletionTimestamp" in meta,
        replaced=owner is not None,
    )


def budget_of(obj: Object) -> Budget:
    """Return a PodDisruptionBudget from its object."""
    meta, status = obj["metadata"], obj.get("status") or {}
    return Budget(
        namespace=meta["namespace"],
        name=meta["name"],
        selector=obj["spec"].get("selector"),
        allowed=status.get("disruptionsAllowed", 0),
        healthy=status.get("currentHealthy", 0),
        expected=status.get("expectedPods", 0),
        current=status.get("observedGeneration", 0) >= meta.get("generation", 1),
    )


def _selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_holds(each, labels) for each in selector.get("matchExpressions") or ())


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or ()
    match expression["operator"]:
        case "In":
            return labels.get(key) in values
        case "NotIn":
            return labels.get(key) not in values
        case "Exists":
            return key in labels
        case _:
            return key not in labels
