"""The desired replicas of a job's Deployment, and the bounds of its autoscaler. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from inferstack.api import Autoscale, InferenceJobSpec, ScalingStatus, constants
from inferstack.apimachinery.objects import Object
from inferstack.apimachinery.rfc3339 import parse_time

LONGEST_VALIDITY = timedelta(minutes=15)
"""Longest validity of a scaler's decision; a scaler with a wrong clock must not fix a job's replicas for ever."""


@dataclass(frozen=True)
class Limits:
    """The limits of an autoscaler: those of the job or, while its decision is valid, of the predictive scaler."""

    low: int
    """Minimum replicas, at least 1."""
    high: int
    """Maximum replicas, at least `low`."""
    target: int | None = None
    """Target of outstanding requests a replica, in thousandths; None for the job's own metrics only."""
    behavior: Object | None = None
    """``spec.behavior`` of autoscaling/v2; None for its defaults."""
    replicas: int | None = None
    """Replicas to set without the autoscaler: 0, or a number that ends 0; None if the autoscaler decides."""
    until: datetime | None = None
    """When the job's own limits apply again."""


def bounds(replicas: int, autoscale: Autoscale) -> tuple[int, int]:
    """Return minimum and maximum replicas of an autoscaler; the default maximum is twice ``replicas``."""
    low = autoscale.min_replicas
    high = autoscale.max_replicas
    if high is None:
        high = min(max(2 * replicas, low), constants.MAX_REPLICAS)
    return low, high


def own_limits(spec: InferenceJobSpec) -> Limits | None:
    """Return a job's own limits; None if it is not scaled automatically."""
    if spec.autoscale is None:
        return None
    low, high = bounds(spec.replicas, spec.autoscale)
    predictive = spec.autoscale.predictive
    if predictive is not None and predictive.budget_gpus is not None:
        high = max(low, min(high, predictive.budget_gpus // spec.resources.gpus))
    return Limits(low, high)


def limits(spec: InferenceJobSpec, scaling: Any, now: datetime) -> Limits | None:
    """Return the limits that apply now; None for a job that is not scaled automatically.

    A decision of the predictive scaler is clamped to the job's own limits, which may have changed since.

    Args:
        spec: of the job.
        scaling: ``status.scaling``, if it is set.
        now: the time, with time zone.
    """
    allowed = own_limits(spec)
    asks = spec.autoscale is not None and spec.autoscale.predictive is not None
    valid = _valid_decision(scaling, now) if asks else None
    if allowed is None or valid is None:
        return allowed
    decision, until = valid
    low = min(max(decision.min_replicas or 0, allowed.low), allowed.high)
    return Limits(
        low=low,
        high=min(max(decision.max_replicas or allowed.high, low), allowed.high),
        target=int(decision.target.removesuffix("m")) if decision.target else None,
        behavior=decision.behavior.manifest() if decision.behavior else None,
        replicas=decision.replicas,
        until=until,
    )


def _valid_decision(scaling: Any, now: datetime) -> tuple[ScalingStatus, datetime] | None:
    """Return the scaler's decision and when it expires; None if it has expired or is empty."""
    if not scaling:
        return None
    try:
        decision = ScalingStatus.model_validate(scaling)
    except ValidationError:
        return None  # written by a scaler of another version
    if decision.valid_until is None or decision.min_replicas is None:
        return None
    until = parse_time(decision.valid_until)
    return (decision, until) if now < until <= now + LONGEST_VALIDITY else None


def decide(replicas: int, allowed: Limits | None, *, applied: int | None, live: int | None) -> int:
    """Return the replicas to write into the Deployment.

    Without an autoscaler, or if the job is paused, these are the job's replicas. With an autoscaler, they are the live
    replicas, which the autoscaler sets, clamped to its limits; the job's replicas count at the start and when they are
    changed. The predictive scaler scales an idle job to 0 and back; the autoscaler is inactive at 0. A job that is at 0
    without such a decision is scaled up as well.

    Args:
        replicas: spec.replicas of the job.
        allowed: the result of `limits`.
        applied: spec.replicas of the job when the Deployment was last written; None if never.
        live: spec.replicas of the Deployment; None if there is none.
    """
    if allowed is None or replicas == 0:
        return replicas
    if allowed.replicas == 0:
        return 0
    desired = replicas if live is None or applied != replicas else live or allowed.replicas or 0
    return min(max(desired, allowed.low), allowed.high)
