"""MigRollout: nodes that get other MIG layouts, one after the other and without hurting what runs on them."""

from __future__ import annotations

import enum
import re
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictInt, StrictStr, StringConstraints, field_validator

from inferstack.api import constants
from inferstack.api.base import ApiModel
from inferstack.api.mig_rollout_status import MigRolloutStatus, NodeName
from inferstack.api.rules import Rule

Seconds = Annotated[StrictInt, Field(ge=1, le=86_400)]


class Weekday(enum.StrEnum):
    """Days of a window, in UTC."""

    MON = "Mon"
    TUE = "Tue"
    WED = "Wed"
    THU = "Thu"
    FRI = "Fri"
    SAT = "Sat"
    SUN = "Sun"


class Window(ApiModel):
    """A time, each week anew, in which nodes may be begun."""

    days: Annotated[tuple[Weekday, ...], Field(min_length=1, max_length=7)]
    """Days on which the window opens, in UTC."""
    start: Annotated[StrictStr, StringConstraints(pattern=constants.TIME_OF_DAY_PATTERN, max_length=5)]
    """When it opens, HH:MM in UTC."""
    duration_minutes: Annotated[StrictInt, Field(ge=1, le=1440)]
    """Minutes after which it closes, be it on the next day."""


class RolloutNode(ApiModel):
    """One node and what it is to become."""

    name: NodeName
    """Name of the node."""
    layout: Annotated[StrictStr, StringConstraints(pattern=constants.LABEL_VALUE_PATTERN, max_length=63)]
    """Layout in the MIG manager's configuration: value of the label nvidia.com/mig.config."""


class MigRolloutSpec(ApiModel):
    """What is to be done, and how carefully. Only paused and aborted may be changed."""

    nodes: Annotated[tuple[RolloutNode, ...], Field(min_length=1, max_length=constants.MAX_ROLLOUT_NODES)]
    """The nodes in the order in which they are begun."""
    max_unavailable_nodes: Annotated[StrictInt, Field(ge=1, le=100)] = 1
    """Nodes that may be cordoned at a time."""
    max_failed_nodes: Annotated[StrictInt, Field(ge=0, le=constants.MAX_ROLLOUT_NODES)] = 0
    """Nodes that may fail before no other is begun. 0 stops at the first."""
    windows: Annotated[tuple[Window, ...], Field(max_length=14)] = ()
    """When nodes may be begun; at any time where it is left out. A node that was begun is finished."""
    drain_timeout_seconds: Seconds = 900
    """Seconds that the pods of a node may take to leave; then the node is given back unchanged."""
    state_timeout_seconds: Seconds = 600
    """Seconds that the MIG manager may take, and after it the device plugin; then the node gets its old layout back."""
    paused: StrictBool = False
    """True: no other node is begun; what was begun is finished."""
    aborted: StrictBool = False
    """True: no other node is begun, for good; nodes whose GPUs are not touched yet are given back. Cannot be undone."""

    @field_validator("nodes")
    @classmethod
    def _unique_names(cls, nodes: tuple[RolloutNode, ...]) -> tuple[RolloutNode, ...]:
        seen: set[str] = set()
        for node in nodes:
            if node.name in seen:
                raise ValueError(f"{node.name} is there twice")
            seen.add(node.name)
        return nodes


class MigRollout(ApiModel):
    """Nodes that get other MIG layouts: each is cordoned, drained within budgets, cut, checked and given back."""

    api_version: Literal["deepseek.ai/v1"]
    """APIVersion of this object."""
    kind: Literal["MigRollout"]
    """Kind of this object."""
    metadata: dict[str, Any]
    """Standard object metadata. The name becomes the value of a label of the nodes that are worked on."""
    spec: MigRolloutSpec
    """What is to be done."""
    status: MigRolloutStatus | None = None
    """How far it is."""

    @field_validator("metadata")
    @classmethod
    def _named(cls, metadata: dict[str, Any]) -> dict[str, Any]:
        name = metadata.get("name")
        good = isinstance(name, str) and re.fullmatch(constants.NAME_PATTERN, name)
        if not good or len(name or "") > constants.NAME_LENGTH:
            raise ValueError(
                f"name: {name!r} does not do for a label: at most {constants.NAME_LENGTH} lower-case letters, digits "
                "and dashes, a letter first"
            )
        return metadata


_FIXED = ("nodes", "maxUnavailableNodes", "maxFailedNodes", "drainTimeoutSeconds", "stateTimeoutSeconds")

RULES: dict[type[ApiModel], list[Rule]] = {
    MigRolloutSpec: [
        *(
            Rule(
                f"self.{name} == oldSelf.{name}",
                f"{name}: cannot be changed while it is carried out; abort this rollout and make another",
                field=f".{name}",
            )
            for name in _FIXED
        ),
        Rule(
            "has(self.windows) == has(oldSelf.windows) && (!has(self.windows) || self.windows == oldSelf.windows)",
            "windows: cannot be changed while it is carried out; abort this rollout and make another",
            field=".windows",
        ),
        Rule("self.aborted || !oldSelf.aborted", "aborted: cannot be undone; make another rollout", field=".aborted"),
    ],
    MigRollout: [
        Rule(
            f"self.metadata.name.matches('{constants.NAME_PATTERN}') && "
            f"size(self.metadata.name) <= {constants.NAME_LENGTH}",
            f"metadata.name: does not do for a label: at most {constants.NAME_LENGTH} lower-case letters, digits and "
            "dashes, a letter first",
        )
    ],
}
