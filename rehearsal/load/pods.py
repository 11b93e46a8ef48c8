"""Views of pods: the fields that the simulator reads, and targets for Prometheus' service discovery; pure functions."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from inferstack.apimachinery.labels import APP_NAME, JOB, PART_OF, PLATFORM
from inferstack.apimachinery.objects import Object
from inferstack.apimachinery.rfc3339 import parse_epoch

SELECTOR = f"{PART_OF}={PLATFORM}"
_MODEL = ("--model", "--model-id")
_GENERATING = ("vllm",)


def prune(pod: Object) -> Object:
    """Keep only the fields that the simulator reads: there may be thousands of pods."""
    meta, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    kept = ("name", "namespace", "uid", "resourceVersion", "labels", "creationTimestamp", "deletionTimestamp")
    containers = {
        field: [
            {key: container[key] for key in ("name", "ports", "args", "resources", "restartPolicy") if key in container}
            for container in spec[field]
        ]
        for field in ("containers", "initContainers")
        if field in spec
    }
    return {
        "metadata": {key: meta[key] for key in kept if key in meta},
        "spec": {"nodeName": spec.get("nodeName"), **containers},
        "status": {key: status[key] for key in ("phase", "podIP", "conditions") if key in status},
    }


def job_of(pod: Mapping[str, Any]) -> str | None:
    """Return namespace/name of the job that a pod is a replica of."""
    meta = pod["metadata"]
    name = (meta.get("labels") or {}).get(JOB)
    return f"{meta['namespace']}/{name}" if name else None


def ready_since(pod: Mapping[str, Any]) -> float | None:
    """Return when a pod became ready, in seconds since the epoch; None if it is not ready or is terminating."""
    if pod["metadata"].get("deletionTimestamp"):
        return None
    for condition in pod["status"].get("conditions") or []:
        if condition["type"] == "Ready" and condition["status"] == "True":
            return parse_epoch(condition["lastTransitionTime"])
    return None


def model_of(pod: Mapping[str, Any]) -> str:
    """Return the model from a replica's arguments, or the name of the job."""
    arguments = pod["spec"]["containers"][0].get("args") or []
    for flag, value in itertools.pairwise(arguments):
        if flag in _MODEL:
            return str(value)
    return str((pod["metadata"].get("labels") or {}).get(JOB, ""))


def generates(pod: Mapping[str, Any]) -> bool:
    """Return whether a replica's server generates tokens."""
    return (pod["metadata"].get("labels") or {}).get(APP_NAME) in _GENERATING


def targets(pod: Mapping[str, Any], address: str, path: str | None) -> Iterator[Object]:
    """Yield a target for each port of a pod, in the format of Prometheus' http_sd_configs.

    The labels are those of ``kubernetes_sd_configs`` with the role pod. Nothing listens on a simulated pod's address,
    so ``__address__`` and ``__metrics_path__`` point to the simulator.

    Args:
        pod: the pruned pod.
        address: host:port of its metrics.
        path: path of its metrics; None for the path of the PodMonitor.
    """
    meta, spec, status = pod["metadata"], pod["spec"], pod["status"]
    ready = ready_since(pod) is not None
    common = {
        "__meta_kubernetes_namespace": meta["namespace"],
        "__meta_kubernetes_pod_name": meta["name"],
        "__meta_kubernetes_pod_uid": meta["uid"],
        "__meta_kubernetes_pod_ip": status.get("podIP", ""),
        "__meta_kubernetes_pod_node_name": spec.get("nodeName") or "",
        "__meta_kubernetes_pod_phase": status.get("phase", ""),
        "__meta_kubernetes_pod_ready": "true" if ready else "false",
    }
    for key, value in (meta.get("labels") or {}).items():
        name = re.sub(r"[^a-zA-Z0-9_]", "_", key)
        common[f"__meta_kubernetes_pod_label_{name}"] = value
        common[f"__meta_kubernetes_pod_labelpresent_{name}"] = "true"
    if path:
        common["__metrics_path__"] = path
    for container in spec["containers"]:
        for port in container.get("ports") or []:
            number = str(port["containerPort"])
            labels = {
                "__meta_kubernetes_pod_container_name": container["name"],
                "__meta_kubernetes_pod_container_port_name": port.get("name", ""),
                "__meta_kubernetes_pod_container_port_number": number,
                "__meta_kubernetes_pod_container_port_protocol": port.get("protocol", "TCP"),
                "instance": f"{status.get('podIP', '')}:{number}",
            }
            yield {"targets": [address], "labels": {**common, **labels}}
