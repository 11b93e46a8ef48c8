"""Decision of the predictive scaler, from which the operator builds the HorizontalPodAutoscaler."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from inferstack.api import constants
from inferstack.api.base import ApiModel

Count = Annotated[int, Field(ge=0)]
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
Decimal = Annotated[str, StringConstraints(pattern=r"^[0-9]+(\.[0-9]+)?$", max_length=24)]
"""A decimal number as text: Kubernetes API conventions discourage floating-point fields."""


class ScalingPolicy(ApiModel):
    """Maximum change within a period, as in autoscaling/v2."""

    type: Literal["Pods", "Percent"]
    """Unit of the value."""
    value: Count
    """Maximum change within the period."""
    period_seconds: Count
    """Length of the period in seconds."""


class ScalingRules(ApiModel):
    """One direction of a HorizontalPodAutoscaler's behavior, as in autoscaling/v2."""

    stabilization_window_seconds: Count
    """Seconds over which the most conservative recommendation applies."""
    select_policy: Literal["Max", "Min", "Disabled"]
    """Policy that applies."""
    policies: Annotated[tuple[ScalingPolicy, ...], Field(min_length=1, max_length=4)]
    """Limits on the change."""


class Behavior(ApiModel):
    """How fast the HorizontalPodAutoscaler may change the replicas, as in autoscaling/v2."""

    scale_up: ScalingRules
    """Scaling up."""
    scale_down: ScalingRules
    """Scaling down."""


class ForecastStatus(ApiModel):
    """Forecast of the arrival rate, in requests per second."""

    model: Annotated[str, StringConstraints(max_length=64)]
    """Forecasting model."""
    lower: Decimal
    """Lower bound of the prediction interval."""
    mean: Decimal
    """Expected value."""
    upper: Decimal
    """Upper bound of the prediction interval at the confidence of the objective. Replicas are planned for it."""
    horizon_seconds: Count
    """Length of the forecast in seconds: the time that a replica takes to start. The values are those of the time
    with the highest upper bound."""


class ServiceStatus(ApiModel):
    """Capacity of one replica."""

    requests_per_second: Decimal
    """Requests that it completes per second when all slots are in use."""
    slots: Count
    """Requests that it processes at the same time."""
    cold_start_seconds: Count
    """Seconds from its creation until it is Ready, at the confidence of the objective."""
    source: Literal["Saturation", "Concurrency", "Target"]
    """Source of the rate. Saturation: measured while requests were queued. Concurrency: extrapolated from fewer
    concurrent requests. Target: the job's target of RequestsPerSecond, because nothing has been measured yet."""


class ScalingStatus(ApiModel):
    """The latest decision. Its bounds replace those of spec.autoscale until it expires."""

    observed_generation: Count | None = None
    """Generation of the spec that the decision is based on."""
    min_replicas: Count | None = None
    """Minimum number of replicas."""
    max_replicas: Count | None = None
    """Maximum number of replicas, limited by maxReplicas, the budget and the job's share of the GPUs."""
    target: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]*m$", max_length=16)] | None = None
    """Target of outstanding requests per replica, as a quantity in thousandths: 12500m."""
    behavior: Behavior | None = None
    """Rate at which the autoscaler may change the number of replicas."""
    replicas: Count | None = None
    """Number of replicas that the operator sets itself, to scale to zero and up from zero."""
    needed: Count | None = None
    """Replicas that the forecast and the objective require, before bounds apply."""
    reactive: Count | None = None
    """Replicas that the same autoscaler would keep without a forecast."""
    reason: Annotated[str, StringConstraints(max_length=64, pattern=constants.REASON_PATTERN)]
    """Machine-readable reason for the bounds, or for the lack of a new decision."""
    message: Annotated[str, StringConstraints(max_length=1024)]
    """Human-readable reason."""
    forecast: ForecastStatus | None = None
    """Forecast of the load. Omitted if the history is too short."""
    service: ServiceStatus | None = None
    """Capacity of one replica."""
    observed_time: Time
    """Time at which this status was written."""
    valid_until: Time | None = None
    """Time at which the decision expires."""
