"""Autoscaling of a job's replicas."""

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
    """One metric and its target average over the replicas."""

    type: MetricType
    """RequestsPerSecond: completed requests per second. ConcurrentRequests: requests in progress.
    QueueDepth: requests in the queue. OutstandingRequests: in progress or in the queue.
    TimeToFirstTokenMilliseconds: 95th percentile, language models only. GpuUtilizationPercent: percentage of time in
    which the streaming multiprocessors are busy, 1 to 100."""
    target: Annotated[StrictInt, Field(ge=1, le=1_000_000)]
    """Target average over the replicas, in the unit of the type."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.type is MetricType.GPU_UTILIZATION_PERCENT and self.target > 100:
            raise ValueError(f"target: is {self.target}; GpuUtilizationPercent must be between 1 and 100")
        return self


class Autoscale(ApiModel):
    """Bounds and metrics of a HorizontalPodAutoscaler. With several metrics, the highest number of replicas applies."""

    min_replicas: Annotated[StrictInt, Field(ge=1, le=constants.MAX_REPLICAS)] = 1
    """Minimum number of replicas."""
    max_replicas: Annotated[StrictInt, Field(ge=1, le=constants.MAX_REPLICAS)] | None = None
    """Maximum number of replicas. Default: twice spec.replicas."""
    metrics: Annotated[tuple[Metric, ...], Field(min_length=1, max_length=5)]
    """Metrics to scale by, each type at most once."""
    predictive: Predictive | None = None
    """Predictive scaling, which starts replicas before the load arrives."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.max_replicas is not None and self.min_replicas > self.max_replicas:
            raise ValueError(f"minReplicas: {self.min_replicas} exceeds maxReplicas {self.max_replicas}")
        types = [metric.type for metric in self.metrics]
        for kind in types:
            if types.count(kind) > 1:
                raise ValueError(f"metrics: duplicate type {kind.value}")
        ahead = self.predictive
        if ahead is not None and self.max_replicas is not None and ahead.warm_replicas >= self.max_replicas:
            raise ValueError(
                f"predictive.warmReplicas: is {ahead.warm_replicas}, maxReplicas {self.max_replicas}: it must "
                "be lower, otherwise all replicas would always run"
            )
        return self


RULES: dict[type[ApiModel], list[Rule]] = {
    Metric: [
        Rule(
            "self.type != 'GpuUtilizationPercent' || self.target <= 100",
            "target: GpuUtilizationPercent must be between 1 and 100",
            field=".target",
        )
    ],
    # The list's schema keeps types unique: x-kubernetes-list-map-keys: [type].
    Autoscale: [
        Rule(
            "!has(self.maxReplicas) || self.minReplicas <= self.maxReplicas",
            "minReplicas: must not exceed maxReplicas",
            field=".minReplicas",
        ),
        Rule(
            "!has(self.predictive) || !has(self.maxReplicas) || self.predictive.warmReplicas < self.maxReplicas",
            "predictive.warmReplicas: must be lower than maxReplicas, otherwise all replicas would always run",
            field=".predictive.warmReplicas",
        ),
    ],
}
