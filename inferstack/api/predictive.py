"""Predictive scaling of a job's replicas."""

from __future__ import annotations

import enum
from typing import Annotated

from pydantic import Field, StrictInt

from inferstack.api import constants
from inferstack.api.base import ApiModel


class SloMeasure(enum.StrEnum):
    """What the service level objective measures."""

    TIME_TO_FIRST_TOKEN = "TimeToFirstToken"  # noqa: S105  # language models count in tokens
    LATENCY = "Latency"
    QUEUE = "Queue"


class Slo(ApiModel):
    """Service level objective: the percentage of requests that complete within a time."""

    measure: SloMeasure = SloMeasure.TIME_TO_FIRST_TOKEN
    """TimeToFirstToken: time to the first token, language models only. Latency: time to the complete response.
    Queue: time until a replica starts to process the request."""
    milliseconds: Annotated[StrictInt, Field(ge=1, le=3_600_000)]
    """Maximum time of a request in milliseconds, measured on the servers."""
    percentile: Annotated[StrictInt, Field(ge=50, le=99)] = 99
    """Percentage of requests that must meet it."""
    confidence_percent: Annotated[StrictInt, Field(ge=50, le=99)] = 95
    """Probability, in percent, that the replicas suffice. A higher value keeps more replicas in reserve."""


class Predictive(ApiModel):
    """Scales replicas by forecast and service level objective, ahead of the load.

    The metrics still apply: a forecast adds replicas to what they require and removes none.
    """

    slo: Slo
    """Service level objective of the job."""
    warm_replicas: Annotated[StrictInt, Field(ge=0, le=constants.MAX_REPLICAS)] = 0
    """Replicas beyond the forecast, as a reserve for unexpected load."""
    budget_gpus: Annotated[StrictInt, Field(ge=1, le=constants.MAX_REPLICAS * constants.MAX_GPUS)] | None = None
    """Maximum number of GPUs or MIG slices of all replicas together. Default: what maxReplicas allows."""
    idle_seconds: Annotated[StrictInt, Field(ge=60, le=604_800)] | None = None
    """Seconds without a request after which the job scales to zero. The next request, or a forecast of one, scales it
    up again. Default: never below minReplicas."""
