"""Placement of a job's replicas relative to each other."""

from __future__ import annotations

import enum
from typing import Annotated

from pydantic import Field, StrictStr, StringConstraints

from inferstack.api import constants
from inferstack.api.base import ApiModel

Level = Annotated[
    StrictStr, StringConstraints(pattern=constants.LABEL_KEY_PATTERN, max_length=constants.LABEL_KEY_LENGTH)
]


class Prefer(enum.StrEnum):
    """How replicas are placed in the network topology."""

    SPREAD = "Spread"
    PACK = "Pack"


class Placement(ApiModel):
    """Placement of replicas in the network topology. A preference: replicas also run where it cannot be met."""

    levels: Annotated[tuple[Level, ...], Field(min_length=1, max_length=8)]
    """Node labels that name the switches above a node, nearest first, such as topology.k8s.aws/network-node-layer-3."""
    prefer: Prefer = Prefer.SPREAD
    """Spread: evenly over the switches of each level, so that the failure of one affects few replicas.
    Pack: below the nearest common switch, for replicas that communicate; still on different nodes."""
