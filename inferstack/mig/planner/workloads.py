"""Pods and InferenceJobs as the planner sees them: demands, spread limits, and pods that must not be moved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from inferstack.apimachinery.objects import ReadOnlyObject
from inferstack.mig.planner.model import Demand
from inferstack.mig.pods import pod_requests
from inferstack.mig.resources import GPU_RESOURCE, is_mig, profile_of

SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict"
"""Annotation; ``false`` on a pod that must not be moved."""
HOSTNAME = "kubernetes.io/hostname"
_RESCHEDULED_OWNERS = ("ReplicaSet", "StatefulSet", "ReplicationController")
"""Kinds of owners that replace a pod on any node."""


class CommonLabels:
    """Whether all nodes have a label; cached, because many pods select the same labels."""

    def __init__(self, nodes: Sequence[Mapping[str, str]]) -> None:
        self._nodes = nodes
        self._cache: dict[tuple[str, str], bool] = {}

    def have(self, key: str, value: str) -> bool:
        """Return whether every node has this label."""
        if (key, value) not in self._cache:
            self._cache[key, value] = all(labels.get(key) == value for labels in self._nodes)
        return self._cache[key, value]


def pin_reason(pod: ReadOnlyObject, common_labels: CommonLabels) -> str:
    """Return why a pod cannot be moved, or an empty string."""
    owners = [
        owner.get("kind", "") for owner in pod["metadata"].get("ownerReferences") or [] if owner.get("controller")
    ]
    spec = pod.get("spec") or {}
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    if not owners:
        return "it has no controller that would replace it"
    if owners[0] not in _RESCHEDULED_OWNERS:
        return f"it is owned by a {owners[0]}"
    if (pod["metadata"].get("annotations") or {}).get(SAFE_TO_EVICT) == "false":
        return f"{SAFE_TO_EVICT} is false"
    if affinity.get("requiredDuringSchedulingIgnoredDuringExecution"):
        return "it has a required node affinity"
    for key, value in (spec.get("nodeSelector") or {}).items():
        if not common_labels.have(key, value):
            return f"its nodeSelector {key}={value} does not fit every planned node"
    return ""


def make_demands(
    pending: Iterable[ReadOnlyObject],
    jobs: Iterable[ReadOnlyObject],
    scheduled: Sequence[ReadOnlyObject],
    job_label: str,
) -> tuple[tuple[Demand, ...], dict[str, str]]:
    """Return the demands and the ignored pods.

    Equal pending pods of one workload form one demand. Replicas of jobs without a pod are demands too.
    """
    ignored: dict[str, str] = {}
    counts: Counter[tuple[str, str, int, int | None]] = Counter()
    existing: Counter[str] = Counter(workload_of(pod, job_label) for pod in scheduled)
    priorities: dict[str, int] = {}
    for pod in pending:
        requests = pod_requests(pod)
        (resource, count), *more = requests.items()
        workload = workload_of(pod, job_label)
        existing[workload] += 1
        priority = int((pod.get("spec") or {}).get("priority") or 0)
        priorities[workload] = priority
        if (pod.get("spec") or {}).get("schedulingGates"):
            ignored[full_name(pod)] = "its scheduling gates are closed"
        elif resource == GPU_RESOURCE or more:
            ignored[full_name(pod)] = "it asks for whole GPUs" if not more else "it asks for several kinds of GPU"
        elif count > 1:
            ignored[full_name(pod)] = f"it asks for {count} instances at once, on one node"
        else:
            counts[workload, profile_of(resource), priority, max_per_node(pod)] += 1
    for job in jobs:
        workload = full_name(job)
        missing = int(job["spec"].get("replicas", 1)) - existing[workload]
        resource_limits = job["spec"]["resources"]["limits"]
        resource_name = next((name for name in resource_limits if is_mig(name)), "")
        if missing > 0 and resource_name and int(resource_limits[resource_name]) == 1:
            counts[workload, profile_of(resource_name), priorities.get(workload, 0), None] += missing
    names = Counter(workload for workload, *_ in counts)
    demands = tuple(
        Demand(
            workload if names[workload] == 1 else f"{workload} {profile} {priority}",
            count,
            priority,
            profile,
            0,
            0,
            limit,
        )
        for (workload, profile, priority, limit), count in sorted(counts.items(), key=lambda item: repr(item[0]))
    )
    return demands, ignored


def max_per_node(pod: ReadOnlyObject) -> int | None:
    """Return 1 if a required anti-affinity keeps pods of the same labels on separate nodes, otherwise None."""
    rules = ((pod.get("spec") or {}).get("affinity") or {}).get("podAntiAffinity") or {}
    labels = labels_of(pod)
    for term in rules.get("requiredDuringSchedulingIgnoredDuringExecution") or []:
        match_labels = (term.get("labelSelector") or {}).get("matchLabels") or {}
        if term.get("topologyKey") == HOSTNAME and match_labels and match_labels.items() <= labels.items():
            return 1
    return None


def workload_of(pod: ReadOnlyObject, job_label: str) -> str:
    """Return namespace and name of the job or workload of a pod."""
    namespace, labels = pod["metadata"].get("namespace", ""), labels_of(pod)
    if job_label in labels:
        return f"{namespace}/{labels[job_label]}"
    for owner in pod["metadata"].get("ownerReferences") or []:
        if owner.get("controller"):
            # The ReplicaSets of a Deployment differ only in the hash.
            return f"{namespace}/{str(owner['name']).removesuffix('-' + labels.get('pod-template-hash', ''))}"
    return full_name(pod)


def labels_of(obj: ReadOnlyObject) -> Mapping[str, str]:
    """Return the labels of an object."""
    return obj["metadata"].get("labels") or {}


def name_of(obj: ReadOnlyObject) -> str:
    """Return the name of an object."""
    return str(obj["metadata"]["name"])


def full_name(obj: ReadOnlyObject) -> str:
    """Return namespace and name of an object, joined by a slash."""
    return f"{obj['metadata'].get('namespace', '')}/{obj['metadata']['name']}"
