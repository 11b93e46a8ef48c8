"""MigRollout: changes the MIG layouts of nodes, one after the other, within disruption budgets."""

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
    """A weekly maintenance window in which work on nodes may start."""

    days: Annotated[tuple[Weekday, ...], Field(min_length=1, max_length=7)]
    """Days on which the window opens, in UTC."""
    start: Annotated[StrictStr, StringConstraints(pattern=constants.TIME_OF_DAY_PATTERN, max_length=5)]
    """Time at which the window opens, HH:MM in UTC."""
    duration_minutes: Annotated[StrictInt, Field(ge=1, le=1440)]
    """Length of the window in minutes. It may end on the next day."""


class RolloutNode(ApiModel):
    """One node and its new layout."""

    name: NodeName
    """Name of the node."""
    layout: Annotated[StrictStr, StringConstraints(pattern=constants.LABEL_VALUE_PATTERN, max_length=63)]
    """Name of a layout in the MIG manager's configuration: the value of the label nvidia.com/mig.config."""


class MigRolloutSpec(ApiModel):
    """Nodes, their new layouts and the limits of the rollout. Only paused and aborted can be changed."""

    nodes: Annotated[tuple[RolloutNode, ...], Field(min_length=1, max_length=constants.MAX_ROLLOUT_NODES)]
    """Nodes in the order in which the rollout starts on them."""
    max_unavailable_nodes: Annotated[StrictInt, Field(ge=1, le=100)] = 1
    """Maximum number of nodes that are cordoned at the same time."""
    max_failed_nodes: Annotated[StrictInt, Field(ge=0, le=constants.MAX_ROLLOUT_NODES)] = 0
    """Number of nodes that may fail before the rollout stops. 0 stops it at the first failure."""
    windows: Annotated[tuple[Window, ...], Field(max_length=14)] = ()
    """Windows in which work on nodes may start; at any time if empty. A node that was started is finished."""
    drain_timeout_seconds: Seconds = 900
    """Seconds in which the pods of a node must terminate. Afterwards the node is uncordoned unchanged."""
    state_timeout_seconds: Seconds = 600
    """Seconds that the MIG manager, and then the device plugin, may take. Afterwards the old layout is restored."""
    paused: StrictBool = False
    """If true, no further node is started. Nodes that were started are finished."""
    aborted: StrictBool = False
    """If true, the rollout ends for good: no further node is started, nodes with untouched GPUs are uncordoned."""

    @field_validator("nodes")
    @classmethod
    def _unique_names(cls, nodes: tuple[RolloutNode, ...]) -> tuple[RolloutNode, ...]:
        names: set[str] = set()
        for node in nodes:
            if node.name in names:
                raise ValueError(f"duplicate node {node.name}")
            names.add(node.name)
        return nodes


class MigRollout(ApiModel):
    """Changes MIG layouts: each node is cordoned, drained within budgets, reconfigured, verified and uncordoned."""

    api_version: Literal["deepseek.ai/v1"]
    """APIVersion of this object."""
    kind: Literal["MigRollout"]
    """Kind of this object."""
    metadata: dict[str, Any]
    """Standard object metadata. The name is a label value on the nodes that the rollout cordons."""
    spec: MigRolloutSpec
    """Desired layouts and limits."""
    status: MigRolloutStatus | None = None
    """Observed progress of the rollout."""

    @field_validator("metadata")
    @classmethod
    def _named(cls, metadata: dict[str, Any]) -> dict[str, Any]:
        name = metadata.get("name")
        valid = isinstance(name, str) and re.fullmatch(constants.NAME_PATTERN, name)
        if not valid or len(name or "") > constants.NAME_LENGTH:
            raise ValueError(
                f"name: {name!r} is not a label value of at most {constants.NAME_LENGTH} lower-case letters, digits "
                "and dashes that starts with a letter"
            )
        return metadata


_FIXED = ("nodes", "maxUnavailableNodes", "maxFailedNodes", "drainTimeoutSeconds", "stateTimeoutSeconds")

RULES: dict[type[ApiModel], list[Rule]] = {
    MigRolloutSpec: [
        *(
            Rule(
                f"self.{name} == oldSelf.{name}",
                f"{name}: immutable; abort this rollout and create another",
                field=f".{name}",
            )
            for name in _FIXED
        ),
        Rule(
            "has(self.windows) == has(oldSelf.windows) && (!has(self.windows) || self.windows == oldSelf.windows)",
            "windows: immutable; abort this rollout and create another",
            field=".windows",
        ),
        Rule("self.aborted || !oldSelf.aborted", "aborted: cannot be undone; create another rollout", field=".aborted"),
    ],
    MigRollout: [
        Rule(
            f"self.metadata.name.matches('{constants.NAME_PATTERN}') && "
            f"size(self.metadata.name) <= {constants.NAME_LENGTH}",
            f"metadata.name: must be a label value of at most {constants.NAME_LENGTH} lower-case letters, digits and "
            "dashes that starts with a letter",
        )
    ],
}
