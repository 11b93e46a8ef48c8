"""The steps of one node: from what is seen to the step that it is in and what is done there. Pure.

A step is written down before it is taken and ends by what is seen of the world, never by what was sent to it. So an
operator that was killed anywhere takes the step again, and taking it twice changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from inferstack.api import MigRolloutSpec, NodeStatus, RolloutNode, Step
from inferstack.apimachinery.rfc3339 import format_time, parse_time
from inferstack.controllers.mig.actions import Action, Cordon, Evict, SetLayout, Uncordon
from inferstack.controllers.mig.devices import matches, offered, tell
from inferstack.controllers.mig.world import Budget, Node, Pod, World

_LONGEST = 1024


class Allowance:
    """How many evictions each budget still allows in one look at the world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._left = {str(budget): budget.allowed if budget.current else 0 for budget in world.budgets}

    def take(self, pod: Pod) -> bool:
        """Tell whether to try to evict a pod, and count it. One that is not ready may go in spite of its budget."""
        covering = [str(budget) for budget in self._world.covering([pod])]
        if pod.ready and any(self._left[budget] < 1 for budget in covering):
            return False
        for budget in covering:
            self._left[budget] -= 1
        return True


@dataclass(frozen=True)
class Situation:
    """What the next step of one node is decided by."""

    rollout: str
    spec: MigRolloutSpec
    want: RolloutNode
    world: World
    now: datetime
    stopping: bool
    """Nothing more is begun: what can be given back unchanged is."""
    allowance: Allowance

    @property
    def pods(self) -> list[Pod]:
        """Pods that must leave the node."""
        return list(self.world.pods.get(self.want.name, ()))


def waited(record: NodeStatus, now: datetime) -> float:
    """Return the seconds that a node is in its step."""
    return (now - parse_time(record.since)).total_seconds() if record.since else 0.0


def to(record: NodeStatus, step: Step, message: str, now: datetime, **changed: object) -> NodeStatus:
    """Return a node in a step; its time stays where the step does."""
    since = record.since if record.step is step and record.since else format_time(now)
    return record.model_copy(update={"step": step, "message": message[:_LONGEST], "since": since, **changed})


def advance(record: NodeStatus, at: Situation) -> tuple[NodeStatus, list[Action]]:
    """Return where a node under way is now, and what is to be done there once that is written down."""
    node = at.world.nodes.get(record.name)
    if node is None:
        return to(record, Step.FAILED, "the node is gone", at.now, outcome=None), []
    match record.step:
        case Step.CORDONING:
            return _cordoning(record, node, at)
        case Step.DRAINING:
            return _draining(record, node, at)
        case Step.LABELLING:
            return _labelling(record, node, at)
        case Step.CONFIGURING:
            return _configuring(record, node, at)
        case Step.VERIFYING:
            return _verifying(record, node, at)
        case Step.RESTORING:
            return _restoring(record, node, at)
        case _:
            return _releasing(record, node, at)


def _release(record: NodeStatus, node: Node, at: Situation, outcome: Step, why: str) -> tuple[NodeStatus, list[Action]]:
    return _releasing(to(record, Step.RELEASING, why, at.now, outcome=outcome), node, at)


def _releasing(record: NodeStatus, node: Node, at: Situation) -> tuple[NodeStatus, list[Action]]:
    if node.owner == at.rollout:
        return record, [Uncordon(node.name)]
    return to(record, record.outcome or Step.FAILED, record.message, at.now, outcome=None), []


def _cordoning(record: NodeStatus, node: Node, at: Situation) -> tuple[NodeStatus, list[Action]]:
    if at.stopping:
        return _release(record, node, at, Step.SKIPPED, "given back unchanged: the rollout stops")
    if node.unschedulable and node.owner != at.rollout:
        return to(record, Step.BLOCKED, "someone else has cordoned the node", at.now), []
    if node.unschedulable:
        return _draining(to(record, Step.DRAINING, "", at.now), node, at)
    return record, [Cordon(node.name)]


def _draining(record: NodeStatus, node: Node, at: Situation) -> tuple[NodeStatus, list[Action]]:
    if at.stopping:
        return _release(record, node, at, Step.SKIPPED, "given back unchanged: the rollout stops")
    pods = at.pods
    if not pods and node.unschedulable:
        return _labelling(to(record, Step.LABELLING, "", at.now), node, at)
    why = _why_not_empty(pods, at.world)
    if waited(record, at.now) >= at.spec.drain_timeout_seconds:
        return _release(
            record, node, at, Step.SKIPPED, f"not drained after {at.spec.drain_timeout_seconds} s: {why}; unchanged"
        )
    actions: list[Action] = [] if node.unschedulable else [Cordon(node.name)]
    actions += [Evict(pod) for pod in pods if not pod.leaving and pod.replaced and at.allowance.take(pod)]
    return to(record, Step.DRAINING, why, at.now), actions


def _why_not_empty(pods: list[Pod], world: World) -> str:
    if alone := [pod for pod in pods if not pod.replaced]:
        return f"pod {alone[0]} has no controller and would not come back"
    staying = [pod for pod in pods if not pod.leaving]
    held = [str(budget) for budget in world.covering(staying) if budget.allowed < 1]
    if held:
        return f"{len(pods)} pods are left; {', '.join(held[:3])} allows no disruption"
    return f"{len(pods)} pods are left"


def _labelling(record: NodeStatus, node: Node, at: Situation) -> tuple[NodeStatus, list[Action]]:
    if node.layout == at.want.layout:
        return _configuring(to(record, Step.CONFIGURING, "the MIG manager is asked", at.now), node, at)
    if node.layout != record.previous_layout:
        return _release(record, node, at, Step.FAILED, f"someone else asked for the layout {node.layout}")
    if at.pods:
        return to(record, Step.DRAINING, "pods came after it was drained", at.now), []
    return record, [SetLayout(node.name, at.want.layout)]


def _configuring(record: NodeStatus, node: Node, at: Situation) -> tuple[NodeStatus, list[Action]]:
    if node.layout != at.want.layout:
        return _release(record, node, at, Step.FAILED, f"someone else asked for the layout {node.layout}")
    if node.state == "success":
        return _verifying(to(record, Step.VERIFYING, "the device plugin starts", at.now), node, at)
    if node.state == "failed":
        return _restore(record, node, at, f"the MIG manager failed at {at.want.layout}")
    if waited(record, at.now) >= at.spec.state_timeout_seconds:
        return _restore(record, node, at, f"the MIG manager was not done after {at.spec.state_timeout_seconds} s")
    return to(record, Step.CONFIGURING, f"the MIG manager: {node.state or 'no word yet'}", at.now), []


def _verifying(record: NodeStatus, node: Node, at: Situation) -> tuple[NodeStatus, list[Action]]:
    if node.layout != at.want.layout:
        return _release(record, node, at, Step.FAILED, f"someone else asked for the layout {node.layout}")
    wanted: Mapping[str, int] = record.devices or {}
    if node.state == "success" and matches(wanted, node.labels, node.allocatable):
        return _release(record, node, at, Step.DONE, f"publishes {tell(wanted)}")
    found = f"publishes {tell(offered(node.allocatable))} instead of {tell(wanted)}"
    if node.state == "failed":
        return _restore(record, node, at, f"the MIG manager failed at {at.want.layout}")
    if waited(record, at.now) >= at.spec.state_timeout_seconds:
        return _restore(record, node, at, f"{found} after {at.spec.state_timeout_seconds} s")
    return to(record, Step.VERIFYING, found, at.now), []


def _restore(record: NodeStatus, node: Node, at: Situation, why: str) -> tuple[NodeStatus, list[Action]]:
    return _restoring(to(record, Step.RESTORING, why, at.now), node, at)


def _restoring(record: NodeStatus, node: Node, at: Situation) -> tuple[NodeStatus, list[Action]]:
    """Bring the old layout back. A state ``failed`` may still be of the new one: the devices tell."""
    if node.layout == at.want.layout:
        return record, [SetLayout(node.name, record.previous_layout, empty=False)]
    if node.state == "success" and offered(node.allocatable) == (record.previous_devices or {}):
        return _release(record, node, at, Step.ROLLED_BACK, record.message)
    if waited(record, at.now) >= at.spec.state_timeout_seconds:
        why = f"{record.message}; and the old layout did not come back: the node needs a person"
        return _release(record, node, at, Step.FAILED, why)
    return record, []


def claims(records: Mapping[str, NodeStatus], world: World) -> dict[str, int]:
    """Return for each budget how many nodes are being emptied of pods that it counts."""
    found: dict[str, int] = {}
    for record in records.values():
        if record.step in (Step.CORDONING, Step.DRAINING, Step.LABELLING):
            staying = [pod for pod in world.pods.get(record.name, ()) if not pod.leaving]
            for budget in world.covering(staying):
                found[str(budget)] = found.get(str(budget), 0) + 1
    return found


def blocking(pods: list[Pod], world: World, taken: Mapping[str, int]) -> list[Budget]:
    """Return the budgets that do not allow that one more node is emptied of these pods."""
    ready = [pod for pod in pods if pod.ready and not pod.leaving]
    return [b for b in world.covering(ready) if not b.current or b.allowed - taken.get(str(b), 0) < 1]
