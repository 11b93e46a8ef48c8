"""What the predictive scaler says of a job, and what the operator makes its HorizontalPodAutoscaler of."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from inferstack.api import constants
from inferstack.api.base import ApiModel

Count = Annotated[int, Field(ge=0)]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Decimal = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?$", max_length=24)]
"""A number that need not be whole. As text, for Kubernetes' conventions want no floating point in an API."""


class ScalingPolicy(ApiModel):
    """At most so much change within a period, as in autoscaling/v2."""

    type: Literal["Pods", "Percent"]
    """Unit of the value."""
    value: Count
    """Most change within the period."""
    period_seconds: Count
    """Seconds over which it counts."""


class ScalingRules(ApiModel):
    """One direction of a HorizontalPodAutoscaler's behavior, as in autoscaling/v2."""

    stabilization_window_seconds: Count
    """Seconds over which the most careful answer counts."""
    select_policy: Literal["Max", "Min", "Disabled"]
    """Which policy counts."""
    policies: Annotated[tuple[ScalingPolicy, ...], Field(min_length=1, max_length=4)]
    """Limits on the change."""


class Behavior(ApiModel):
    """How fast the HorizontalPodAutoscaler may change the replicas, as in autoscaling/v2."""

    scale_up: ScalingRules
    """On the way up."""
    scale_down: ScalingRules
    """On the way down."""


class ForecastStatus(ApiModel):
    """Arrivals as they are foreseen, in requests a second."""

    model: Annotated[str, StringConstraints(max_length=64)]
    """Which model foresees them."""
    lower: Decimal
    """Fewer are not expected."""
    mean: Decimal
    """What is expected."""
    upper: Decimal
    """More are not expected, at the confidence of the service level. Replicas are planned for it."""
    horizon_seconds: Count
    """Of all times within so many seconds, the one with the highest upper end is told: as long as a replica takes to
    start."""


class ServiceStatus(ApiModel):
    """What one replica can do."""

    requests_per_second: Decimal
    """Requests that it finishes a second while all its slots are in use."""
    slots: Count
    """Requests that it works on at once."""
    cold_start_seconds: Count
    """Seconds from its creation until it is Ready, at the confidence of the service level."""
    source: Literal["Saturation", "Concurrency", "Target"]
    """How the rate is known. Saturation: measured while requests waited. Concurrency: extrapolated from fewer requests
    at once. Target: the job's own RequestsPerSecond, as nothing has been measured yet."""


class ScalingStatus(ApiModel):
    """The latest decision. While it is valid the autoscaler has these bounds, afterwards those of spec.autoscale."""

    observed_generation: Count | None = None
    """metadata.generation that was decided on."""
    min_replicas: Count | None = None
    """Fewest replicas."""
    max_replicas: Count | None = None
    """Most replicas, by maxReplicas, the budget and the job's share of the GPUs."""
    target: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*m$", max_length=16)] | None = None
    """Outstanding requests of a replica that the autoscaler aims at, as a quantity in thousandths: 12500m."""
    behavior: Behavior | None = None
    """How fast the autoscaler may change the replicas."""
    replicas: Count | None = None
    """Set where the operator sets the number of replicas itself: to 0, and up from 0."""
    needed: Count | None = None
    """Replicas that forecast and service level ask for, before all bounds."""
    reactive: Count | None = None
    """Replicas that the same autoscaler would hold without a forecast."""
    reason: Annotated[str, StringConstraints(max_length=64, pattern=constants.REASON_PATTERN)]
    """Why the bounds are what they are, or why there is no new decision, in one word for programs."""
    message: Annotated[str, StringConstraints(max_length=1024)]
    """The same in one sentence for people."""
    forecast: ForecastStatus | None = None
    """What is foreseen; left out where the history is too short."""
    service: ServiceStatus | None = None
    """What one replica can do."""
    observed_time: Time
    """When this was written."""
    valid_until: Time | None = None
    """Until when the decision holds."""
