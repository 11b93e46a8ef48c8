"""The state machine of a node: drain, configuration of virtual functions, return to service; pure.

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


class Action(enum.Enum):
    """An action of the operator or its daemon."""

    NOTHING = enum.auto()
    WAIT = enum.auto()
    SET_SYNC_STATUS = enum.auto()
    """Write syncStatus and lastSyncError."""
    REQUEST_STATE = enum.auto()
    """Write the daemon's requested state to the node and its SriovNetworkNodeState."""
    SET_CURRENT_STATE = enum.auto()
    """Write the drain controller's current state."""
    CORDON = enum.auto()
    UNCORDON = enum.auto()
    EVICT = enum.auto()
    CONFIGURE = enum.auto()
    """Create the virtual functions."""


@dataclass(frozen=True)
class Step:
    """The next action."""

    action: Action
    value: str = ""
    """Value of SET_SYNC_STATUS, REQUEST_STATE and SET_CURRENT_STATE."""
    error: str = ""
    """Error of SET_SYNC_STATUS."""
    seconds: float = 0.0
    """Delay of WAIT, and after EVICT."""


@dataclass(frozen=True)
class StepContext:
    """The observed state of a node."""

    differs: bool
    """Whether the ports differ from the policies."""
    reboot: bool
    """Whether the change requires a reboot."""
    failure: str | None
    """Reason why the policies cannot be applied."""
    drain_enabled: bool
    """False with ``disableDrain``."""
    requested_state: str
    """``state`` of the node."""
    current_state: str
    """``current-state`` of its SriovNetworkNodeState."""
    sync_status: str
    last_sync_error: str
    cordoned: bool
    disruption_allowed: bool
    """Whether the pool's maxUnavailable permits one more node."""
    pods: int
    """Number of pods to evict."""
    elapsed: float | None
    """Seconds since the node became ready for configuration; None before."""
    seconds: float
    """Duration of the configuration in seconds."""


def next_step(now: StepContext) -> Step:
    """Return the next step from the observed towards the desired state."""
    work = now.differs and now.failure is None
    if now.current_state == IDLE:
        return _idle(now, work=work)
    if not work:
        return _return_to_service(now)
    if now.current_state == DRAINED:
        return _configure(now)
    if not now.cordoned:
        return Step(Action.CORDON)
    return Step(Action.EVICT, seconds=_POLL) if now.pods else Step(Action.SET_CURRENT_STATE, DRAINED)


def _idle(now: StepContext, *, work: bool) -> Step:
    if not work:
        if now.requested_state != IDLE:
            return Step(Action.REQUEST_STATE, IDLE)
        return _report(now)
    if now.sync_status != IN_PROGRESS:
        # Keep the last error until the node is configured.
        return Step(Action.SET_SYNC_STATUS, IN_PROGRESS, now.last_sync_error)
    if not now.drain_enabled:
        return _configure(now)
    want = REBOOT if now.reboot else DRAIN
    if now.requested_state != want:
        return Step(Action.REQUEST_STATE, want)
    return Step(Action.SET_CURRENT_STATE, DRAINING) if now.disruption_allowed else Step(Action.WAIT, seconds=1.0)


def _configure(now: StepContext) -> Step:
    waited = now.elapsed or 0.0
    return Step(Action.WAIT, seconds=now.seconds - waited) if waited < now.seconds else Step(Action.CONFIGURE)


def _return_to_service(now: StepContext) -> Step:
    """Return the node to service: it is configured, or there is nothing left to configure."""
    if now.requested_state != IDLE:
        return Step(Action.REQUEST_STATE, IDLE)
    report = _report(now)
    if report.action is not Action.NOTHING:
        return report
    return Step(Action.UNCORDON) if now.cordoned else Step(Action.SET_CURRENT_STATE, IDLE)


def _report(now: StepContext) -> Step:
    status, error = (FAILED, now.failure) if now.failure else (SUCCEEDED, "")
    return (
        Step(Action.NOTHING)
        if (now.sync_status, now.last_sync_error) == (status, error)
        else Step(Action.SET_SYNC_STATUS, status, error)
    )


@dataclass(frozen=True)
class Pool:
    """A SriovNetworkPoolConfig."""

    name: str
    selector: Mapping[str, Any]
    max_unavailable: int | str | None
    rdma_mode: str | None


DEFAULT_POOL = Pool("", {}, 1, None)
"""The pool of nodes that no SriovNetworkPoolConfig selects."""


def parse_pools(configs: Iterable[Mapping[str, Any]]) -> list[Pool]:
    """Return the pools, without those for Open vSwitch offload."""
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
    """Return a node's pool, or the default pool; None if several pools select the node, which is an error."""
    matching = [pool for pool in pools if matches(pool.selector, labels)]
    if len(matching) > 1:
        return None
    return matching[0] if matching else DEFAULT_POOL


def matches(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Return whether a LabelSelector matches labels; an empty selector matches all."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_holds(each, labels) for each in selector.get("matchExpressions") or ())


def _holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    value, values = labels.get(expression["key"]), expression.get("values") or ()
    results = {
        "In": value in values,
        "NotIn": value not in values,
        "Exists": value is not None,
        "DoesNotExist": value is None,
    }
    return results.get(expression["operator"], False)


def limit(pool: Pool, nodes: int) -> int | None:
    """Return how many nodes of a pool may be unavailable; None for all. Percentages round down, as in the operator."""
    share = pool.max_unavailable
    if share is None:
        return None
    if isinstance(share, str):
        return nodes * int(share.removesuffix("%")) // 100 if share.removesuffix("%").isdecimal() else 0
    return share
