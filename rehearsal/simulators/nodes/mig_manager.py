"""The MIG manager: from ``nvidia.com/mig.config`` to GPUs that are cut, told in ``nvidia.com/mig.config.state``.

As NVIDIA/mig-parted ``pkg/mig/reconfigure/reconfigure.go``: a name that the configuration lacks fails at once; a layout
that is there already is a success at once; else the state is ``pending`` while GPU clients are stopped, then
``success`` or ``failed``. After a failure the GPUs are as before. Nothing happens again until the label changes.

Two annotations are the simulated machine's memory: ``mig-devices``, how the GPUs are cut, and ``mig-done``, the label's
value that was dealt with last. So an agent that is killed in ``pending`` does the work again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inferstack.mig.errors import LayoutError
from inferstack.mig.gpu_operator import MIG_CONFIG, MIG_STATE
from inferstack.mig.layout import GpuState, apply_layout, dump_states
from rehearsal.hardware import MIG_DEVICES, Hardware, annotations_of, current_states
from rehearsal.simulators.desired import Desired
from rehearsal.simulators.nodes.policy import Policy

MIG_DONE = "rehearsal.inferstack.dev/mig-done"


@dataclass(frozen=True)
class MigWork:
    """Where the MIG manager of one node stands."""

    desired: Desired
    states: tuple[GpuState, ...]
    """The GPUs as they are now."""
    pending: bool = False
    """GPU clients are stopped."""
    wait: float | None = None
    """Seconds until the work is done, while pending."""
    note: str | None = None
    """A sentence for the log when something was finished or refused."""


def desired(
    node: Mapping[str, Any], hardware: Hardware, policy: Policy | None, *, elapsed: float | None, seconds: float
) -> MigWork:
    """Decide what the MIG manager does.

    Args:
        node: as last seen.
        hardware: of the node.
        policy: None while the GPU operator is not installed.
        elapsed: seconds since this agent put the node into pending, None if it has not.
        seconds: how long the work takes.
    """
    states = current_states(node, hardware)
    if policy is None or hardware.gpu is None or not policy.mig_manager or policy.layouts is None:
        return MigWork(Desired(annotations={MIG_DONE: None}), states)
    labels = node["metadata"].get("labels") or {}
    state = labels.get(MIG_STATE)
    request = labels.get(MIG_CONFIG) or policy.default_layout
    if not request:
        return MigWork(Desired(), states)
    if state in ("success", "failed") and annotations_of(node).get(MIG_DONE) == request:
        return MigWork(Desired(labels={MIG_STATE: state}), states)
    layout = policy.layouts.get(request)
    if layout is None:
        why = policy.layouts_problem or f"no layout {request!r} in the configuration"
        return _done(states, request, "failed", why)
    try:
        target = apply_layout(layout, hardware.gpu, states)
        problem = None
    except LayoutError as error:
        target, problem = states, str(error)
    if problem is None and target == states and state != "pending":
        return _done(states, request, "success", "already applied")
    if elapsed is None or elapsed < seconds:
        wait = seconds - (elapsed or 0)
        return MigWork(Desired(labels={MIG_STATE: "pending"}), states, pending=True, wait=wait)
    return _done(target, request, "failed", problem) if problem else _done(target, request, "success", "applied")


def _done(states: tuple[GpuState, ...], request: str, state: str, why: str) -> MigWork:
    wanted = Desired(labels={MIG_STATE: state}, annotations={MIG_DEVICES: dump_states(states), MIG_DONE: request})
    return MigWork(wanted, states, note=f"MIG layout {request}: {state} ({why})")
