"""Whether a job's cache is warm, and what that means for its replicas. Pure.

A Dataset of Fluid is mounted by the volume claim of its name. A Dataset may stand for another one in another namespace
(``dataset://namespace/name`` as its mount): the DataLoads are then those of the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from inferstack.api import Cache, WhenCold
from inferstack.api.labels import CACHE, COLD, Object
from inferstack.controllers.jobs.obstacles import Obstacle

API_VERSION = "data.fluid.io/v1alpha1"
REFERENCE = "dataset://"
STARTED_COLD = "StartedWithoutCache"


@dataclass(frozen=True)
class Warmth:
    """What is to be said of a job's Dataset."""

    why: Obstacle
    bound: bool = False
    """Whether its volume claim is there to be mounted."""
    ready: bool = False
    """Whether it is bound and loaded."""
    broken: bool = False
    """Whether it stays cold until a person does something."""


@dataclass(frozen=True)
class Choice:
    """What becomes of a job's replicas."""

    mounted: bool | None
    """Whether they get the Dataset; None: nothing is written yet, so that what runs stays as it is."""
    why: Obstacle
    ready: bool = False
    """Of the condition CacheReady, with ``why``."""
    obstacle: Obstacle | None = None
    """What keeps the job from being ready."""
    flaw: Obstacle | None = None
    """What makes it Degraded although it serves."""
    wait: float | None = None
    """Seconds after which to choose again."""


def origin(namespace: str, name: str, datasets: Mapping[str, Object]) -> str:
    """Return the key of the Dataset that has the data: the Dataset itself, or the one that it stands for."""
    key = f"{namespace}/{name}"
    for mount in (datasets.get(key) or {}).get("mounts", []):
        if mount.startswith(REFERENCE):
            return "/".join(mount.removeprefix(REFERENCE).split("/")[:2])
    return key


def look(cache: Cache, namespace: str, datasets: Mapping[str, Object], loads: Iterable[Object]) -> Warmth:
    """Tell how warm a job's cache is.

    Args:
        cache: of the job.
        namespace: of the job.
        datasets: all Datasets by key, as `prune_dataset` leaves them.
        loads: all DataLoads, as `prune_load` leaves them.
    """
    name = cache.dataset
    found = datasets.get(f"{namespace}/{name}")
    if found is None:
        there = sorted(key.partition("/")[2] for key in datasets if key.startswith(f"{namespace}/"))
        hint = f"there are {', '.join(there)}" if there else "there is none: is Fluid installed?"
        return Warmth(Obstacle("DatasetMissing", f"namespace {namespace} has no Dataset {name}; {hint}"), broken=True)
    if found["metadata"].get("deletionTimestamp"):
        return Warmth(Obstacle("DatasetNotBound", f"Dataset {name} is about to go"))
    phase = found["phase"] or "new"
    if phase != "Bound":
        note = found["note"] or "its runtime is not ready"
        return Warmth(Obstacle("DatasetNotBound", f"Dataset {name} is {phase}: {note}"), broken=phase == "Failed")
    home = origin(namespace, name, datasets)
    ours = [load for load in loads if f"{load['metadata']['namespace']}/{load['dataset']}" == home]
    if not ours:
        return Warmth(Obstacle("CacheWarm", f"Dataset {name} is Bound; no DataLoad is to be waited for"), True, True)
    # Fluid runs one at a time; an older one says nothing of what was asked for last.
    latest = max(ours, key=lambda load: (load["created"], load["metadata"]["name"]))
    what = f"DataLoad {latest['metadata']['name']} of Dataset {name}"
    if latest["phase"] == "Complete" or latest["succeeded"]:
        return Warmth(Obstacle("CacheWarm", f"Dataset {name} is Bound and loaded"), True, True)
    if latest["phase"] == "Failed":
        said = f"{what} failed: {latest['note'] or 'see its job'}"
        return Warmth(Obstacle("CacheLoadFailed", said), bound=True, broken=True)
    share = f", {found['cached']} cached" if found["cached"] else ""
    return Warmth(Obstacle("CacheLoading", f"{what} is {latest['phase'] or 'new'}{share}"), bound=True)


def choose(
    cache: Cache, warmth: Warmth, live: Object | None, *, generation: int, paused: bool, cold_seconds: float
) -> Choice:
    """Decide whether replicas run with the Dataset, without it, or not yet.

    Replicas that have the Dataset keep it, and those that were started without it stay so until the job changes: a
    cache that warms or cools never restarts what serves.

    Args:
        cache: of the job.
        warmth: of its Dataset.
        live: the job's Deployment.
        generation: of the job.
        paused: whether no replica is wanted.
        cold_seconds: how long the cache has been cold.
    """
    annotations = (live or {}).get("metadata", {}).get("annotations", {})
    runs = bool(live and live["spec"].get("replicas"))
    if runs and annotations.get(CACHE) == identity(cache):
        lost = None if warmth.bound else warmth.why
        return Choice(True, warmth.why, warmth.ready, flaw=lost)
    if runs and annotations.get(COLD) == str(generation):
        return _without(cache, warmth)
    if paused or warmth.ready:
        return Choice(True, warmth.why, warmth.ready)
    due = cache.timeout_seconds
    left = due - cold_seconds if due is not None and cold_seconds < due else None
    if cache.when_cold is WhenCold.START_DEGRADED:
        if left is not None:
            return Choice(None, warmth.why, wait=left)
        return Choice(True, warmth.why) if warmth.bound else _without(cache, warmth)
    if warmth.broken:
        return Choice(None, warmth.why, obstacle=warmth.why)
    if due is not None and left is None:
        late = Obstacle("CacheTimeout", f"the cache is still cold after {due} s: {warmth.why.message}")
        return Choice(None, late, obstacle=late)
    return Choice(None, warmth.why, wait=left)


def _without(cache: Cache, warmth: Warmth) -> Choice:
    now = "it is ready now: any change of the job takes it up" if warmth.ready else warmth.why.message
    why = Obstacle(STARTED_COLD, f"replicas load from the model hub, not from Dataset {cache.dataset}; {now}")
    return Choice(False, why, flaw=why)


def identity(cache: Cache) -> str:
    """Return what replicas have of a cache, as the Deployment's annotation says it."""
    return f"{cache.dataset}:{cache.path}"


def prune_dataset(obj: Object) -> Object:
    """Keep of a Dataset what `look` reads; its time-outs aside, all of Fluid's counters change every few seconds."""
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
    """Keep of a DataLoad what `look` reads."""
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
    kept = ("name", "namespace", "uid", "resourceVersion", "deletionTimestamp")
    return {key: obj["metadata"][key] for key in kept if key in obj["metadata"]}
