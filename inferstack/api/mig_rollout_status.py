"""What the operator says of a MigRollout, and all that it needs to go on after it was killed."""

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
    """Where a rollout is."""

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
        """Whether nothing more is done."""
        return self in (Phase.SUCCEEDED, Phase.FAILED, Phase.ABORTED)


class Step(enum.StrEnum):
    """Where one node is. A step is written down before it is taken, so that a new operator takes it again."""

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
        """Whether nothing more is done on the node."""
        return self in ENDS

    @property
    def active(self) -> bool:
        """Whether the node is, or is about to be, cordoned."""
        return not self.ended and self not in (Step.WAITING, Step.BLOCKED)


ENDS = frozenset({Step.DONE, Step.ROLLED_BACK, Step.SKIPPED, Step.FAILED})


class NodeStatus(ApiModel):
    """How far one node is."""

    name: NodeName
    """Name of the node."""
    step: Step
    """Waiting: not begun. Blocked: something stands in the way of beginning. Cordoning, Draining, Labelling,
    Configuring (the MIG manager works), Verifying (the device plugin publishes), Restoring (the old layout comes back),
    Releasing (uncordoned): under way. Done, RolledBack, Skipped (nothing was changed) and Failed: ended."""
    message: Sentence = ""
    """Why, or what it waits for."""
    since: Annotated[str, Field(json_schema_extra={"format": "date-time"})] | None = None
    """When the step began."""
    outcome: Step | None = None
    """While Releasing: the step that follows."""
    previous_layout: Annotated[str, StringConstraints(max_length=63)] | None = None
    """The label's value before; left out where the node had no such label."""
    previous_devices: Devices | None = None
    """What the node published before, by resource."""
    devices: Devices | None = None
    """What the node must publish under its new layout, by resource."""


class MigRolloutStatus(ApiModel):
    """How far a rollout is."""

    observed_generation: Count | None = None
    """metadata.generation that the operator has acted on."""
    phase: Phase = Phase.PENDING
    """Pending, Running, Waiting (for a window, or for what stands in the way), Paused, Stopping (what was begun is
    finished), Succeeded, Failed or Aborted."""
    message: Sentence = ""
    """Why, in one sentence."""
    done: Annotated[str, StringConstraints(max_length=16)] | None = None
    """Nodes that have their layout, of all: 3/4."""
    failed: Count | None = None
    """Nodes that were rolled back, skipped or failed."""
    current: Annotated[str, StringConstraints(max_length=1024)] | None = None
    """Nodes that are worked on now."""
    nodes: Annotated[tuple[NodeStatus, ...], Field(max_length=constants.MAX_ROLLOUT_NODES)] | None = None
    """Each node, in the order of the spec."""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=8)] | None = None
    """Complete: True when all nodes have their layout, False when not all get it, Unknown before that is known."""
