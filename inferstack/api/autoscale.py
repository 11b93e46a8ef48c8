"""How replicas follow the load."""

from __future__ import annotations

import enum
from typing import Annotated, Self

from pydantic import Field, StrictInt, model_validator

from inferstack.api import constants
from inferstack.api.base import ApiModel
from inferstack.api.predictive import Predictive
from inferstack.api.rules import Rule


class MetricType(enum.StrEnum):
    """What is measured on each replica."""

    REQUESTS_PER_SECOND = "RequestsPerSecond"
    CONCURRENT_REQUESTS = "ConcurrentRequests"
    OUTSTANDING_REQUESTS = "OutstandingRequests"
    QUEUE_DEPTH = "QueueDepth"
    TIME_TO_FIRST_TOKEN_MILLISECONDS = "TimeToFirstTokenMilliseconds"  # noqa: S105  # language models count in tokens
    GPU_UTILIZATION_PERCENT = "GpuUtilizationPercent"


class Metric(ApiModel):
    """One measure and its wanted average over the replicas."""

    type: MetricType
    """RequestsPerSecond: finished requests a second. ConcurrentRequests: requests in work.
    QueueDepth: requests that wait. OutstandingRequests: both together. TimeToFirstTokenMilliseconds: 95th percentile,
    language models only. GpuUtilizationPercent: share of time the streaming multiprocessors are busy, 1 to 100."""
    target: Annotated[StrictInt, Field(ge=1, le=1_000_000)]
    """Average over the replicas that the autoscaler aims at, in the unit of the type."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.type is MetricType.GPU_UTILIZATION_PERCENT and self.target > 100:
            raise ValueError(f"target: is {self.target}; GpuUtilizationPercent goes from 1 to 100")
        return self


class Autoscale(ApiModel):
    """Bounds and measures of a HorizontalPodAutoscaler. Where several measures disagree, the largest answer wins."""

    min_replicas: Annotated[StrictInt, Field(ge=1, le=constants.MAX_REPLICAS)] = 1
    """Fewest replicas while the job is scaled automatically."""
    max_replicas: Annotated[StrictInt, Field(ge=1, le=constants.MAX_REPLICAS)] | None = None
    """Most replicas. Twice spec.replicas where it is left out."""
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1, max_length=5)]
    """What to scale by; each type at most once."""
    predictive: Predictive | None = None
    """Set to have replicas ready before the load comes."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.max_replicas is not None and self.min_replicas > self.max_replicas:
            raise ValueError(f"minReplicas: {self.min_replicas} exceeds maxReplicas {self.max_replicas}")
        types = [metric.type for metric in self.metrics]
        for found in types:
            if types.count(found) > 1:
                raise ValueError(f"metrics: type {found.value} is there twice; each type at most once")
        ahead = self.predictive
        if ahead is not None and self.max_replicas is not None and ahead.warm_replicas >= self.max_replicas:
            raise ValueError(
                f"predictive.warmReplicas: is {ahead.warm_replicas}, maxReplicas {self.max_replicas}: all replicas "
                "would always be there; give fewer"
            )
        return self


RULES: dict[type[ApiModel], list[Rule]] = {
    Metric: [
        Rule(
            "self.type != 'GpuUtilizationPercent' || self.target <= 100",
            "target: GpuUtilizationPercent goes from 1 to 100",
            field=".target",
        )
    ],
    # That types are unique is the list's own business: its schema says x-kubernetes-list-map-keys: [type].
    Autoscale: [
        Rule(
            "!has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",
            "minReplicas: must not exceed maxReplicas",
            field=".minReplicas",
        ),
        Rule(
            "!has(self.predictive) || !has(self.maxReplicas) || self.predictive.warmReplicas < self.maxReplicas",
            "predictive.warmReplicas: must be below maxReplicas, else all replicas would always be there",
            field=".predictive.warmReplicas",
        ),
    ],
}
