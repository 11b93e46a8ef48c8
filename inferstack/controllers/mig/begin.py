"""Whether a node may be begun. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from inferstack.api import NodeStatus, RolloutNode, Step
from inferstack.controllers.mig.devices import Settings, UnknownDevicesError, expected, matches, offered, tell
from inferstack.controllers.mig.steps import blocking, waited
from inferstack.controllers.mig.world import Node, Pod, World
from inferstack.mig.errors import LayoutError

SETTLE_SECONDS = 60
"""How long after a node the next one waits for pods that left to run again elsewhere. Those that find no place must not
hold up the rest: their budgets go on protecting them."""


@dataclass(frozen=True)
class Verdict:
    """What a look at a node came to."""

    step: Step
    """Failed: it can never be. Blocked: others may go first. Waiting: nobody goes before it. Done: it is so already.
    Cordoning: begin."""
    message: str = ""
    devices: Mapping[str, int] = field(default_factory=dict)
    """What it must publish."""
    timed: bool = False
    """Whether Waiting ends with the drain's time-out."""


def refusal(want: RolloutNode, world: World) -> str | None:
    """Return why a node can never take its layout; None where it can, or that is not known."""
    node = world.nodes.get(want.name)
    if node is None:
        return "there is no such node"
    if world.settings is None:
        return None
    try:
        expected(node.labels, world.settings, want.layout, _current(node, world.settings))
    except UnknownDevicesError:
        return None
    except LayoutError as error:
        return str(error)
    return None


def look(
    rollout: str,
    want: RolloutNode,
    world: World,
    taken: Mapping[str, int],
    quiet: float,
) -> Verdict:
    """Tell whether to begin a node.

    Args:
        rollout: its name.
        want: the node and its layout.
        world: as seen.
        taken: as of `steps.claims`.
        quiet: seconds since something happened to another node of the rollout.
    """
    if problem := refusal(want, world):
        return Verdict(Step.FAILED, problem)
    node = world.nodes[want.name]
    if world.settings is None:
        return Verdict(Step.WAITING, world.problem)
    current = _current(node, world.settings)
    try:
        devices = expected(node.labels, world.settings, want.layout, current)
    except UnknownDevicesError as error:
        return Verdict(Step.BLOCKED, str(error))
    if blocked := _not_ours(rollout, node) or _unsettled(node, want, current, devices, world.settings):
        return Verdict(Step.BLOCKED, blocked)
    if current == want.layout and node.state == "success" and matches(devices, node.labels, node.allocatable):
        return Verdict(Step.DONE, "has the layout already", devices)
    return _pods(list(world.pods.get(want.name, ())), world, taken, quiet) or Verdict(Step.CORDONING, devices=devices)


def _current(node: Node, settings: Settings) -> str:
    return node.layout or settings.default


def _not_ours(rollout: str, node: Node) -> str | None:
    if node.owner not in (None, rollout):
        return f"the node is in the hands of the rollout {node.owner}"
    if node.unschedulable and node.owner is None:
        return "someone else has cordoned the node"
    return None if node.ready else "the node is not ready"


def _unsettled(
    node: Node, want: RolloutNode, current: str, devices: Mapping[str, int], settings: Settings
) -> str | None:
    """Return why the MIG manager could not be asked, or not told apart from what it said before."""
    if node.state == "pending":
        return "the MIG manager is at work"
    if node.layout == want.layout and node.state != "success":
        return f"asked for {want.layout} already, the MIG manager said {node.state or 'nothing yet'}: ask for another"
    if node.state != "success":
        return None
    try:
        now = devices if current == want.layout else expected(node.labels, settings, current, current)
    except LayoutError:
        return None
    if matches(now, node.labels, node.allocatable):
        return None
    return (
        f"publishes {tell(offered(node.allocatable))} where its layout {current} means {tell(now)}: has it lost GPUs?"
    )


def _pods(pods: list[Pod], world: World, taken: Mapping[str, int], quiet: float) -> Verdict | None:
    for pod in pods:
        if not pod.replaced:
            return Verdict(Step.BLOCKED, f"pod {pod} has no controller and would not come back: delete it yourself")
        if len(budgets := world.covering([pod])) > 1:
            both = " and ".join(map(str, budgets[:2]))
            return Verdict(Step.BLOCKED, f"pod {pod} is in two budgets, {both}: Kubernetes evicts no such pod")
    if held := blocking(pods, world, taken):
        return Verdict(Step.WAITING, f"{held[0]} allows no disruption", timed=True)
    short = [budget for budget in world.covering(pods) if budget.healthy < budget.expected]
    if short and quiet < SETTLE_SECONDS:
        return Verdict(Step.WAITING, f"pods of {short[0]} that left do not run again yet", timed=True)
    return None


def quiet_seconds(records: Mapping[str, NodeStatus], now: datetime) -> float:
    """Return the seconds since something happened to a node that was begun; many where none was."""
    begun = [record for record in records.values() if record.since and (record.step.active or record.step.ended)]
    return min((waited(record, now) for record in begun), default=float("inf"))
