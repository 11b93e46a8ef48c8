"""The MIG manager: partitions GPUs by ``nvidia.com/mig.config`` and reports in ``nvidia.com/mig.config.state``.

The behaviour is that of NVIDIA/mig-parted ``pkg/mig/reconfigure/reconfigure.go``. A name that is missing from the
configuration fails at once. A layout that is already in place succeeds at once. Otherwise the state is ``pending``
while GPU clients are stopped, then ``success`` or ``failed``. A failure leaves the GPUs unchanged. The next attempt
starts when the label changes.

Two annotations store the state of the simulated machine: ``mig-devices`` holds the partitions of the GPUs, and
``mig-done`` the last label value that was handled. An agent that is killed in ``pending`` therefore repeats the work.
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
    """Progress of the MIG manager on one node."""

    desired: Desired
    states: tuple[GpuState, ...]
    """Current state of the GPUs."""
    pending: bool = False
    """Whether GPU clients are stopped."""
    wait: float | None = None
    """Seconds until the work is done, while pending."""
    note: str | None = None
    """Log message for work that was finished or refused."""


def desired(
    node: Mapping[str, Any], hardware: Hardware, policy: Policy | None, *, elapsed: float | None, seconds: float
) -> MigWork:
    """Decide what the MIG manager does.

    Args:
        node: last observed state of the node.
        hardware: hardware of the node.
        policy: None while the GPU operator is not installed.
        elapsed: seconds since this agent put the node into pending, or None if it has not.
        seconds: duration of the work.
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
