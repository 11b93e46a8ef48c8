"""What the decisions are made of: nodes, the pods that hold GPUs, and disruption budgets, out of raw objects. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from inferstack.controllers.mig.devices import Settings
from inferstack.mig.gpu_operator import MIG_CONFIG, MIG_STATE
from inferstack.mig.pods import pod_requests
from inferstack.mig.resources import is_nvidia

Object = dict[str, Any]

OWNER: Final = "inferstack.dev/mig-rollout"
"""Label of a node that was cordoned for a rollout: the rollout's name. Who finds it may uncordon the node again."""
_MIRROR: Final = "kubernetes.io/config.mirror"
_ENDED: Final = ("Succeeded", "Failed")


@dataclass(frozen=True)
class Node:
    """A node as far as it matters."""

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
        """What the MIG manager is asked for."""
        return self.labels.get(MIG_CONFIG) or None

    @property
    def state(self) -> str | None:
        """What the MIG manager says."""
        return self.labels.get(MIG_STATE)


@dataclass(frozen=True)
class Pod:
    """A pod that holds GPUs, on a node, and is to leave before these are cut."""

    namespace: str
    name: str
    uid: str
    node: str
    labels: Mapping[str, str]
    ready: bool = True
    leaving: bool = False
    """It was deleted and has not ended yet."""
    replaced: bool = True
    """Someone makes another for it: it has a controller."""

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
    """Its numbers are of its latest spec."""

    def covers(self, pod: Pod) -> bool:
        """Tell whether it counts a pod. In policy/v1 an empty selector means all pods, none means none."""
        return self.namespace == pod.namespace and self.selector is not None and _selects(self.selector, pod.labels)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True)
class World:
    """All of it at one moment."""

    nodes: Mapping[str, Node]
    pods: Mapping[str, Sequence[Pod]] = field(default_factory=dict)
    """By node."""
    budgets: Sequence[Budget] = ()
    settings: Settings | None = None
    problem: str = ""
    """Why there are no settings."""

    def covering(self, pods: Iterable[Pod]) -> list[Budget]:
        """Return the budgets that count one of the pods."""
        listed = list(pods)
        return [budget for budget in self.budgets if any(budget.covers(pod) for pod in listed)]


def prune_node(obj: Object) -> Object:
    """Keep of a node what `node_of` reads."""
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
                {key: one[key] for key in ("type", "status")}
                for one in status.get("conditions") or []
                if one["type"] == "Ready"
            ],
        },
    }


def _matters(label: str) -> bool:
    return label == OWNER or label.startswith(("nvidia.com/gpu.", "nvidia.com/mig"))


def node_of(obj: Object) -> Node:
    """Return a node out of its object, whole or pruned."""
    status = obj.get("status") or {}
    return Node(
        name=obj["metadata"]["name"],
        labels=obj["metadata"].get("labels") or {},
        allocatable=status.get("allocatable") or {},
        unschedulable=bool((obj.get("spec") or {}).get("unschedulable")),
        ready=any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions") or []),
    )


def prune_pod(obj: Object) -> Object:
    """Keep of a pod that holds GPUs what `pod_of` reads, of all others that they are there."""
    meta = obj["metadata"]
    kept: Object = {"metadata": {key: meta[key] for key in ("name", "namespace", "uid", "resourceVersion")}}
    if (pod := pod_of(obj)) is not None:
        kept["pod"] = pod
    return kept


def pod_of(obj: Object) -> Pod | None:
    """Return a pod that must leave its node before the GPUs are cut; None for one that need not.

    Those of DaemonSets and mirror pods stay: they would come back at once, and the MIG manager stops those of NVIDIA.
    """
    meta, spec, status = obj["metadata"], obj["spec"], obj.get("status") or {}
    if not spec.get("nodeName") or status.get("phase") in _ENDED or not pod_requests(obj, is_nvidia):
        return None
    owner = next((one for one in meta.get("ownerReferences") or [] if one.get("controller")), None)
    if _MIRROR in (meta.get("annotations") or {}) or (owner and owner["kind"] == "DaemonSet"):
        return None
    conditions = status.get("conditions") or []
    return Pod(
        namespace=meta["namespace"],
        name=meta["name"],
        uid=meta["uid"],
        node=spec["nodeName"],
        labels=meta.get("labels") or {},
        ready=any(one["type"] == "Ready" and one["status"] == "True" for one in conditions),
        leaving="deletionTimestamp" in meta,
        replaced=owner is not None,
    )


def budget_of(obj: Object) -> Budget:
    """Return a PodDisruptionBudget out of its object."""
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
