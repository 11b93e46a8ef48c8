"""What the operator keeps in memory of an object. Pure.

A pod is 10 KB as it comes and 0.5 KB as it is kept; with thousands of pods that decides whether the operator fits.
"""

from __future__ import annotations

from inferstack.api.labels import CACHE, COLD, HASH, JOB, MANAGER, SPEC_REPLICAS, Object
from inferstack.controllers.jobs import compare

_META = ("name", "namespace", "uid", "resourceVersion", "generation", "deletionTimestamp")


def prune_job(obj: Object) -> Object:
    """Keep identity, spec and status."""
    kept = {"metadata": _metadata(obj), "spec": obj.get("spec") or {}}
    if obj.get("status"):
        kept["status"] = obj["status"]
    return kept


def prune_child(obj: Object) -> Object:
    """Keep what the operator writes, so that a change by others is seen, and a Deployment's counts.

    ``created``, added beside, is `compare.created`: the managed fields themselves are too large to keep.
    """
    meta = _metadata(obj)
    meta["labels"] = obj["metadata"].get("labels") or {}
    meta["ownerReferences"] = obj["metadata"].get("ownerReferences") or []
    annotations = obj["metadata"].get("annotations") or {}
    meta["annotations"] = {key: annotations[key] for key in (HASH, SPEC_REPLICAS, CACHE, COLD) if key in annotations}
    kept = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": meta, "spec": obj.get("spec") or {}}
    kept["created"] = compare.created(obj, MANAGER)
    if obj["kind"] == "Deployment":
        kept["status"] = obj.get("status") or {}
    return kept


def prune_pod(obj: Object) -> Object:
    """Keep whether the pod found a node and what its containers wait for."""
    meta = _metadata(obj)
    meta["labels"] = {JOB: obj["metadata"]["labels"][JOB]}
    status = obj.get("status") or {}
    kept: Object = {"phase": status.get("phase", "")}
    if unscheduled := [
        c for c in status.get("conditions") or [] if c["type"] == "PodScheduled" and c["status"] != "True"
    ]:
        kept["conditions"] = [
            {key: c.get(key, "") for key in ("type", "status", "reason", "message")} for c in unscheduled
        ]
    states = [
        c["state"]["waiting"] for c in status.get("containerStatuses") or [] if "waiting" in (c.get("state") or {})
    ]
    if states:
        kept["containerStatuses"] = [{"state": {"waiting": state}} for state in states]
    return {"metadata": meta, "status": kept}


def _metadata(obj: Object) -> Object:
    return {key: obj["metadata"][key] for key in _META if key in obj["metadata"]}
