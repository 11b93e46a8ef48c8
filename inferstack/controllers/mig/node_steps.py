"""The steps of a node: from the observed cluster state to the node's step and the actions in it. Pure.

A step is written to the status before its actions are carried out, and ends by what is observed, never by what was
sent. An operator that was killed at any point repeats the step, and repeating it changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from inferstack.api import MigRolloutSpec, NodeStatus, RolloutNode, Step
from inferstack.apimachinery.rfc3339 import format_time, parse_time
from inferstack.controllers.mig.actions import Action, Cordon, Evict, SetLayout, Uncordon
from inferstack.controllers.mig.cluster_state import Budget, ClusterState, Node, Pod
from inferstack.controllers.mig.devices import allocatable_devices, format_devices, matches

_LONGEST = 1024


class EvictionBudget:
    """How many evictions each PodDisruptionBudget still allows in one decision."""

    def __init__(self, state: ClusterState) -> None:
        self._world = state
        self._left = {str(budget): budget.allowed if budget.current else 0 for budget in state.budgets}

    def take(self, pod: Pod) -> bool:
        """Return whether to try to evict a pod, and count it. A pod that is not ready may go in spite of its budget."""
        covering = [str(budget) for budget in self._world.covering([pod])]
        if pod.ready and any(self._left[budget] < 1 for budget in covering):
            return False
        for budget in covering:
            self._left[budget] -= 1
        return True


@dataclass(frozen=True)
class StepContext:
    """The input of a decision about one node."""

    rollout: str
    spec: MigRolloutSpec
    want: RolloutNode
    state: ClusterState
    now: datetime
    stopping: bool
    """Whether the rollout stops: nodes that are still unchanged are released."""
    allowance: EvictionBudget

    @property
    def pods(self) -> list[Pod]:
        """The pods that must leave the node."""
        return list(self.state.pods.get(self.want.name, ()))


def seconds_in_step(record: NodeStatus, now: datetime) -> float:
    """Return how long a node has been in its step."""
    return (now - parse_time(record.since)).total_seconds() if record.since else 0.0


def in_step(record: NodeStatus, step: Step, message: str, now: datetime, **changed: object) -> NodeStatus:
    """Return a node's record with a step; its time stays if the step does."""
    since = record.since if record.step is step and record.since else format_time(now)
    return record.model_copy(update={"step": step, "message": message[:_LONGEST], "since": since, **changed})


def advance(record: NodeStatus, context: StepContext) -> tuple[NodeStatus, list[Action]]:
    """Return the new record of an active node, and the actions to carry out once it is written."""
    node = context.state.nodes.get(record.name)
    if node is None:
        return in_step(record, Step.FAILED, "the node no longer exists", context.now, outcome=None), []
    match record.step:
        case Step.CORDONING:
            return _cordoning(record, node, context)
        case Step.DRAINING:
            return _draining(record, node, context)
        case Step.LABELLING:
            return _labelling(record, node, context)
        case Step.CONFIGURING:
            return _configuring(record, node, context)
        case Step.VERIFYING:
            return _verifying(record, node, context)
        case Step.RESTORING:
            return _restoring(record, node, context)
        case _:
            return _releasing(record, node, context)


def _release(
    record: NodeStatus, node: Node, context: StepContext, outcome: Step, why: str
) -> tuple[NodeStatus, list[Action]]:
    return _releasing(in_step(record, Step.RELEASING, why, context.now, outcome=outcome), node, context)


def _releasing(record: NodeStatus, node: Node, context: StepContext) -> tuple[NodeStatus, list[Action]]:
    if node.owner == context.rollout:
        return record, [Uncordon(node.name)]
    return in_step(record, record.outcome or Step.FAILED, record.message, context.now, outcome=None), []


def _cordoning(record: NodeStatus, node: Node, context: StepContext) -> tuple[NodeStatus, list[Action]]:
    if context.stopping:
        return _release(record, node, context, Step.SKIPPED, "released unchanged: the rollout stops")
    if node.unschedulable and node.owner != context.rollout:
        return in_step(record, Step.BLOCKED, "the node was cordoned by someone else", context.now), []
    if node.unschedulable:
        return _draining(in_step(record, Step.DRAINING, "", context.now), node, context)
    return record, [Cordon(node.name)]


def _draining(record: NodeStatus, node: Node, context: StepContext) -> tuple[NodeStatus, list[Action]]:
    if context.stopping:
        return _release(record, node, context, Step.SKIPPED, "released unchanged: the rollout stops")
    pods = context.pods
    if not pods and node.unschedulable:
        return _labelling(in_step(record, Step.LABELLING, "", context.now), node, context)
    why = _why_not_empty(pods, context.state)
    if seconds_in_step(record, context.now) >= context.spec.drain_timeout_seconds:
        return _release(
            record,
            node,
            context,
            Step.SKIPPED,
            f"not drained within {context.spec.drain_timeout_seconds} s, released unchanged: {why}",
        )
    actions: list[Action] = [] if node.unschedulable else [Cordon(node.name)]
    actions += [Evict(pod) for pod in pods if not pod.leaving and pod.replaced and context.allowance.take(pod)]
    return in_step(record, Step.DRAINING, why, context.now), actions


def _why_not_empty(pods: list[Pod], state: ClusterState) -> str:
    if alone := [pod for pod in pods if not pod.replaced]:
        return f"pod {alone[0]} has no controller that would replace it"
    staying = [pod for pod in pods if not pod.leaving]
    held = [str(budget) for budget in state.covering(staying) if budget.allowed < 1]
    if held:
        return f"pods left: {len(pods)}; PodDisruptionBudget {', '.join(held[:3])} allows no disruption"
    return f"pods left: {len(pods)}"


def _labelling(record: NodeStatus, node: Node, context: StepContext) -> tuple[NodeStatus, list[Action]]:
    if node.layout == context.want.layout:
        return _configuring(
            in_step(record, Step.CONFIGURING, "waiting for the MIG manager", context.now), node, context
        )
    if node.layout != record.previous_layout:
        return _release(record, node, context, Step.FAILED, f"someone else requested the layout {node.layout}")
    if context.pods:
        return in_step(record, Step.DRAINING, "new pods after the drain", context.now), []
    return record, [SetLayout(node.name, context.want.layout)]


def _configuring(record: NodeStatus, node: Node, context: StepContext) -> tuple[NodeStatus, list[Action]]:
    if node.layout != context.want.layout:
        return _release(record, node, context, Step.FAILED, f"someone else requested the layout {node.layout}")
    if node.state == "success":
        return _verifying(in_step(record, Step.VERIFYING, "waiting for the device plugin", context.now), node, context)
    if node.state == "failed":
        return _restore(record, node, context, f"the MIG manager failed to apply {context.want.layout}")
    if seconds_in_step(record, context.now) >= context.spec.state_timeout_seconds:
        return _restore(
            record, node, context, f"the MIG manager did not finish within {context.spec.state_timeout_seconds} s"
        )
    return in_step(record, Step.CONFIGURING, f"MIG manager state: {node.state or 'none yet'}", context.now), []


def _verifying(record: NodeStatus, node: Node, context: StepContext) -> tuple[NodeStatus, list[Action]]:
    if node.layout != context.want.layout:
        return _release(record, node, context, Step.FAILED, f"someone else requested the layout {node.layout}")
    required: Mapping[str, int] = record.devices or {}
    if node.state == "success" and matches(required, node.labels, node.allocatable):
        return _release(record, node, context, Step.DONE, f"publishes {format_devices(required)}")
    message = f"publishes {format_devices(allocatable_devices(node.allocatable))} instead of {format_devices(required)}"
    if node.state == "failed":
        return _restore(record, node, context, f"the MIG manager failed to apply {context.want.layout}")
    if seconds_in_step(record, context.now) >= context.spec.state_timeout_seconds:
        return _restore(record, node, context, f"{message} after {context.spec.state_timeout_seconds} s")
    return in_step(record, Step.VERIFYING, message, context.now), []


def _restore(record: NodeStatus, node: Node, context: StepContext, why: str) -> tuple[NodeStatus, list[Action]]:
    return _restoring(in_step(record, Step.RESTORING, why, context.now), node, context)


def _restoring(record: NodeStatus, node: Node, context: StepContext) -> tuple[NodeStatus, list[Action]]:
    """Restore the old layout. A state ``failed`` may still be of the new layout; the devices decide."""
    if node.layout == context.want.layout:
        return record, [SetLayout(node.name, record.previous_layout, empty=False)]
    if node.state == "success" and allocatable_devices(node.allocatable) == (record.previous_devices or {}):
        return _release(record, node, context, Step.ROLLED_BACK, record.message)
    if seconds_in_step(record, context.now) >= context.spec.state_timeout_seconds:
        why = f"{record.message}; and the old layout was not restored: the node needs manual repair"
        return _release(record, node, context, Step.FAILED, why)
    return record, []


def budget_claims(records: Mapping[str, NodeStatus], state: ClusterState) -> dict[str, int]:
    """Return for each budget how many nodes are being drained of pods that it covers."""
    claims: dict[str, int] = {}
    for record in records.values():
        if record.step in (Step.CORDONING, Step.DRAINING, Step.LABELLING):
            staying = [pod for pod in state.pods.get(record.name, ()) if not pod.leaving]
            for budget in state.covering(staying):
                claims[str(budget)] = claims.get(str(budget), 0) + 1
    return claims


def blocking_budgets(pods: list[Pod], state: ClusterState, taken: Mapping[str, int]) -> list[Budget]:
    """Return the budgets that do not allow one more node to be drained of these pods."""
    ready = [pod for pod in pods if pod.ready and not pod.leaving]
    return [b for b in state.covering(ready) if not b.current or b.allowed - taken.get(str(b), 0) < 1]
