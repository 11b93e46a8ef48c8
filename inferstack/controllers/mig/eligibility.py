"""Whether work on a node may begin. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from inferstack.api import NodeStatus, RolloutNode, Step
from inferstack.controllers.mig.cluster_state import ClusterState, Node, Pod
from inferstack.controllers.mig.devices import (
    MigSettings,
    UnknownDevicesError,
    allocatable_devices,
    expected_devices,
    format_devices,
    matches,
)
from inferstack.controllers.mig.node_steps import blocking_budgets, seconds_in_step
from inferstack.mig.errors import LayoutError

SETTLE_SECONDS = 60
"""How long the next node waits for evicted pods to run again elsewhere. Pods that stay pending must not block the
rollout: their budgets continue to protect them."""


@dataclass(frozen=True)
class Eligibility:
    """The result of a check."""

    step: Step
    """Failed: the layout is impossible. Blocked: other nodes may go first. Waiting: no node goes first. Done: the node
    has the layout. Cordoning: begin."""
    message: str = ""
    devices: Mapping[str, int] = field(default_factory=dict)
    """What the node must publish."""
    timed: bool = False
    """Whether Waiting ends with the drain timeout."""


def refusal(want: RolloutNode, state: ClusterState) -> str | None:
    """Return why a node can never have its layout; None if it can, or if that is unknown."""
    node = state.nodes.get(want.name)
    if node is None:
        return "the node does not exist"
    if state.settings is None:
        return None
    try:
        expected_devices(node.labels, state.settings, want.layout, _current(node, state.settings))
    except UnknownDevicesError:
        return None
    except LayoutError as error:
        return str(error)
    return None


def check_eligibility(
    rollout: str,
    want: RolloutNode,
    state: ClusterState,
    taken: Mapping[str, int],
    quiet: float,
) -> Eligibility:
    """Return whether work on a node may begin.

    Args:
        rollout: name of the rollout.
        want: the node and its layout.
        state: as observed.
        taken: the result of `budget_claims`.
        quiet: seconds since the last change of another node of the rollout.
    """
    if problem := refusal(want, state):
        return Eligibility(Step.FAILED, problem)
    node = state.nodes[want.name]
    if state.settings is None:
        return Eligibility(Step.WAITING, state.settings_problem)
    current = _current(node, state.settings)
    try:
        devices = expected_devices(node.labels, state.settings, want.layout, current)
    except UnknownDevicesError as error:
        return Eligibility(Step.BLOCKED, str(error))
    if blocked := _foreign(rollout, node) or _unsettled(node, want, current, devices, state.settings):
        return Eligibility(Step.BLOCKED, blocked)
    if current == want.layout and node.state == "success" and matches(devices, node.labels, node.allocatable):
        return Eligibility(Step.DONE, "the node already has the layout", devices)
    return _pods(list(state.pods.get(want.name, ())), state, taken, quiet) or Eligibility(
        Step.CORDONING, devices=devices
    )


def _current(node: Node, settings: MigSettings) -> str:
    return node.layout or settings.default


def _foreign(rollout: str, node: Node) -> str | None:
    if node.owner not in (None, rollout):
        return f"the rollout {node.owner} works on the node"
    if node.unschedulable and node.owner is None:
        return "the node was cordoned by someone else"
    return None if node.ready else "the node is not ready"


def _unsettled(
    node: Node, want: RolloutNode, current: str, devices: Mapping[str, int], settings: MigSettings
) -> str | None:
    """Return why the MIG manager is not ready for a request, or its answer could not be told from the last one."""
    if node.state == "pending":
        return "the MIG manager is busy"
    if node.layout == want.layout and node.state != "success":
        state = node.state or "missing"
        return f"{want.layout} was requested before and the MIG manager's state is {state}; request another layout"
    if node.state != "success":
        return None
    try:
        now = devices if current == want.layout else expected_devices(node.labels, settings, current, current)
    except LayoutError:
        return None
    if matches(now, node.labels, node.allocatable):
        return None
    published = format_devices(allocatable_devices(node.allocatable))
    return f"publishes {published} instead of {format_devices(now)} of its layout {current}: a GPU may be lost"


def _pods(pods: list[Pod], state: ClusterState, taken: Mapping[str, int], quiet: float) -> Eligibility | None:
    for pod in pods:
        if not pod.replaced:
            return Eligibility(Step.BLOCKED, f"pod {pod} has no controller that would replace it; delete it manually")
        if len(budgets := state.covering([pod])) > 1:
            both = " and ".join(map(str, budgets[:2]))
            return Eligibility(
                Step.BLOCKED,
                f"pod {pod} matches two PodDisruptionBudgets, {both}: Kubernetes does not evict such a pod",
            )
    if held := blocking_budgets(pods, state, taken):
        return Eligibility(Step.WAITING, f"PodDisruptionBudget {held[0]} allows no disruption", timed=True)
    short = [budget for budget in state.covering(pods) if budget.healthy < budget.expected]
    if short and quiet < SETTLE_SECONDS:
        return Eligibility(
            Step.WAITING, f"evicted pods of PodDisruptionBudget {short[0]} are not healthy again yet", timed=True
        )
    return None


def quiet_seconds(records: Mapping[str, NodeStatus], now: datetime) -> float:
    """Return the seconds since the last change of a node on which work began; infinity if there is none."""
    begun = [record for record in records.values() if record.since and (record.step.active or record.step.ended)]
    return min((seconds_in_step(record, now) for record in begun), default=float("inf"))
