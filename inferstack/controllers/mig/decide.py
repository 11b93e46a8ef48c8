"""What is to be done about a rollout: its whole status and the actions, from what is seen and the time. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from inferstack.api import MigRolloutSpec, MigRolloutStatus, NodeStatus, Phase, RolloutNode, Step
from inferstack.controllers.mig import steps
from inferstack.controllers.mig.actions import Action
from inferstack.controllers.mig.begin import Verdict, look, quiet_seconds, refusal
from inferstack.controllers.mig.devices import offered
from inferstack.controllers.mig.steps import Allowance, Situation, advance, to, waited
from inferstack.controllers.mig.windows import seconds_until_open
from inferstack.controllers.mig.world import World

Records = dict[str, NodeStatus]
_FAILURES = (Step.FAILED, Step.ROLLED_BACK, Step.SKIPPED)
_SHOWN = 8
_LONGEST = 1024


@dataclass(frozen=True)
class Decision:
    """What a look at a rollout came to."""

    phase: Phase
    message: str
    records: Records
    """By node, in the order of the spec."""
    actions: tuple[Action, ...]
    """To be done once the status is written."""

    @property
    def done(self) -> int:
        """Nodes that have their layout."""
        return sum(record.step is Step.DONE for record in self.records.values())

    @property
    def failed(self) -> int:
        """Nodes that did not get it."""
        return failures(self.records)

    @property
    def current(self) -> str:
        """Names of the nodes that are worked on."""
        active = [name for name, record in self.records.items() if record.step.active]
        more = f" and {len(active) - _SHOWN} more" if len(active) > _SHOWN else ""
        return (", ".join(active[:_SHOWN]) + more)[:_LONGEST]


def failures(records: Mapping[str, NodeStatus]) -> int:
    """Count the nodes that did not get their layout."""
    return sum(record.step in _FAILURES for record in records.values())


def decide(name: str, spec: MigRolloutSpec, status: MigRolloutStatus | None, world: World, now: datetime) -> Decision:
    """Decide.

    Args:
        name: of the rollout.
        spec: what is asked for.
        status: as written last.
        world: as seen.
        now: with time zone.
    """
    known = {record.name: record for record in (status.nodes if status else None) or ()}
    records = {want.name: known.get(want.name, NodeStatus(name=want.name, step=Step.WAITING)) for want in spec.nodes}
    wants = {want.name: want for want in spec.nodes}
    if not any(record.step.active or record.step.ended for record in records.values()) and not spec.aborted:
        refused = {want.name: why for want in spec.nodes if (why := refusal(want, world))}
        if refused:
            for node, why in refused.items():
                records[node] = to(records[node], Step.FAILED, why, now)
            first = next(iter(refused))
            message = f"refused, nothing was changed: {len(refused)} of {len(wants)} nodes cannot be, {first}: "
            return Decision(Phase.FAILED, (message + refused[first])[:_LONGEST], records, ())
    actions: list[Action] = []
    allowance = Allowance(world)

    def go_on(nodes: list[str]) -> None:
        for node in nodes:
            at = Situation(name, spec, wants[node], world, now, _stopping(spec, records), allowance)
            records[node], wanted = advance(records[node], at)
            actions.extend(wanted)

    under_way = [node for node, record in records.items() if record.step.active]
    go_on(under_way)
    closed = seconds_until_open(spec.windows, now)
    held: str | None = None
    if not _stopping(spec, records) and not spec.paused and not closed:
        held = _begin(name, spec, wants, records, world, now)
        _give_up(spec, records, now)
        go_on([node for node, record in records.items() if record.step.active and node not in under_way])
    for node, record in records.items():
        # Its time counts only while it is this node that the others wait for.
        if record.step is Step.WAITING and record.since and node != held:
            records[node] = record.model_copy(update={"since": None})
    phase, message = _phase(spec, records, closed)
    return Decision(phase, message[:_LONGEST], records, tuple(actions))


def _stopping(spec: MigRolloutSpec, records: Records) -> bool:
    return spec.aborted or failures(records) > spec.max_failed_nodes


def _begin(
    name: str,
    spec: MigRolloutSpec,
    wants: Mapping[str, RolloutNode],
    records: Records,
    world: World,
    now: datetime,
) -> str | None:
    """Begin as many nodes as may be away at a time, in their order; return the one that the others wait for."""
    for node, want in wants.items():
        record = records[node]
        if record.step not in (Step.WAITING, Step.BLOCKED):
            continue
        if sum(one.step.active for one in records.values()) >= spec.max_unavailable_nodes:
            return None
        verdict = look(name, want, world, steps.claims(records, world), quiet_seconds(records, now))
        records[node] = _judged(name, record, verdict, world, spec, now)
        if records[node].step is Step.WAITING:
            return node
        if _stopping(spec, records):
            return None
    return None


def _judged(
    name: str, record: NodeStatus, verdict: Verdict, world: World, spec: MigRolloutSpec, now: datetime
) -> NodeStatus:
    match verdict.step:
        case Step.CORDONING:
            node = world.nodes[record.name]
            return to(
                record,
                Step.CORDONING,
                "",
                now,
                devices=dict(verdict.devices),
                previous_layout=node.layout,
                previous_devices=offered(node.allocatable),
            )
        case Step.DONE if world.nodes[record.name].owner == name:
            return to(record, Step.RELEASING, verdict.message, now, outcome=Step.DONE)
        case Step.WAITING if not verdict.timed:
            return record.model_copy(update={"step": Step.WAITING, "message": verdict.message, "since": None})
        case Step.WAITING if record.step is Step.WAITING and waited(record, now) >= spec.drain_timeout_seconds:
            why = f"not begun after {spec.drain_timeout_seconds} s: {verdict.message}"
            return to(record, Step.SKIPPED, why, now)
        case _:
            return to(record, verdict.step, verdict.message, now)


def _give_up(spec: MigRolloutSpec, records: Records, now: datetime) -> None:
    """Skip nodes in whose way something has stood for long, once there is nothing else to do."""
    left = [record for record in records.values() if not record.step.ended]
    if any(record.step is not Step.BLOCKED for record in left):
        return
    for record in left:
        if waited(record, now) >= spec.drain_timeout_seconds:
            why = f"not begun after {spec.drain_timeout_seconds} s: {record.message}"
            records[record.name] = to(record, Step.SKIPPED, why, now)


def _phase(spec: MigRolloutSpec, records: Records, closed: float) -> tuple[Phase, str]:
    failed, total = failures(records), len(records)
    bad = next((record for record in records.values() if record.step in _FAILURES), None)
    active = sum(record.step.active for record in records.values())
    why = f"{failed} of {total} nodes did not get their layout; first {bad.name}: {bad.message}" if bad else ""
    if all(record.step.ended for record in records.values()):
        if failed > spec.max_failed_nodes and not spec.aborted:
            return Phase.FAILED, why
        if failed and spec.aborted:
            return Phase.ABORTED, why
        return Phase.SUCCEEDED, why or f"all {total} nodes have their layout"
    if _stopping(spec, records):
        if active:
            return Phase.STOPPING, "what was begun is finished" + (f"; {why}" if why else "")
        return (Phase.ABORTED, "aborted; the other nodes were not begun") if spec.aborted else (Phase.FAILED, why)
    if spec.paused:
        return Phase.PAUSED, "no other node is begun until spec.paused is false"
    if active:
        return Phase.RUNNING, why
    if closed:
        return Phase.WAITING, "no window is open"
    waiting = next(record for record in records.values() if not record.step.ended)
    return Phase.WAITING, f"{waiting.name}: {waiting.message}"
