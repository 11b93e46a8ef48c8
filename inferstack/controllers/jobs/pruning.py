"""What the job controller keeps in memory of each object. Pure.

A pod has about 10 KB; 0.5 KB of it is kept. With thousands of pods this decides the operator's memory.
"""

from __future__ import annotations

from inferstack.api.labels import (
    CACHE,
    COLD,
    HASH,
    MANAGER,
    SPEC_REPLICAS,
)
from inferstack.apimachinery.labels import JOB
from inferstack.apimachinery.objects import Object
from inferstack.controllers.jobs import drift

_METADATA = ("name", "namespace", "uid", "resourceVersion", "generation", "deletionTimestamp")


def prune_job(obj: Object) -> Object:
    """Keep identity, spec and status."""
    kept = {"metadata": _metadata(obj), "spec": obj.get("spec") or {}}
    if obj.get("status"):
        kept["status"] = obj["status"]
    return kept


def prune_child(obj: Object) -> Object:
    """Keep what the operator writes, so that a change by others shows, and a Deployment's counts.

    The added key ``created`` is `drift.created`: the managed fields are too large to keep.
    """
    meta = _metadata(obj)
    meta["labels"] = obj["metadata"].get("labels") or {}
    meta["ownerReferences"] = obj["metadata"].get("ownerReferences") or []
    annotations = obj["metadata"].get("annotations") or {}
    meta["annotations"] = {key: annotations[key] for key in (HASH, SPEC_REPLICAS, CACHE, COLD) if key in annotations}
    kept = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": meta, "spec": obj.get("spec") or {}}
    kept["created"] = drift.created(obj, MANAGER)
    if obj["kind"] == "Deployment":
        kept["status"] = obj.get("status") or {}
    return kept


def prune_pod(obj: Object) -> Object:
    """Keep whether the pod is scheduled and what its containers wait for."""
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


def prune_dataset(obj: Object) -> Object:
    """Keep what `datasets.cache_state` reads of a Dataset; its other counters change every few seconds."""
    status = obj.get("status") or {}
    notes = [c.get("message", "") for c in status.get("conditions") or [] if c["type"] == "NotReady"]
    return {
        "metadata": _metadata(obj),
        "mounts": [mount["mountPoint"] for mount in (obj.get("spec") or {}).get("mounts") or []],
        "phase": status.get("phase", ""),
        "cached": (status.get("cacheStates") or {}).get("cachedPercentage", ""),
        "note": notes[-1] if notes else "",
    }


def prune_load(obj: Object) -> Object:
    """Keep what `datasets.cache_state` reads of a DataLoad."""
    status = obj.get("status") or {}
    notes = [c.get("message", "") for c in status.get("conditions") or [] if c["type"] == "Failed"]
    return {
        "metadata": _metadata(obj),
        "dataset": ((obj.get("spec") or {}).get("dataset") or {}).get("name", ""),
        "phase": status.get("phase", ""),
        "succeeded": bool(status.get("lastSuccessfulTime")),
        "created": obj["metadata"].get("creationTimestamp", ""),
        "note": notes[-1] if notes else "",
    }


def _metadata(obj: Object) -> Object:
    return {key: obj["metadata"][key] for key in _METADATA if key in obj["metadata"]}
