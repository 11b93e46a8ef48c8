"""What stands in a job's way, in words that a person understands. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from inferstack.api.labels import Object

_QUOTA = re.compile(
    r"exceeded quota: (?P<quota>[^,]+), requested: (?P<asked>.*), used: (?P<used>.*), limited: (?P<hard>.*)"
)
_NODES = re.compile(r"0/(?P<total>\d+) nodes are available: (?P<why>.*?)\.(?:\s|$)")
_CLAUSE = re.compile(r"(\d+) (.+?)(?=, \d+ |$)")

_WAITING = {
    "CrashLoopBackOff": "CrashLoop",
    "ImagePullBackOff": "ImagePullFailed",
    "ErrImagePull": "ImagePullFailed",
    "ErrImageNeverPull": "ImagePullFailed",
    "InvalidImageName": "ImagePullFailed",
    "CreateContainerConfigError": "ContainerConfigError",
    "CreateContainerError": "ContainerConfigError",
    "RunContainerError": "ContainerConfigError",
}


@dataclass(frozen=True)
class Obstacle:
    """Why a job does not come up; ``reason`` goes into a condition."""

    reason: str
    message: str


def find(deployment: Object | None, pods: Sequence[Object]) -> Obstacle | None:
    """Return what keeps replicas from serving, the first cause first; None where they only need time.

    Args:
        deployment: of the job, with its status.
        pods: of the job that are not about to go.
    """
    conditions = {c["type"]: c for c in (deployment or {}).get("status", {}).get("conditions") or []}
    failure = conditions.get("ReplicaFailure")
    if failure and failure["status"] == "True":
        wanted = (deployment or {})["spec"].get("replicas", 1)
        return _refused(failure.get("message", ""), missing=wanted - len(pods), wanted=wanted)
    for looked in (_unschedulable(pods), _waiting(pods)):
        if looked:
            return looked
    progress = conditions.get("Progressing")
    if progress and progress["status"] == "False" and progress.get("reason") == "ProgressDeadlineExceeded":
        return Obstacle("RolloutStuck", "no replica became ready in time: see the logs of its pods")
    return None


def _refused(message: str, *, missing: int, wanted: int) -> Obstacle:
    pods = f"{missing} of {wanted} pods cannot be created" if missing > 0 else "some pods cannot be created"
    match = _QUOTA.search(message)
    if not match:
        return Obstacle("PodsRefused", f"{message}; {pods}")
    asked, used, hard = (_amounts(match[group]) for group in ("asked", "used", "hard"))
    facts = ", ".join(
        f"{resource}: {used.get(resource, '0')} of {hard.get(resource, '0')} used, a pod asks for {amount}"
        for resource, amount in asked.items()
    )
    return Obstacle("QuotaExceeded", f"quota {match['quota']} allows no more: {facts}; {pods}")


def _amounts(text: str) -> dict[str, str]:
    pairs = (pair.partition("=") for pair in text.split(","))
    return {name.strip(): amount.strip() for name, _, amount in pairs}


def _unschedulable(pods: Sequence[Object]) -> Obstacle | None:
    said = [condition.get("message", "") for condition in map(_not_scheduled, pods) if condition]
    if not said:
        return None
    return Obstacle("Unschedulable", f"{explain_scheduler(said[-1])}; {len(said)} of {len(pods)} pods wait")


def _not_scheduled(pod: Object) -> Object | None:
    for condition in pod.get("status", {}).get("conditions") or []:
        if condition["type"] == "PodScheduled":
            unschedulable = condition["status"] == "False" and condition.get("reason") == "Unschedulable"
            return condition if unschedulable else None
    return None


def explain_scheduler(message: str) -> str:
    """Say in other words what the scheduler wrote: which resource lacks on how many nodes, and what else."""
    match = _NODES.search(message)
    if not match:
        return "the cluster has no node" if "no nodes available" in message else message
    total = match["total"]
    lacking, other = [], []
    for count, what in _CLAUSE.findall(match["why"]):
        if what.startswith("Insufficient "):
            lacking.append(f"{what.removeprefix('Insufficient ')} lacks on {count} of {total} nodes")
        elif what == "Too many pods":
            lacking.append(f"room for pods lacks on {count} of {total} nodes")
        else:
            other.append(f"{count} of {total} {what}")
    # Extended resources are what jobs are usually short of: first.
    lacking.sort(key=lambda text: "/" not in text.split(" ", 1)[0])
    return "; ".join([*lacking, *other]) or message


def _waiting(pods: Sequence[Object]) -> Obstacle | None:
    found: dict[str, list[str]] = {}
    for waiting in _waiting_states(pods):
        if reason := _WAITING.get(waiting.get("reason", "")):
            found.setdefault(reason, []).append(waiting.get("message") or waiting["reason"])
    for reason in ("ImagePullFailed", "ContainerConfigError", "CrashLoop"):
        if messages := found.get(reason):
            return Obstacle(reason, f"{messages[0]}; {len(messages)} of {len(pods)} pods")
    return None


def _waiting_states(pods: Sequence[Object]) -> Iterable[Object]:
    for pod in pods:
        for container in pod.get("status", {}).get("containerStatuses") or []:
            if waiting := (container.get("state") or {}).get("waiting"):
                yield waiting
