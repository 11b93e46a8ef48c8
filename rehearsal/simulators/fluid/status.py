"""The status of Datasets, AlluxioRuntimes and DataLoads as Fluid's controllers write it; pure.

Phases and names are Fluid's. Data and time are simulated: an annotation of the Dataset sets its size, and an annotation
of the DataLoad its duration. Everything else follows from the objects.

``rehearsal.inferstack.dev/size`` on a Dataset: size of the data in its mounts, as a quantity of bytes.
``rehearsal.inferstack.dev/seconds`` on an AlluxioRuntime or a DataLoad: duration of the start or of the load.
``rehearsal.inferstack.dev/missing-paths`` on a Dataset: comma-separated paths that its buckets lack.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from inferstack.apimachinery.objects import Object
from inferstack.apimachinery.quantity import parse_quantity
from inferstack.apimachinery.rfc3339 import format_time, parse_time

API_VERSION = "data.fluid.io/v1alpha1"
SIZE = "rehearsal.inferstack.dev/size"
SECONDS = "rehearsal.inferstack.dev/seconds"
MISSING = "rehearsal.inferstack.dev/missing-paths"
STARTED = "rehearsal.inferstack.dev/started"
"""Start time, written on a DataLoad when it begins to execute, so that a new agent continues the load."""
REFERENCE = "dataset://"
EXECUTING = "Executing"

_SIZE = "440449768"
"""Size of the weights of bert-base-uncased in bytes."""
_START_SECONDS = 0.2
_LOAD_SECONDS = 0.5
_STEPS = 4
"""Number of steps in which the progress of a DataLoad is reported."""


def key_of_load(load: Object) -> str:
    """Return the key of the Dataset that a DataLoad loads."""
    target = (load.get("spec") or {}).get("dataset") or {}
    return f"{target.get('namespace') or load['metadata']['namespace']}/{target.get('name', '')}"


def origin(dataset: Object | None) -> str | None:
    """Return the key of the Dataset that this one references, or None for one with its own mounts."""
    for mount in ((dataset or {}).get("spec") or {}).get("mounts") or []:
        if mount["mountPoint"].startswith(REFERENCE):
            return "/".join(mount["mountPoint"].removeprefix(REFERENCE).split("/")[:2])
    return None


def gone(obj: Object | None) -> bool:
    """Return whether an object is missing or terminating."""
    return obj is None or "deletionTimestamp" in obj["metadata"]


def ready(runtime: Object | None) -> bool:
    """Return whether a runtime serves: all masters run, and at least one worker if any are desired."""
    status = (runtime or {}).get("status") or {}
    well = status.get("workerPhase") in ("Ready", "PartialReady")
    return not gone(runtime) and status.get("masterPhase") == "Ready" and well


def selects(dataset: Object, labels: Mapping[str, str]) -> bool:
    """Return whether a node with these labels may hold the data."""
    affinity = ((dataset.get("spec") or {}).get("nodeAffinity") or {}).get("required")
    terms = (affinity or {}).get("nodeSelectorTerms") or []
    return not affinity or any(
        all(_matches(rule, labels) for rule in term.get("matchExpressions") or []) for term in terms
    )


def _matches(rule: Object, labels: Mapping[str, str]) -> bool:
    has, values = labels.get(rule["key"]), rule.get("values") or []
    results = {
        "In": has in values,
        "NotIn": has not in values,
        "Exists": has is not None,
        "DoesNotExist": has is None,
    }
    return results.get(rule["operator"], False)


def runtime_status(runtime: Object, *, nodes: int, now: datetime) -> tuple[Object, float | None]:
    """Return the status of an AlluxioRuntime, and the seconds until it changes.

    Args:
        runtime: the object.
        nodes: number of nodes that may hold the data of its Dataset; each has room for one worker.
        now: the current time.
    """
    meta, spec = runtime["metadata"], runtime.get("spec") or {}
    masters, workers = (spec.get("master") or {}).get("replicas", 1), spec.get("replicas", 0)
    left = _left(runtime, parse_time(meta["creationTimestamp"]), _START_SECONDS, now)
    placed = min(workers, nodes)
    running, served = (0, 0) if left else (placed, masters)
    phase = "Ready" if running == workers else "PartialReady" if running else "NotReady"
    status = {
        "valueFile": f"{meta['name']}-alluxio-values",
        "selector": f"app=alluxio,release={meta['name']},role=alluxio-worker",
        "masterPhase": "NotReady" if left else "Ready",
        "desiredMasterNumberScheduled": masters,
        "currentMasterNumberScheduled": masters,
        "masterNumberReady": served,
        "workerPhase": "NotReady" if left else phase,
        "desiredWorkerNumberScheduled": workers,
        "currentWorkerNumberScheduled": placed,
        "workerNumberReady": running,
        "workerNumberAvailable": running,
        "workerNumberUnavailable": workers - running,
        # The first pod on a node that mounts the Dataset brings the FUSE pod to that node.
        "fusePhase": "NotReady" if left else "Ready",
        "desiredFuseNumberScheduled": 0,
        "currentFuseNumberScheduled": 0,
        "fuseNumberReady": 0,
        "conditions": [],
    }
    return status, left or None


def load_status(
    load: Object, dataset: Object | None, *, busy: bool, now: datetime
) -> tuple[Object | None, float | None]:
    """Return the next status of a DataLoad, or None if it is unchanged, and the seconds until it changes.

    Args:
        load: the object.
        dataset: the Dataset to load, or None if it does not exist.
        busy: whether another DataLoad of the Dataset is executing; only one executes at a time.
        now: the current time.
    """
    status, spec = load.get("status") or {}, load.get("spec") or {}
    policy = spec.get("policy", "Once")
    bound = ((dataset or {}).get("status") or {}).get("phase") == "Bound"
    if policy == "OnEvent" or dataset is None or not bound:
        return None, None
    phase = status.get("phase")
    blank: Object = {"conditions": [], "duration": "Unfinished", "infos": {}}
    if not phase:
        return {"phase": "Pending", **blank}, None
    if phase == "Pending" and not busy:
        return {"phase": EXECUTING, **blank}, None
    if phase != EXECUTING:
        return None, None
    started = load["metadata"].get("annotations", {}).get(STARTED)
    if started is None:
        return None, None
    begun = parse_time(started)
    if left := _left(load, begun, _LOAD_SECONDS, now):
        return None, min(left, _seconds(load, _LOAD_SECONDS) / _STEPS)
    missing = dataset["metadata"].get("annotations", {}).get(MISSING, "").split(",")
    lost = [target["path"] for target in spec.get("target") or [] if target["path"] in missing]
    condition = {
        "type": "Failed" if lost else "Complete",
        "status": "True",
        "reason": "BackoffLimitExceeded" if lost else "CompletionsReached",
        "message": f"the buckets have no {', '.join(lost)}" if lost else "all targets are loaded",
        "lastProbeTime": format_time(now),
        "lastTransitionTime": format_time(now),
    }
    finished = {**blank, "phase": condition["type"], "conditions": [condition]}
    finished["duration"] = f"{round((now - begun).total_seconds())}s"
    if policy == "Cron":
        finished["lastScheduleTime"] = format_time(begun)
        if not lost:
            finished["lastSuccessfulTime"] = format_time(now)
    return finished, None


def progress(load: Object, now: datetime) -> float:
    """Return the fraction of its targets that a DataLoad has loaded, in steps from 0 to 1."""
    phase, started = (load.get("status") or {}).get("phase"), load["metadata"].get("annotations", {}).get(STARTED)
    if phase == "Complete":
        return 1.0
    if phase != EXECUTING or started is None:
        return 0.0
    elapsed = (now - parse_time(started)).total_seconds()
    return min(int(_STEPS * elapsed / _seconds(load, _LOAD_SECONDS)), _STEPS - 1) / _STEPS


def dataset_status(
    dataset: Object, runtime: Object | None, loads: Sequence[Object], referrers: Sequence[str], now: datetime
) -> Object:
    """Return the status of a Dataset with its own mounts.

    Args:
        dataset: the object.
        runtime: the runtime with the same name, or None if it does not exist.
        loads: the DataLoads of the Dataset.
        referrers: keys of the Datasets that reference it.
        now: the current time.
    """
    before = dataset.get("status") or {}
    references = {"datasetRef": sorted(referrers)} if referrers else {}
    if not ready(runtime):
        # A bound Dataset that lost its workers has failed; one that lost its runtime is treated as new.
        failed = before.get("phase") in ("Bound", "Failed") and not gone(runtime)
        if not failed:
            return {"phase": "NotBound", "conditions": [], **references}
        return {
            **before,
            "phase": "Failed",
            "conditions": [_condition(before, "Ready", "False", "DatasetReady", "the runtime is not ready", now)],
        }
    assert runtime is not None  # noqa: S101  # it is ready
    size = int(parse_quantity(dataset["metadata"].get("annotations", {}).get(SIZE, _SIZE)))
    capacity = _capacity(runtime)
    cached = min(int(size * max((progress(load, now) for load in loads), default=0.0)), capacity)
    states = {
        "cacheCapacity": human(capacity),
        "cached": human(cached),
        "cachedPercentage": f"{cached / size * 100 if size else 100.0:.1f}%",
    }
    running = [load["metadata"]["name"] for load in loads if (load.get("status") or {}).get("phase") == EXECUTING]
    meta = runtime["metadata"]
    return {
        "phase": "Bound",
        "ufsTotal": human(size),
        "cacheStates": states,
        "runtimes": [_runtime(meta, "alluxio", runtime["status"]["desiredMasterNumberScheduled"])],
        "conditions": [_condition(before, "Ready", "True", "DatasetReady", "the runtime is ready", now)],
        **({"operationRef": {"DataLoad": running[0]}} if running else {}),
        **references,
    }


def reference_status(dataset: Object, physical: Object | None) -> Object:
    """Return the status of a Dataset that references another, copied from that Dataset."""
    physical_status = (physical or {}).get("status") or {}
    if gone(physical) or not physical_status.get("runtimes"):
        return {"phase": "NotBound", "conditions": []}
    kept = {key: value for key, value in physical_status.items() if key not in ("datasetRef", "operationRef")}
    return {**kept, "runtimes": [_runtime(dataset["metadata"], "thin", 0)]}


def human(size: int) -> str:
    """Format a number of bytes as Fluid does."""
    units = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
    power = min((max(size, 1).bit_length() - 1) // 10, len(units) - 1)
    return f"{size / 1024**power:.2f}{units[power]}"


def _runtime(meta: Object, kind: str, masters: int) -> Object:
    entry = {"category": "Accelerate", "name": meta["name"], "namespace": meta["namespace"], "type": kind}
    return {**entry, "masterReplicas": masters} if masters else entry


def _capacity(runtime: Object) -> int:
    """Return the total cache capacity of all running workers in bytes."""
    levels = ((runtime.get("spec") or {}).get("tieredstore") or {}).get("levels") or []
    each = 0
    for level in levels:
        amounts = level["quotaList"].split(",") if level.get("quotaList") else [level.get("quota", 0)]
        each += int(sum(parse_quantity(amount) for amount in amounts))
    return each * int(runtime["status"]["workerNumberReady"])


def _condition(before: Object, kind: str, status: str, reason: str, message: str, now: datetime) -> Object:
    """Return a condition of a Dataset; an unchanged condition keeps its times."""
    content = {"type": kind, "status": status, "reason": reason, "message": message}
    for previous in before.get("conditions") or []:
        if previous.items() >= content.items():
            return dict(previous)
    return {**content, "lastUpdateTime": format_time(now), "lastTransitionTime": format_time(now)}


def _seconds(obj: Object, default: float) -> float:
    return float(obj["metadata"].get("annotations", {}).get(SECONDS, default))


def _left(obj: Object, since: datetime, default: float, now: datetime) -> float:
    """Return the seconds left of an operation that began at the given time, or 0 if it is done."""
    return max(0.0, _seconds(obj, default) - (now - since).total_seconds())
