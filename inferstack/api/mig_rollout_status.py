"""Status of a MigRollout. It holds all that the operator needs to continue after a restart."""

from __future__ import annotations

import enum
from typing import Annotated

from pydantic import Field, StrictStr, StringConstraints

from inferstack.api import constants
from inferstack.api.base import ApiModel
from inferstack.api.status import Condition, Count

NodeName = Annotated[StrictStr, StringConstraints(pattern=constants.SUBDOMAIN_PATTERN, max_length=253)]
Devices = Annotated[dict[str, Count], Field(max_length=32)]
Sentence = Annotated[str, StringConstraints(max_length=1024)]


class Phase(enum.StrEnum):
    """Phase of a rollout."""

    PENDING = "Pending"
    RUNNING = "Running"
    WAITING = "Waiting"
    PAUSED = "Paused"
    STOPPING = "Stopping"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    ABORTED = "Aborted"

    @property
    def final(self) -> bool:
        """Whether the rollout has ended."""
        return self in (Phase.SUCCEEDED, Phase.FAILED, Phase.ABORTED)


class Step(enum.StrEnum):
    """Step of one node. The operator records a step before it acts, so that a restarted operator repeats it."""

    WAITING = "Waiting"
    BLOCKED = "Blocked"
    CORDONING = "Cordoning"
    DRAINING = "Draining"
    LABELLING = "Labelling"
    CONFIGURING = "Configuring"
    VERIFYING = "Verifying"
    RESTORING = "Restoring"
    RELEASING = "Releasing"
    DONE = "Done"
    ROLLED_BACK = "RolledBack"
    SKIPPED = "Skipped"
    FAILED = "Failed"

    @property
    def ended(self) -> bool:
        """Whether the work on the node has ended."""
        return self in ENDS

    @property
    def active(self) -> bool:
        """Whether the node is cordoned or about to be."""
        return not self.ended and self not in (Step.WAITING, Step.BLOCKED)


ENDS = frozenset({Step.DONE, Step.ROLLED_BACK, Step.SKIPPED, Step.FAILED})


class NodeStatus(ApiModel):
    """Progress of one node."""

    name: NodeName
    """Name of the node."""
    step: Step
    """Waiting: not started. Blocked: cannot start, see message. In progress: Cordoning, Draining, Labelling,
    Configuring (by the MIG manager), Verifying (that the device plugin publishes the devices), Restoring (the old
    layout), Releasing (uncordoning). Ended: Done, RolledBack, Skipped (unchanged), Failed."""
    message: Sentence = ""
    """Reason for the step, or what the node waits for."""
    since: Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None = None
    """Time at which the step started."""
    outcome: Step | None = None
    """During Releasing: the step that follows."""
    previous_layout: Annotated[str, StringConstraints(max_length=63)] | None = None
    """Previous value of the label. Omitted if the node had no such label."""
    previous_devices: Devices | None = None
    """Devices that the node published before, by resource."""
    devices: Devices | None = None
    """Devices that the node must publish with the new layout, by resource."""


class MigRolloutStatus(ApiModel):
    """Progress of a rollout."""

    observed_generation: Count | None = None
    """Generation of the spec that the operator last acted on."""
    phase: Phase = Phase.PENDING
    """Pending, Running, Waiting (for a window, or because nodes are blocked), Paused, Stopping (nodes that were
    started are finished), Succeeded, Failed or Aborted."""
    message: Sentence = ""
    """Human-readable reason for the phase."""
    done: Annotated[str, StringConstraints(max_length=16)] | None = None
    """Nodes that have their new layout, of all nodes: 3/4."""
    failed: Count | None = None
    """Number of nodes that were rolled back, were skipped or failed."""
    current: Annotated[str, StringConstraints(max_length=1024)] | None = None
    """Nodes that are in progress."""
    nodes: Annotated[tuple[NodeStatus, ...], Field(max_length=constants.MAX_ROLLOUT_NODES)] | None = None
    """Status of each node, in the order of the spec."""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=8)] | None = None
    """Complete: True once all nodes have their layout, False if some will not get it, otherwise Unknown."""
