"""The state of a job's cache, a Dataset of Fluid, and what it means for the job's replicas. Pure.

Pods mount a Dataset by the PersistentVolumeClaim of its name. A Dataset may refer to one in another namespace (mount
point ``dataset://namespace/name``): the DataLoads are then those of the other one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from inferstack.api import Cache, WhenCold
from inferstack.api.labels import CACHE, COLD
from inferstack.apimachinery.objects import Object
from inferstack.controllers.jobs.reasons import ConditionReason, Reason

API_VERSION = "data.fluid.io/v1alpha1"
REFERENCE = "dataset://"


@dataclass(frozen=True)
class CacheState:
    """The state of a job's Dataset."""

    reason: ConditionReason
    bound: bool = False
    """Whether its PersistentVolumeClaim can be mounted."""
    ready: bool = False
    """Whether it is bound and loaded."""
    failed: bool = False
    """Whether it stays cold until a person intervenes."""


@dataclass(frozen=True)
class CacheDecision:
    """How a job's replicas run with regard to its cache."""

    mounted: bool | None
    """Whether replicas mount the Dataset; None: nothing is written yet, and running replicas stay as they are."""
    reason: ConditionReason
    ready: bool = False
    """Status of the condition CacheReady."""
    blocking: ConditionReason | None = None
    """Why the job cannot become ready."""
    degraded: ConditionReason | None = None
    """Why the job is Degraded although it serves."""
    requeue_after: float | None = None
    """Seconds after which to decide again."""

    @property
    def held(self) -> bool:
        """Whether the job waits for its cache, so that nothing is written."""
        return self.mounted is None


def origin(namespace: str, name: str, datasets: Mapping[str, Object]) -> str:
    """Return the key of the Dataset that has the data: the Dataset itself, or the one that it refers to."""
    key = f"{namespace}/{name}"
    for mount in (datasets.get(key) or {}).get("mounts", []):
        if mount.startswith(REFERENCE):
            return "/".join(mount.removeprefix(REFERENCE).split("/")[:2])
    return key


def cache_state(cache: Cache, namespace: str, datasets: Mapping[str, Object], loads: Iterable[Object]) -> CacheState:
    """Return the state of a job's cache.

    Args:
        cache: of the job.
        namespace: of the job.
        datasets: all Datasets by key, as `prune_dataset` leaves them.
        loads: all DataLoads, as `prune_load` leaves them.
    """
    name = cache.dataset
    dataset = datasets.get(f"{namespace}/{name}")
    if dataset is None:
        return CacheState(ConditionReason(Reason.DATASET_MISSING, _missing(name, namespace, datasets)), failed=True)
    if dataset["metadata"].get("deletionTimestamp"):
        return CacheState(ConditionReason(Reason.DATASET_NOT_BOUND, f"Dataset {name} is being deleted"))
    phase = dataset["phase"] or "new"
    if phase != "Bound":
        message = f"Dataset {name} is {phase}: {dataset['note'] or 'its runtime is not ready'}"
        return CacheState(ConditionReason(Reason.DATASET_NOT_BOUND, message), failed=phase == "Failed")
    source = origin(namespace, name, datasets)
    own_loads = [load for load in loads if f"{load['metadata']['namespace']}/{load['dataset']}" == source]
    if not own_loads:
        return CacheState(
            ConditionReason(Reason.CACHE_WARM, f"Dataset {name} is Bound and has no DataLoad"), True, True
        )
    # Fluid runs one DataLoad at a time; an older one says nothing about the latest request.
    latest = max(own_loads, key=lambda load: (load["created"], load["metadata"]["name"]))
    subject = f"DataLoad {latest['metadata']['name']} of Dataset {name}"
    if latest["phase"] == "Complete" or latest["succeeded"]:
        return CacheState(ConditionReason(Reason.CACHE_WARM, f"Dataset {name} is Bound and loaded"), True, True)
    if latest["phase"] == "Failed":
        message = f"{subject} failed: {latest['note'] or 'see its Job'}"
        return CacheState(ConditionReason(Reason.CACHE_LOAD_FAILED, message), bound=True, failed=True)
    share = f", {dataset['cached']} cached" if dataset["cached"] else ""
    return CacheState(
        ConditionReason(Reason.CACHE_LOADING, f"{subject} is {latest['phase'] or 'new'}{share}"), bound=True
    )


def _missing(name: str, namespace: str, datasets: Mapping[str, Object]) -> str:
    others = sorted(key.partition("/")[2] for key in datasets if key.startswith(f"{namespace}/"))
    hint = f"it has {', '.join(others)}" if others else "it has none; is Fluid installed?"
    return f"namespace {namespace} has no Dataset {name}: {hint}"


def decide_cache(
    cache: Cache, state: CacheState, live: Object | None, *, generation: int, paused: bool, cold_seconds: float
) -> CacheDecision:
    """Decide whether replicas run with the Dataset, without it, or not yet.

    Replicas that mount the Dataset keep it, and those that were started without it stay so until the job changes: a
    cache that becomes warm or cold never restarts running replicas.

    Args:
        cache: of the job.
        state: of its Dataset.
        live: the job's Deployment.
        generation: of the job.
        paused: whether the job asks for 0 replicas.
        cold_seconds: how long the cache has been cold.
    """
    annotations = (live or {}).get("metadata", {}).get("annotations", {})
    runs = bool(live and live["spec"].get("replicas"))
    if runs and annotations.get(CACHE) == identity(cache):
        return CacheDecision(True, state.reason, state.ready, degraded=None if state.bound else state.reason)
    if runs and annotations.get(COLD) == str(generation):
        return _without(cache, state)
    if paused or state.ready:
        return CacheDecision(True, state.reason, state.ready)
    timeout = cache.timeout_seconds
    left = timeout - cold_seconds if timeout is not None and cold_seconds < timeout else None
    if cache.when_cold is WhenCold.START_DEGRADED:
        if left is not None:
            return CacheDecision(None, state.reason, requeue_after=left)
        return CacheDecision(True, state.reason) if state.bound else _without(cache, state)
    if state.failed:
        return CacheDecision(None, state.reason, blocking=state.reason)
    if timeout is not None and left is None:
        late = ConditionReason(
            Reason.CACHE_TIMEOUT, f"the cache is still cold after {timeout} s: {state.reason.message}"
        )
        return CacheDecision(None, late, blocking=late)
    return CacheDecision(None, state.reason, requeue_after=left)


def _without(cache: Cache, state: CacheState) -> CacheDecision:
    now = "it is ready now: any change of the job mounts it" if state.ready else state.reason.message
    message = f"replicas load from the model hub instead of Dataset {cache.dataset}; {now}"
    reason = ConditionReason(Reason.STARTED_WITHOUT_CACHE, message)
    return CacheDecision(False, reason, degraded=reason)


def identity(cache: Cache) -> str:
    """Return the cache of a job's replicas as the annotation of its Deployment has it."""
    return f"{cache.dataset}:{cache.path}"
