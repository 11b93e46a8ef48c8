"""When a node is drained, set up and taken back into service; pure.

Follows the drain controller and the daemon of sriov-network-operator v1.6.0, and their annotations: the daemon asks
(``state`` on the node, ``desired-state`` on its SriovNetworkNodeState), the controller answers (``current-state``).
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NODE_STATE = "sriovnetwork.openshift.io/state"
DESIRED_STATE = "sriovnetwork.openshift.io/desired-state"
CURRENT_STATE = "sriovnetwork.openshift.io/current-state"
IDLE, DRAIN, REBOOT = "Idle", "Drain_Required", "Reboot_Required"
DRAINING, DRAINED = "Draining", "DrainComplete"
SUCCEEDED, IN_PROGRESS, FAILED = "Succeeded", "InProgress", "Failed"

_POLL = 0.2


class Do(enum.Enum):
    """One step."""

    NOTHING = enum.auto()
    WAIT = enum.auto()
    TELL = enum.auto()
    """Write syncStatus and lastSyncError."""
    ASK = enum.auto()
    """Write what the daemon wants on node and state."""
    ANSWER = enum.auto()
    """Write what the controller answers."""
    CORDON = enum.auto()
    UNCORDON = enum.auto()
    EVICT = enum.auto()
    SET_UP = enum.auto()
    """Cut the ports as asked."""


@dataclass(frozen=True)
class Step:
    """What to do next."""

    do: Do
    value: str = ""
    """Of TELL, ASK and ANSWER."""
    error: str = ""
    """Of TELL."""
    seconds: float = 0.0
    """Of WAIT, and after EVICT."""


@dataclass(frozen=True)
class Situation:
    """A node as last seen."""

    differs: bool
    """Whether its ports are not as asked."""
    reboot: bool
    """Whether what differs takes a reboot."""
    failure: str | None
    """Why it cannot be done."""
    drains: bool
    """False with ``disableDrain``."""
    asked: str
    """``state`` of the node."""
    answered: str
    """``current-state`` of its SriovNetworkNodeState."""
    sync: str
    error: str
    cordoned: bool
    turn: bool
    """Whether the pool lets one more node go."""
    pods: int
    """Pods that must leave first."""
    elapsed: float | None
    """Seconds since the node was found ready to be set up; None before."""
    seconds: float
    """How long that takes."""


def next_step(now: Situation) -> Step:
    """Return the one step that brings a node nearer to what is asked."""
    work = now.differs and now.failure is None
    if now.answered == IDLE:
        return _idle(now, work=work)
    if not work:
        return _back(now)
    if now.answered == DRAINED:
        return _set_up(now)
    if not now.cordoned:
        return Step(Do.CORDON)
    return Step(Do.EVICT, seconds=_POLL) if now.pods else Step(Do.ANSWER, DRAINED)


def _idle(now: Situation, *, work: bool) -> Step:
    if not work:
        if now.asked != IDLE:
            return Step(Do.ASK, IDLE)
        return _tell(now)
    if now.sync != IN_PROGRESS:
        # A failure of before stays told until it is mended.
        return Step(Do.TELL, IN_PROGRESS, now.error)
    if not now.drains:
        return _set_up(now)
    want = REBOOT if now.reboot else DRAIN
    if now.asked != want:
        return Step(Do.ASK, want)
    return Step(Do.ANSWER, DRAINING) if now.turn else Step(Do.WAIT, seconds=1.0)


def _set_up(now: Situation) -> Step:
    waited = now.elapsed or 0.0
    return Step(Do.WAIT, seconds=now.seconds - waited) if waited < now.seconds else Step(Do.SET_UP)


def _back(now: Situation) -> Step:
    """Return the node to service: it is set up, or nothing is asked of it any more."""
    if now.asked != IDLE:
        return Step(Do.ASK, IDLE)
    told = _tell(now)
    if told.do is not Do.NOTHING:
        return told
    return Step(Do.UNCORDON) if now.cordoned else Step(Do.ANSWER, IDLE)


def _tell(now: Situation) -> Step:
    status, error = (FAILED, now.failure) if now.failure else (SUCCEEDED, "")
    return Step(Do.NOTHING) if (now.sync, now.error) == (status, error) else Step(Do.TELL, status, error)


@dataclass(frozen=True)
class Pool:
    """A SriovNetworkPoolConfig."""

    name: str
    selector: Mapping[str, Any]
    max_unavailable: int | str | None
    rdma_mode: str | None


DEFAULT_POOL = Pool("", {}, 1, None)
"""Of nodes that are in none."""


def parse_pools(configs: Iterable[Mapping[str, Any]]) -> list[Pool]:
    """Return the pools; those for Open vSwitch offload are none."""
    return [
        Pool(
            config["metadata"]["name"],
            config["spec"].get("nodeSelector") or {},
            config["spec"].get("maxUnavailable"),
            config["spec"].get("rdmaMode"),
        )
        for config in configs
        if not (config["spec"].get("ovsHardwareOffloadConfig") or {}).get("name")
    ]


def pool_of(labels: Mapping[str, str], pools: Sequence[Pool]) -> Pool | None:
    """Return a node's pool, the default one where it is in none; None where it is in several: then nothing is done."""
    found = [pool for pool in pools if matches(pool.selector, labels)]
    if len(found) > 1:
        return None
    return found[0] if found else DEFAULT_POOL


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Tell whether a LabelSelector means a node; an empty one means all."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_holds(each, labels) for each in selector.get("matchExpressions") or ())


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values") or ()
    held = {
        "In": value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }
    return held.get(expression["operator"], False)


def limit(pool: Pool, nodes: int) -> int | None:
    """Return how many of a pool's nodes may be away; None: all. Percentages are rounded down, as the operator does."""
    share = pool.max_unavailable
    if share is None:
        return None
    if isinstance(share, str):
        return nodes * int(share.removesuffix("%")) // 100 if share.removesuffix("%").isdecimal() else 0
    return share
