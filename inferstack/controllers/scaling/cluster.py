"""What is kept of pods, nodes, Deployments and priorities, and what follows from it. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping
from datetime import datetime

from inferstack.api import InferenceJobSpec
from inferstack.api.labels import JOB, Object
from inferstack.k8s.conditions import find_condition
from inferstack.mig.pods import count_resources, pod_requests
from inferstack.scaling.model import Distribution

COLD_STARTS = 50
"""Cold starts that are remembered of a job; older ones may be of another model or another disk."""
_META = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp")
_ENDED = ("Succeeded", "Failed")


def prune_job(obj: Object) -> Object:
    """Keep of an InferenceJob what is decided on."""
    meta = {key: obj["metadata"][key] for key in (*_META, "generation") if key in obj["metadata"]}
    kept = {"metadata": meta, "spec": obj.get("spec") or {}}
    if scaling := (obj.get("status") or {}).get("scaling"):
        kept["status"] = {"scaling": scaling}
    return kept


def prune_deployment(obj: Object) -> Object:
    """Keep of a Deployment how many replicas it wants and has."""
    ready = (obj.get("status") or {}).get("readyReplicas", 0)
    return {"metadata": _metadata(obj), "replicas": (obj.get("spec") or {}).get("replicas", 1), "ready": ready}


def prune_pod(obj: Object) -> Object:
    """Keep of a pod whose it is, which GPUs it holds where, and how long it took to start."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    ready = find_condition(obj, "Ready")
    kept: Object = {
        "metadata": _metadata(obj),
        "job": (obj["metadata"].get("labels") or {}).get(JOB),
        "node": spec.get("nodeName"),
        "gpus": dict(pod_requests(obj)),
        "ended": status.get("phase") in _ENDED,
    }
    if ready.get("status") == "True":
        kept["ready"] = ready["lastTransitionTime"]
    return kept


def prune_node(obj: Object) -> Object:
    """Keep of a node what GPUs it has, and whether it takes pods."""
    amounts = (obj.get("status") or {}).get("allocatable") or {}
    usable = not (obj.get("spec") or {}).get("unschedulable") and "deletionTimestamp" not in obj["metadata"]
    return {
        "metadata": _metadata(obj),
        "gpus": dict(count_resources(obj["metadata"]["name"], amounts)),
        "usable": usable and find_condition(obj, "Ready").get("status") == "True",
    }


def prune_priority(obj: Object) -> Object:
    """Keep of a PriorityClass its value."""
    return {"metadata": _metadata(obj), "value": obj["value"], "default": bool(obj.get("globalDefault"))}


def _metadata(obj: Object) -> Object:
    return {key: obj["metadata"][key] for key in _META if key in obj["metadata"]}


def pools(nodes: Iterable[Object], pods: Iterable[Object], jobs: Mapping[str, str]) -> dict[str, int]:
    """Return the GPUs, or slices, that the given jobs may share, by resource.

    What nodes have that take pods, less what others hold there, and what the jobs' own pods hold on the rest: a node
    that is drained takes nobody's replica away before its pods are.

    Args:
        nodes: as pruned.
        pods: as pruned.
        jobs: the GPU resource of each job that shares, by namespace/name.
    """
    shared: Counter[str] = Counter()
    usable = set()
    for node in nodes:
        if node["usable"]:
            usable.add(node["metadata"]["name"])
            shared.update(node["gpus"])
    for pod in pods:
        if pod["node"] is None or pod["ended"]:
            continue
        ours = pod["job"] is not None and f"{pod['metadata']['namespace']}/{pod['job']}" in jobs
        if pod["node"] in usable and not ours:
            shared.subtract(pod["gpus"])
        elif pod["node"] not in usable and ours:
            shared.update(pod["gpus"])
    return {resource: max(0, shared[resource]) for resource in set(jobs.values())}


def priority(spec: InferenceJobSpec, classes: Iterable[Object]) -> int:
    """Return the priority of a job's pods, as admission will write it into them."""
    known = list(classes)
    if spec.priority_class_name is not None:
        found = (one["value"] for one in known if one["metadata"]["name"] == spec.priority_class_name)
        return int(next(found, 0))
    return max((int(one["value"]) for one in known if one["default"]), default=0)


class ColdStarts:
    """How long replicas took from their creation until they were Ready, by job."""

    def __init__(self) -> None:
        self._taken: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=COLD_STARTS))
        self._counted: dict[str, set[str]] = defaultdict(set)

    def see(self, before: Object | None, after: Object | None) -> None:
        """Take note of a change of a pod."""
        pod = after or before
        if pod is None or pod["job"] is None:
            return
        key, uid = f"{pod['metadata']['namespace']}/{pod['job']}", pod["metadata"]["uid"]
        if after is None:
            self._counted[key].discard(uid)
        elif "ready" in after and uid not in self._counted[key]:
            self._counted[key].add(uid)
            self._taken[key].append(seconds(after["ready"]) - seconds(after["metadata"]["creationTimestamp"]))

    def of(self, key: str, longest: float) -> Distribution:
        """Return the measured cold starts of a job.

        Args:
            key: namespace/name.
            longest: seconds after which a start is given up; what took longer became Ready for another reason. Where
                nothing was measured it is what must be reckoned with.
        """
        taken = [time for time in self._taken.get(key, ()) if 0 <= time <= longest]
        return Distribution.of(taken) if taken else Distribution.fixed(longest)

    def forget(self, key: str) -> None:
        """Drop a job that is gone."""
        self._taken.pop(key, None)
        self._counted.pop(key, None)


def seconds(time: str) -> float:
    """Return a time of Kubernetes in seconds since the epoch."""
    return datetime.fromisoformat(time).timestamp()
