"""What the operator says of a job: the whole status, as a pure function of what it sees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from inferstack.api import InferenceJob
from inferstack.api.labels import JOB, Object
from inferstack.api.runtimes import Runtime
from inferstack.controllers.jobs.cache import Choice
from inferstack.controllers.jobs.obstacles import Obstacle, find
from inferstack.k8s.events import Transition
from inferstack.mig.resources import profile_of

GOOD = "AllReplicasReady"
PAUSED = "Paused"
IDLE = "Idle"


@dataclass(frozen=True)
class Seen:
    """What the operator sees of a job's children."""

    deployment: Object | None = None
    pods: Sequence[Object] = ()
    """Pods of the job that are not about to go."""
    complete: bool = True
    """Whether all children are there as wanted."""
    refusal: Obstacle | None = None
    """What the API server, or the operator itself, refused."""
    cache: Choice | None = None
    """What was decided about the job's cache, if it has one."""

    @property
    def held(self) -> bool:
        """Whether the job waits for its cache, so that nothing was written."""
        return self.cache is not None and self.cache.mounted is None


def make_status(job: InferenceJob, runtime: Runtime, seen: Seen, *, before: Object | None, now: str) -> Object:
    """Return the status.

    Args:
        job: with metadata.generation.
        runtime: as chosen for it.
        seen: of its children.
        before: the status that it carries now; a condition that stays keeps its time.
        now: RFC 3339 time.
    """
    deployment = seen.deployment or {}
    counts = deployment.get("status", {})
    wanted = deployment.get("spec", {}).get("replicas", job.spec.replicas)
    if seen.held:
        wanted = wanted or job.spec.replicas
    ready, exists = counts.get("readyReplicas", 0), counts.get("replicas", 0)
    current = counts.get("observedGeneration", 0) >= deployment.get("metadata", {}).get("generation", 1)
    rolled_out = current and counts.get("updatedReplicas", 0) == wanted == exists
    done = seen.complete and not seen.held and rolled_out and ready == wanted
    cold = seen.cache.obstacle if seen.cache else None
    obstacle = seen.refusal or cold or (None if done else find(seen.deployment, seen.pods))
    resources = job.spec.resources
    return {
        "observedGeneration": job.metadata["generation"],
        "ready": f"{ready}/{wanted}",
        "replicas": exists,
        "readyReplicas": ready,
        "gpus": wanted * resources.gpus,
        "profile": profile_of(resources.gpu),
        "runtime": runtime.name.value,
        "selector": f"{JOB}={job.metadata['name']}",
        "conditions": _stamped(
            _say(job, obstacle, seen, done=done, wanted=wanted, ready=ready),
            job.metadata["generation"],
            _known(before),
            now,
        ),
    }


def make_refused_status(raw: Object, obstacle: Obstacle, *, before: Object | None, now: str) -> Object:
    """Return the status of a job that the models do not take, so that nothing else can be said of it."""
    said = {"Ready": (False, obstacle), "Progressing": (False, obstacle), "Degraded": (True, obstacle)}
    return {
        "observedGeneration": raw["metadata"]["generation"],
        "conditions": _stamped(said, raw["metadata"]["generation"], _known(before), now),
    }


def _say(
    job: InferenceJob, obstacle: Obstacle | None, seen: Seen, *, done: bool, wanted: int, ready: int
) -> dict[str, tuple[bool, Obstacle]]:
    if done and wanted == 0 and job.spec.replicas:
        summary = Obstacle(
            IDLE, "0 replicas: nothing arrives; the next request, or the forecast of one, brings them back"
        )
    elif done and wanted == 0:
        summary = Obstacle(PAUSED, "paused: 0 replicas are wanted")
    elif done:
        summary = Obstacle(GOOD, f"{ready} of {wanted} replicas serve {job.spec.model}")
    elif seen.cache and seen.held:
        summary = seen.cache.why
    else:
        summary = Obstacle("RolloutInProgress", f"{ready} of {wanted} replicas are ready")
    well = done and obstacle is None
    flaw = obstacle or (seen.cache.flaw if seen.cache else None)
    said = {
        "Ready": (well, obstacle or summary),
        "Progressing": (not done and obstacle is None, obstacle or summary),
        "Degraded": (flaw is not None, flaw or Obstacle("AsExpected", "nothing stands in the way")),
    }
    if seen.cache:
        said["CacheReady"] = (seen.cache.ready, seen.cache.why)
    return said


def _known(status: Any) -> dict[str, Object]:
    return {condition["type"]: condition for condition in (status or {}).get("conditions") or []}


def _stamped(
    said: dict[str, tuple[bool, Obstacle]], generation: int, known: dict[str, Object], now: str
) -> list[Object]:
    made = []
    for kind, (value, why) in said.items():
        status = "True" if value else "False"
        before = known.get(kind)
        kept = before is not None and before["status"] == status
        made.append(
            {
                "type": kind,
                "status": status,
                "reason": why.reason,
                "message": why.message,
                "lastTransitionTime": before["lastTransitionTime"] if before is not None and kept else now,
                "observedGeneration": generation,
            }
        )
    return made


def turns(before: Object | None, after: Object) -> list[Transition]:
    """Return what an Event should tell: the job became ready, something new stands in its way, its cache turned."""
    old, new = _known(before), _known(after)
    made = []
    degraded, was_degraded = new["Degraded"], old.get("Degraded", {})
    if degraded["status"] == "True" and was_degraded.get("reason") != degraded["reason"]:
        made.append(Transition("Warning", degraded["reason"], degraded["message"]))
    if new["Ready"]["status"] == "True" and old.get("Ready", {}).get("status") != "True":
        made.append(Transition("Normal", new["Ready"]["reason"], new["Ready"]["message"]))
    cache, was_cache = new.get("CacheReady"), old.get("CacheReady", {})
    turned = cache and (cache["status"], cache["reason"]) != (was_cache.get("status"), was_cache.get("reason"))
    # What is a warning already need not be told twice, and a cache that was warm from the start is no news.
    if cache and turned and cache["reason"] != degraded["reason"] and (was_cache or cache["status"] == "False"):
        made.append(Transition("Normal", cache["reason"], cache["message"]))
    return made


def own(status: Object | None) -> Object | None:
    """Return what the operator itself has said in a status: the predictive scaler writes into it too."""
    return {key: value for key, value in (status or {}).items() if key != "scaling"} or None


def cold_since(status: Object | None) -> str | None:
    """Return the time since which a job's cache is cold by its status; None where that does not say so."""
    condition = _known(status).get("CacheReady")
    return str(condition["lastTransitionTime"]) if condition and condition["status"] == "False" else None


def under_way(status: Object) -> bool:
    """Tell whether a status says no more than that replicas are on their way."""
    return bool(_known(status)["Progressing"]["status"] == "True")


def urgent(before: Object | None, after: Object) -> bool:
    """Tell whether a status must be written at once: a condition turned; counts alone may wait a moment."""
    if before is None or before.get("observedGeneration") != after.get("observedGeneration"):
        return True
    old, new = _known(before), _known(after)
    return {k: (c["status"], c["reason"]) for k, c in old.items()} != {
        k: (c["status"], c["reason"]) for k, c in new.items()
    }
