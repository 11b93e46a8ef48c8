"""How replicas go ahead of the load."""

from __future__ import annotations

import enum
from typing import Annotated

from pydantic import Field, StrictInt

from inferstack.api import constants
from inferstack.api.base import ApiModel


class SloMeasure(enum.StrEnum):
    """What the service level is about."""

    TIME_TO_FIRST_TOKEN = "TimeToFirstToken"  # noqa: S105  # language models count in tokens
    LATENCY = "Latency"
    QUEUE = "Queue"


class Slo(ApiModel):
    """The service level: a share of requests that stay within a time."""

    measure: SloMeasure = SloMeasure.TIME_TO_FIRST_TOKEN
    """TimeToFirstToken: until the first token, language models only. Latency: until the whole answer. Queue: until a
    replica begins."""
    milliseconds: Annotated[StrictInt, Field(ge=1, le=3_600_000)]
    """The time that a request may take, measured on the servers."""
    percentile: Annotated[StrictInt, Field(ge=50, le=99)] = 99
    """Percent of the requests that must stay within it."""
    confidence_percent: Annotated[StrictInt, Field(ge=50, le=99)] = 95
    """Percent of the times at which the replicas must suffice. The higher, the more are held for what may come."""


class Predictive(ApiModel):
    """Replicas by forecast and service level, ahead of the load.

    The metrics beside it hold all the while: a forecast adds replicas to what they ask for and takes none away.
    """

    slo: Slo
    """What the replicas must achieve."""
    warm_replicas: Annotated[StrictInt, Field(ge=0, le=constants.MAX_REPLICAS)] = 0
    """Replicas beyond what the forecast needs, for what no forecast sees."""
    budget_gpus: Annotated[StrictInt, Field(ge=1, le=constants.MAX_REPLICAS * constants.MAX_GPUS)] | None = None
    """Most GPUs, or slices, of all replicas together. Left out: what maxReplicas allows."""
    idle_seconds: Annotated[StrictInt, Field(ge=60, le=604_800)] | None = None
    """Seconds without a request after which no replica stays; the next request, or the forecast of one, brings them
    back. Left out: minReplicas stay."""
