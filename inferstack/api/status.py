"""Status of an InferenceJob."""

from __future__ import annotations

import enum
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from inferstack.api import constants
from inferstack.api.base import ApiModel
from inferstack.api.scaling_status import ScalingStatus

Count = Annotated[int, Field(ge=0)]


class ConditionType(enum.StrEnum):
    """Types of a job's conditions."""

    READY = "Ready"
    PROGRESSING = "Progressing"
    DEGRADED = "Degraded"
    CACHE_READY = "CacheReady"


class Condition(ApiModel):
    """A condition of the job, as in the Kubernetes API conventions."""

    type: Annotated[str, StringConstraints(max_length=316)]
    """Ready: all replicas serve the latest spec. Progressing: a change is in progress. Degraded: the job needs an
    operator's attention or more hardware. CacheReady: the Dataset of spec.cache is bound and loaded."""
    status: Literal["True", "False", "Unknown"]
    """Status of the condition."""
    reason: Annotated[str, StringConstraints(max_length=1024, pattern=constants.REASON_PATTERN)]
    """Machine-readable reason for the status."""
    message: Annotated[str, StringConstraints(max_length=32768)] = ""
    """Human-readable details."""
    last_transition_time: Annotated[str, Field(json_schema_extra={"format": "date-time"})]
    """Time at which the status last changed."""
    observed_generation: Count | None = None
    """Generation of the spec that the condition describes."""


class InferenceJobStatus(ApiModel):
    """Observed state of the job."""

    observed_generation: Count | None = None
    """Generation of the spec that the operator last acted on."""
    ready: Annotated[str, StringConstraints(max_length=16)] | None = None
    """Ready replicas of desired replicas: 8/8."""
    replicas: Count | None = None
    """Number of replicas."""
    ready_replicas: Count | None = None
    """Number of ready replicas."""
    gpus: Count | None = None
    """GPUs or MIG slices of all desired replicas."""
    profile: Annotated[str, StringConstraints(max_length=32)] | None = None
    """MIG profile of the slices; whole for whole GPUs."""
    runtime: Annotated[str, StringConstraints(max_length=64)] | None = None
    """Runtime of the job."""
    selector: Annotated[str, StringConstraints(max_length=256)] | None = None
    """Label selector of the replicas, for the scale subresource."""
    conditions: Annotated[tuple[Condition, ...], Field(max_length=8)] | None = None
    """Ready, Progressing and Degraded; CacheReady if the job has a cache."""
    scaling: ScalingStatus | None = None
    """Decision of the predictive scaler, for jobs with autoscale.predictive."""
