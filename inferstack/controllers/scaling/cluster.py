"""Reduces cluster objects to the fields that decisions need; derives GPU pools, priorities and cold starts. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterable, Mapping

from inferstack.api import InferenceJobSpec
from inferstack.apimachinery.labels import JOB
from inferstack.apimachinery.objects import Object
from inferstack.apimachinery.rfc3339 import parse_epoch
from inferstack.k8s.conditions import find_condition
from inferstack.mig.pods import count_resources, pod_requests
from inferstack.scaling.model import Distribution

COLD_STARTS = 50
"""Recent cold starts kept for each job; older ones may be of another model or another disk."""
_META = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp")
_TERMINATED = ("Succeeded", "Failed")


def prune_job(obj: Object) -> Object:
    """Keep the fields of an InferenceJob that a decision depends on."""
    meta = {key: obj["metadata"][key] for key in (*_META, "generation") if key in obj["metadata"]}
    kept = {"metadata": meta, "spec": obj.get("spec") or {}}
    if scaling := (obj.get("status") or {}).get("scaling"):
        kept["status"] = {"scaling": scaling}
    return kept


def prune_deployment(obj: Object) -> Object:
    """Keep the desired and ready replicas of a Deployment."""
    ready = (obj.get("status") or {}).get("readyReplicas", 0)
    return {"metadata": _metadata(obj), "replicas": (obj.get("spec") or {}).get("replicas", 1), "ready": ready}


def prune_pod(obj: Object) -> Object:
    """Keep the job, node, GPUs and start time of a pod."""
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    ready = find_condition(obj, "Ready")
    kept: Object = {
        "metadata": _metadata(obj),
        "job": (obj["metadata"].get("labels") or {}).get(JOB),
        "node": spec.get("nodeName"),
        "gpus": dict(pod_requests(obj)),
        "terminated": status.get("phase") in _TERMINATED,
    }
    if ready.get("status") == "True":
        kept["ready"] = ready["lastTransitionTime"]
    return kept


def prune_node(obj: Object) -> Object:
    """Keep the GPUs of a node, and whether it accepts pods."""
    amounts = (obj.get("status") or {}).get("allocatable") or {}
    usable = not (obj.get("spec") or {}).get("unschedulable") and "deletionTimestamp" not in obj["metadata"]
    return {
        "metadata": _metadata(obj),
        "gpus": dict(count_resources(obj["metadata"]["name"], amounts)),
        "usable": usable and find_condition(obj, "Ready").get("status") == "True",
    }


def prune_priority(obj: Object) -> Object:
    """Keep the value of a PriorityClass."""
    return {"metadata": _metadata(obj), "value": obj["value"], "default": bool(obj.get("globalDefault"))}


def _metadata(obj: Object) -> Object:
    return {key: obj["metadata"][key] for key in _META if key in obj["metadata"]}


def pools(nodes: Iterable[Object], pods: Iterable[Object], jobs: Mapping[str, str]) -> dict[str, int]:
    """Return the GPUs or MIG slices that the given jobs share, by resource.

    The pool is the GPUs of nodes that accept pods, less the GPUs that other pods hold there, plus the GPUs that pods of
    the jobs hold on all other nodes: draining a node takes no replica away before its pods are gone.

    Args:
        nodes: pruned nodes.
        pods: pruned pods.
        jobs: GPU resource of each job that shares, by namespace/name.
    """
    pool: Counter[str] = Counter()
    usable = set()
    for node in nodes:
        if node["usable"]:
            usable.add(node["metadata"]["name"])
            pool.update(node["gpus"])
    for pod in pods:
        if pod["node"] is None or pod["terminated"]:
            continue
        shares_pool = pod["job"] is not None and f"{pod['metadata']['namespace']}/{pod['job']}" in jobs
        if pod["node"] in usable and not shares_pool:
            pool.subtract(pod["gpus"])
        elif pod["node"] not in usable and shares_pool:
            pool.update(pod["gpus"])
    return {resource: max(0, pool[resource]) for resource in set(jobs.values())}


def priority(spec: InferenceJobSpec, classes: Iterable[Object]) -> int:
    """Return the priority that admission will give the pods of a job."""
    classes = list(classes)
    if spec.priority_class_name is not None:
        values = (item["value"] for item in classes if item["metadata"]["name"] == spec.priority_class_name)
        return int(next(values, 0))
    return max((int(item["value"]) for item in classes if item["default"]), default=0)


class ColdStarts:
    """Measured cold starts by job: seconds from the creation of a pod until it was Ready."""

    def __init__(self) -> None:
        self._durations: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=COLD_STARTS))
        self._measured_pods: dict[str, set[str]] = defaultdict(set)

    def observe(self, previous: Object | None, current: Object | None) -> None:
        """Record a change of a pod."""
        pod = current or previous
        if pod is None or pod["job"] is None:
            return
        key, uid = f"{pod['metadata']['namespace']}/{pod['job']}", pod["metadata"]["uid"]
        if current is None:
            self._measured_pods[key].discard(uid)
        elif "ready" in current and uid not in self._measured_pods[key]:
            self._measured_pods[key].add(uid)
            created = parse_epoch(current["metadata"]["creationTimestamp"])
            self._durations[key].append(parse_epoch(current["ready"]) - created)

    def distribution(self, key: str, limit: float) -> Distribution:
        """Return the distribution of a job's cold starts.

        Args:
            key: namespace/name.
            limit: seconds after which a start counts as failed. Longer measurements are ignored; without any
                measurement, this is the assumed duration.
        """
        durations = [duration for duration in self._durations.get(key, ()) if 0 <= duration <= limit]
        return Distribution.of(durations) if durations else Distribution.fixed(limit)

    def forget(self, key: str) -> None:
        """Drop a deleted job."""
        self._durations.pop(key, None)
        self._measured_pods.pop(key, None)
