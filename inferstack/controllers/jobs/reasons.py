"""Why a job does not become ready: reasons and messages of its conditions. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from inferstack.apimachinery.objects import Object

_QUOTA = re.compile(
    r"exceeded quota: (?P<quota>[^,]+), requested: (?P<asked>.*), used: (?P<used>.*), limited: (?P<hard>.*)"
)
_NODES = re.compile(r"0/(?P<total>\d+) nodes are available: (?P<why>.*?)\.(?:\s|$)")
_CLAUSE = re.compile(r"(\d+) (.+?)(?=, \d+ |$)")


class Reason(StrEnum):
    """The reasons of a job's conditions; docs/inferencejob.md explains each."""

    ALL_REPLICAS_READY = "AllReplicasReady"
    PAUSED = "Paused"
    IDLE = "Idle"
    ROLLOUT_IN_PROGRESS = "RolloutInProgress"
    AS_EXPECTED = "AsExpected"
    UNSCHEDULABLE = "Unschedulable"
    QUOTA_EXCEEDED = "QuotaExceeded"
    PODS_REFUSED = "PodsRefused"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    CONTAINER_CONFIG_ERROR = "ContainerConfigError"
    CRASH_LOOP = "CrashLoop"
    ROLLOUT_STUCK = "RolloutStuck"
    NAME_TAKEN = "NameTaken"
    UNSUPPORTED_METRIC = "UnsupportedMetric"
    REFUSED = "Refused"
    CACHE_WARM = "CacheWarm"
    CACHE_LOADING = "CacheLoading"
    CACHE_LOAD_FAILED = "CacheLoadFailed"
    DATASET_NOT_BOUND = "DatasetNotBound"
    DATASET_MISSING = "DatasetMissing"
    CACHE_TIMEOUT = "CacheTimeout"
    STARTED_WITHOUT_CACHE = "StartedWithoutCache"
    CACHE_UNKNOWN = "CacheUnknown"
    INVALID_SPEC = "InvalidSpec"


_WAITING = {
    "CrashLoopBackOff": Reason.CRASH_LOOP,
    "ImagePullBackOff": Reason.IMAGE_PULL_FAILED,
    "ErrImagePull": Reason.IMAGE_PULL_FAILED,
    "ErrImageNeverPull": Reason.IMAGE_PULL_FAILED,
    "InvalidImageName": Reason.IMAGE_PULL_FAILED,
    "CreateContainerConfigError": Reason.CONTAINER_CONFIG_ERROR,
    "CreateContainerError": Reason.CONTAINER_CONFIG_ERROR,
    "RunContainerError": Reason.CONTAINER_CONFIG_ERROR,
}


@dataclass(frozen=True)
class ConditionReason:
    """``reason`` and ``message`` of a condition."""

    reason: Reason
    message: str


def blocking_reason(deployment: Object | None, pods: Sequence[Object]) -> ConditionReason | None:
    """Return what keeps replicas from serving, the first cause first; None where they only need time.

    Args:
        deployment: of the job, with its status.
        pods: of the job that are not being deleted.
    """
    conditions = {c["type"]: c for c in (deployment or {}).get("status", {}).get("conditions") or []}
    failure = conditions.get("ReplicaFailure")
    if failure and failure["status"] == "True":
        desired = (deployment or {})["spec"].get("replicas", 1)
        return _creation_failure(failure.get("message", ""), missing=desired - len(pods), desired=desired)
    for reason in (_unschedulable(pods), _waiting(pods)):
        if reason:
            return reason
    progress = conditions.get("Progressing")
    if progress and progress["status"] == "False" and progress.get("reason") == "ProgressDeadlineExceeded":
        return ConditionReason(Reason.ROLLOUT_STUCK, "no replica became ready in time; see the logs of its pods")
    return None


def _creation_failure(message: str, *, missing: int, desired: int) -> ConditionReason:
    pods = f"{missing} of {desired} pods not created" if missing > 0 else "some pods not created"
    match = _QUOTA.search(message)
    if not match:
        return ConditionReason(Reason.PODS_REFUSED, f"{pods}: {message}")
    requested, used, hard = (_amounts(match[group]) for group in ("asked", "used", "hard"))
    details = ", ".join(
        f"{resource}: requested {amount}, used {used.get(resource, '0')}, limited {hard.get(resource, '0')}"
        for resource, amount in requested.items()
    )
    return ConditionReason(Reason.QUOTA_EXCEEDED, f"{pods}: exceeded quota {match['quota']}: {details}")


def _amounts(text: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in text.split(","))
    return {name.strip(): amount.strip() for name, _, amount in pairs}


def _unschedulable(pods: Sequence[Object]) -> ConditionReason | None:
    messages = [condition.get("message", "") for condition in map(_not_scheduled, pods) if condition]
    if not messages:
        return None
    pending = f"{len(messages)} of {len(pods)} pods pending"
    return ConditionReason(Reason.UNSCHEDULABLE, f"{explain_scheduler(messages[-1])}; {pending}")


def _not_scheduled(pod: Object) -> Object | None:
    for condition in pod.get("status", {}).get("conditions") or []:
        if condition["type"] == "PodScheduled":
            unschedulable = condition["status"] == "False" and condition.get("reason") == "Unschedulable"
            return condition if unschedulable else None
    return None


def explain_scheduler(message: str) -> str:
    """Return the scheduler's message in short: which resource is insufficient on how many nodes, and what else."""
    match = _NODES.search(message)
    if not match:
        return "the cluster has no node" if "no nodes available" in message else message
    total = match["total"]
    insufficient, other = [], []
    for count, clause in _CLAUSE.findall(match["why"]):
        if clause.startswith("Insufficient "):
            insufficient.append(f"insufficient {clause.removeprefix('Insufficient ')} on {count} of {total} nodes")
        elif clause == "Too many pods":
            insufficient.append(f"too many pods on {count} of {total} nodes")
        else:
            other.append(f"{count} of {total} {clause}")
    # Jobs are mostly short of extended resources, which have a domain in their names: these come first.
    insufficient.sort(key=lambda text: "/" not in text.split(" ")[1])
    return "; ".join([*insufficient, *other]) or message


def _waiting(pods: Sequence[Object]) -> ConditionReason | None:
    by_reason: dict[Reason, list[str]] = {}
    for waiting in _waiting_states(pods):
        if reason := _WAITING.get(waiting.get("reason", "")):
            by_reason.setdefault(reason, []).append(waiting.get("message") or waiting["reason"])
    for reason in (Reason.IMAGE_PULL_FAILED, Reason.CONTAINER_CONFIG_ERROR, Reason.CRASH_LOOP):
        if messages := by_reason.get(reason):
            return ConditionReason(reason, f"{messages[0]}; {len(messages)} of {len(pods)} pods")
    return None


def _waiting_states(pods: Sequence[Object]) -> Iterable[Object]:
    for pod in pods:
        for container in pod.get("status", {}).get("containerStatuses") or []:
            if waiting := (container.get("state") or {}).get("waiting"):
                yield waiting
