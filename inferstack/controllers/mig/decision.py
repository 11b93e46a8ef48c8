"""The decision about a rollout: its status and the next actions, from the observed state and the time. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from inferstack.api import MigRolloutSpec, MigRolloutStatus, NodeStatus, Phase, RolloutNode, Step
from inferstack.controllers.mig.actions import Action
from inferstack.controllers.mig.cluster_state import ClusterState
from inferstack.controllers.mig.devices import allocatable_devices
from inferstack.controllers.mig.eligibility import Eligibility, check_eligibility, quiet_seconds, refusal
from inferstack.controllers.mig.maintenance_windows import seconds_until_open
from inferstack.controllers.mig.node_steps import (
    EvictionBudget,
    StepContext,
    advance,
    budget_claims,
    in_step,
    seconds_in_step,
)

Records = dict[str, NodeStatus]
_FAILURES = (Step.FAILED, Step.ROLLED_BACK, Step.SKIPPED)
_SHOWN = 8
_LONGEST = 1024


@dataclass(frozen=True)
class Decision:
    """The new status of a rollout, and what to do."""

    phase: Phase
    message: str
    records: Records
    """By node, in the order of the spec."""
    actions: tuple[Action, ...]
    """To carry out once the status is written."""

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
        """Names of the nodes that are being changed."""
        active = [name for name, record in self.records.items() if record.step.active]
        more = f" and {len(active) - _SHOWN} more" if len(active) > _SHOWN else ""
        return (", ".join(active[:_SHOWN]) + more)[:_LONGEST]


def failures(records: Mapping[str, NodeStatus]) -> int:
    """Count the nodes that did not get their layout."""
    return sum(record.step in _FAILURES for record in records.values())


def decide(
    name: str, spec: MigRolloutSpec, status: MigRolloutStatus | None, state: ClusterState, now: datetime
) -> Decision:
    """Decide what to do next about a rollout.

    Args:
        name: of the rollout.
        spec: of the rollout.
        status: the last one written.
        state: as observed.
        now: with time zone.
    """
    previous = {record.name: record for record in (status.nodes if status else None) or ()}
    records = {want.name: previous.get(want.name, NodeStatus(name=want.name, step=Step.WAITING)) for want in spec.nodes}
    wants = {want.name: want for want in spec.nodes}
    if not any(record.step.active or record.step.ended for record in records.values()) and not spec.aborted:
        refused = {want.name: why for want in spec.nodes if (why := refusal(want, state))}
        if refused:
            for node, why in refused.items():
                records[node] = in_step(records[node], Step.FAILED, why, now)
            first = next(iter(refused))
            count = f"{len(refused)} of {len(wants)} nodes cannot have their layout"
            message = f"refused, nothing was changed: {count}; {first}: {refused[first]}"
            return Decision(Phase.FAILED, message[:_LONGEST], records, ())
    actions: list[Action] = []
    allowance = EvictionBudget(state)

    def advance_nodes(nodes: list[str]) -> None:
        for node in nodes:
            context = StepContext(name, spec, wants[node], state, now, _stopping(spec, records), allowance)
            records[node], node_actions = advance(records[node], context)
            actions.extend(node_actions)

    under_way = [node for node, record in records.items() if record.step.active]
    advance_nodes(under_way)
    closed = seconds_until_open(spec.windows, now)
    held: str | None = None
    if not _stopping(spec, records) and not spec.paused and not closed:
        held = _begin(name, spec, wants, records, state, now)
        _give_up(spec, records, now)
        advance_nodes([node for node, record in records.items() if record.step.active and node not in under_way])
    for node, record in records.items():
        # Its time counts only while the others wait for this node.
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
    state: ClusterState,
    now: datetime,
) -> str | None:
    """Begin as many nodes as may be unavailable, in order; return the node that the others wait for."""
    for node, want in wants.items():
        record = records[node]
        if record.step not in (Step.WAITING, Step.BLOCKED):
            continue
        if sum(other.step.active for other in records.values()) >= spec.max_unavailable_nodes:
            return None
        eligibility = check_eligibility(name, want, state, budget_claims(records, state), quiet_seconds(records, now))
        records[node] = _record_eligibility(name, record, eligibility, state, spec, now)
        if records[node].step is Step.WAITING:
            return node
        if _stopping(spec, records):
            return None
    return None


def _record_eligibility(
    name: str, record: NodeStatus, eligibility: Eligibility, state: ClusterState, spec: MigRolloutSpec, now: datetime
) -> NodeStatus:
    match eligibility.step:
        case Step.CORDONING:
            node = state.nodes[record.name]
            return in_step(
                record,
                Step.CORDONING,
                "",
                now,
                devices=dict(eligibility.devices),
                previous_layout=node.layout,
                previous_devices=allocatable_devices(node.allocatable),
            )
        case Step.DONE if state.nodes[record.name].owner == name:
            return in_step(record, Step.RELEASING, eligibility.message, now, outcome=Step.DONE)
        case Step.WAITING if not eligibility.timed:
            return record.model_copy(update={"step": Step.WAITING, "message": eligibility.message, "since": None})
        case Step.WAITING if record.step is Step.WAITING and seconds_in_step(record, now) >= spec.drain_timeout_seconds:
            why = f"not begun within {spec.drain_timeout_seconds} s: {eligibility.message}"
            return in_step(record, Step.SKIPPED, why, now)
        case _:
            return in_step(record, eligibility.step, eligibility.message, now)


def _give_up(spec: MigRolloutSpec, records: Records, now: datetime) -> None:
    """Skip nodes that have been blocked for long, once nothing else is left to do."""
    left = [record for record in records.values() if not record.step.ended]
    if any(record.step is not Step.BLOCKED for record in left):
        return
    for record in left:
        if seconds_in_step(record, now) >= spec.drain_timeout_seconds:
            why = f"not begun within {spec.drain_timeout_seconds} s: {record.message}"
            records[record.name] = in_step(record, Step.SKIPPED, why, now)


def _phase(spec: MigRolloutSpec, records: Records, closed: float) -> tuple[Phase, str]:
    failed, total = failures(records), len(records)
    bad = next((record for record in records.values() if record.step in _FAILURES), None)
    active = sum(record.step.active for record in records.values())
    why = f"{failed} of {total} nodes did not get their layout, the first is {bad.name}: {bad.message}" if bad else ""
    if all(record.step.ended for record in records.values()):
        if failed > spec.max_failed_nodes and not spec.aborted:
            return Phase.FAILED, why
        if failed and spec.aborted:
            return Phase.ABORTED, why
        return Phase.SUCCEEDED, why or f"all {total} nodes have their layout"
    if _stopping(spec, records):
        if active:
            return Phase.STOPPING, "finishing the nodes in progress" + (f"; {why}" if why else "")
        return (Phase.ABORTED, "aborted; the remaining nodes are unchanged") if spec.aborted else (Phase.FAILED, why)
    if spec.paused:
        return Phase.PAUSED, "paused by spec.paused"
    if active:
        return Phase.RUNNING, why
    if closed:
        return Phase.WAITING, "waiting for a maintenance window"
    waiting = next(record for record in records.values() if not record.step.ended)
    return Phase.WAITING, f"{waiting.name}: {waiting.message}"
