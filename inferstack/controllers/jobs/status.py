"""The status of a job, as a pure function of what the controller observes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from inferstack.api import InferenceJob
from inferstack.api.runtimes import Runtime
from inferstack.apimachinery.labels import JOB
from inferstack.apimachinery.objects import Object
from inferstack.controllers.jobs.datasets import CacheDecision
from inferstack.controllers.jobs.reasons import ConditionReason, Reason, blocking_reason
from inferstack.k8s.events import Transition
from inferstack.mig.resources import profile_of


@dataclass(frozen=True)
class Observation:
    """What the controller observes of a job's children."""

    deployment: Object | None = None
    pods: Sequence[Object] = ()
    """The job's pods that are not being deleted."""
    complete: bool = True
    """Whether all children are as desired."""
    refusal: ConditionReason | None = None
    """Why the API server, or the operator itself, refused a child."""
    cache: CacheDecision | None = None
    """The decision about the job's cache, if it has one."""

    @property
    def held(self) -> bool:
        """Whether the job waits for its cache, so that nothing was written."""
        return self.cache is not None and self.cache.held


def make_status(
    job: InferenceJob, runtime: Runtime, observation: Observation, *, before: Object | None, now: str
) -> Object:
    """Return the status.

    Args:
        job: with metadata.generation.
        runtime: as chosen for it.
        observation: of its children.
        before: the current status; a condition whose status stays keeps its transition time.
        now: RFC 3339 time.
    """
    deployment = observation.deployment or {}
    counts = deployment.get("status", {})
    desired = deployment.get("spec", {}).get("replicas", job.spec.replicas)
    if observation.held:
        desired = desired or job.spec.replicas
    ready, current = counts.get("readyReplicas", 0), counts.get("replicas", 0)
    observed = counts.get("observedGeneration", 0) >= deployment.get("metadata", {}).get("generation", 1)
    rolled_out = observed and counts.get("updatedReplicas", 0) == desired == current
    done = observation.complete and not observation.held and rolled_out and ready == desired
    blocking = observation.refusal or (observation.cache.blocking if observation.cache else None)
    if blocking is None and not done:
        blocking = blocking_reason(observation.deployment, observation.pods)
    generation, resources = job.metadata["generation"], job.spec.resources
    conditions = _conditions(job, blocking, observation, done=done, desired=desired, ready=ready)
    return {
        "observedGeneration": generation,
        "ready": f"{ready}/{desired}",
        "replicas": current,
        "readyReplicas": ready,
        "gpus": desired * resources.gpus,
        "profile": profile_of(resources.gpu),
        "runtime": runtime.name.value,
        "selector": f"{JOB}={job.metadata['name']}",
        "conditions": _stamped(conditions, generation, _by_type(before), now),
    }


def make_refused_status(raw: Object, reason: ConditionReason, *, before: Object | None, now: str) -> Object:
    """Return the status of a job that is invalid, so that nothing else is known of it."""
    conditions = {"Ready": (False, reason), "Progressing": (False, reason), "Degraded": (True, reason)}
    return {
        "observedGeneration": raw["metadata"]["generation"],
        "conditions": _stamped(conditions, raw["metadata"]["generation"], _by_type(before), now),
    }


def _conditions(
    job: InferenceJob,
    blocking: ConditionReason | None,
    observation: Observation,
    *,
    done: bool,
    desired: int,
    ready: int,
) -> dict[str, tuple[bool, ConditionReason]]:
    cache = observation.cache
    if done and desired == 0 and job.spec.replicas:
        summary = ConditionReason(
            Reason.IDLE, "scaled to 0 replicas: the next request, or the forecast of one, scales it up"
        )
    elif done and desired == 0:
        summary = ConditionReason(Reason.PAUSED, "spec.replicas is 0")
    elif done:
        summary = ConditionReason(Reason.ALL_REPLICAS_READY, f"{ready} of {desired} replicas serve {job.spec.model}")
    elif cache and cache.held:
        summary = cache.reason
    else:
        summary = ConditionReason(Reason.ROLLOUT_IN_PROGRESS, f"{ready} of {desired} replicas ready")
    degraded = blocking or (cache.degraded if cache else None)
    if blocking:
        blocking = ConditionReason(blocking.reason, f"{ready} of {desired} replicas ready: {blocking.message}")
    conditions = {
        "Ready": (done and blocking is None, blocking or summary),
        "Progressing": (not done and blocking is None, blocking or summary),
        "Degraded": (degraded is not None, degraded or ConditionReason(Reason.AS_EXPECTED, "no problem")),
    }
    if cache:
        conditions["CacheReady"] = (cache.ready, cache.reason)
    return conditions


def _by_type(status: Any) -> dict[str, Object]:
    return {condition["type"]: condition for condition in (status or {}).get("conditions") or []}


def _stamped(
    conditions: dict[str, tuple[bool, ConditionReason]], generation: int, previous: dict[str, Object], now: str
) -> list[Object]:
    stamped = []
    for kind, (value, why) in conditions.items():
        status = "True" if value else "False"
        before = previous.get(kind)
        unchanged = before is not None and before["status"] == status
        stamped.append(
            {
                "type": kind,
                "status": status,
                "reason": why.reason,
                "message": why.message,
                "lastTransitionTime": before["lastTransitionTime"] if before is not None and unchanged else now,
                "observedGeneration": generation,
            }
        )
    return stamped


def transitions(before: Object | None, after: Object) -> list[Transition]:
    """Return what deserves an Event: the job became ready, has a new problem, or its cache changed."""
    old, new = _by_type(before), _by_type(after)
    result = []
    degraded, was_degraded = new["Degraded"], old.get("Degraded", {})
    if degraded["status"] == "True" and was_degraded.get("reason") != degraded["reason"]:
        result.append(Transition("Warning", degraded["reason"], degraded["message"]))
    if new["Ready"]["status"] == "True" and old.get("Ready", {}).get("status") != "True":
        result.append(Transition("Normal", new["Ready"]["reason"], new["Ready"]["message"]))
    cache, was_cache = new.get("CacheReady"), old.get("CacheReady", {})
    changed = cache and (cache["status"], cache["reason"]) != (was_cache.get("status"), was_cache.get("reason"))
    # A warning says it already, and a cache that was warm from the start is no news.
    if cache and changed and cache["reason"] != degraded["reason"] and (was_cache or cache["status"] == "False"):
        result.append(Transition("Normal", cache["reason"], cache["message"]))
    return result


def own(status: Object | None) -> Object | None:
    """Return the part of a status that the operator writes; the predictive scaler writes ``scaling``."""
    return {key: value for key, value in (status or {}).items() if key != "scaling"} or None


def cold_since(status: Object | None) -> str | None:
    """Return the time since which a job's cache is cold, by its status; None if it is not cold."""
    condition = _by_type(status).get("CacheReady")
    return str(condition["lastTransitionTime"]) if condition and condition["status"] == "False" else None


def under_way(status: Object) -> bool:
    """Return whether a status says only that replicas are starting."""
    return bool(_by_type(status)["Progressing"]["status"] == "True")


def urgent(before: Object | None, after: Object) -> bool:
    """Return whether a status must be written at once: a condition changed. Counts alone may wait a moment."""
    if before is None or before.get("observedGeneration") != after.get("observedGeneration"):
        return True
    old, new = _by_type(before), _by_type(after)
    return {k: (c["status"], c["reason"]) for k, c in old.items()} != {
        k: (c["status"], c["reason"]) for k, c in new.items()
    }
