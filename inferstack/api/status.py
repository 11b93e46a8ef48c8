"""What the operator says of a job."""

from __future__ import annotations

import enum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from inferstack.api import constants
from inferstack.api.base import ApiModel
from inferstack.api.scaling_status import ScalingStatus

Count = Annotated[int, Field(ge=0)]


class ConditionType(enum.StrEnum):
    """The sides of a job's state."""

    READY = "Ready"
    PROGRESSING = "Progressing"
    DEGRADED = "Degraded"
    CACHE_READY = "CacheReady"


class Condition(ApiModel):
    """One side of the job's state, after the API conventions."""

    type: Annotated[str, StringConstraints(max_length=316)]
    """Ready: all replicas serve the latest spec. Progressing: a change is on its way. Degraded: something stands in
    the way that needs a person or more hardware. CacheReady: the Dataset of spec.cache is bound and loaded."""
    status: Literal["True", "False", "Unknown"]
    """True, False or Unknown."""
    reason: Annotated[str, StringConstraints(max_length=1024, pattern=constants.REASON_PATTERN)]
    """Why, in one word for programs."""
    message: Annotated[str, StringConstraints(max_length=32768)] = ""
    """Why, in one sentence for people."""
    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """When status last changed."""
    observed_generation: Count | None = None
    """metadata.generation that this was said of."""


class InferenceJobStatus(ApiModel):
    """What the operator observes."""

    observed_generation: Count | None = None
    """metadata.generation that the operator has acted on."""
    ready: Annotated[str, StringConstraints(max_length=16)] | None = None
    """Replicas that serve, of those wanted now: 8/8."""
    replicas: Count | None = None
    """Replicas that exist."""
    ready_replicas: Count | None = None
    """Replicas that serve."""
    gpus: Count | None = None
    """GPUs, or MIG slices, of all wanted replicas together."""
    profile: Annotated[str, StringConstraints(max_length=32)] | None = None
    """The MIG profile of the slices, whole for whole GPUs."""
    runtime: Annotated[str, StringConstraints(max_length=64)] | None = None
    """The server that was chosen."""
    selector: Annotated[str, StringConstraints(max_length=256)] | None = None
    """Label selector of the replicas, for the scale subresource."""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=8)] | None = None
    """Ready, Progressing and Degraded, and CacheReady where the job has a cache."""
    scaling: ScalingStatus | None = None
    """What the predictive scaler says; only on jobs with autoscale.predictive."""
