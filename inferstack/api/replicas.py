"""How many replicas a job's Deployment shall have now, and between which bounds an autoscaler may move them. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError

from inferstack.api import Autoscale, InferenceJobSpec, ScalingStatus, constants
from inferstack.apimachinery.objects import Object
from inferstack.apimachinery.rfc3339 import parse_time

LONGEST_VALIDITY = timedelta(minutes=15)
"""A decision that claims to hold for longer is none: a scaler with a wrong clock must not hold a job for ever."""


@dataclass(frozen=True)
class Limits:
    """What an autoscaler is told of a job: by the job alone, or by the predictive scaler while it has decided."""

    low: int
    """Fewest replicas, at least 1."""
    high: int
    """Most replicas, at least `low`."""
    target: int | None = None
    """Outstanding requests of a replica to aim at, in thousandths; None: by the job's own metrics only."""
    behavior: Object | None = None
    """``spec.behavior`` of autoscaling/v2; None: its defaults."""
    replicas: int | None = None
    """What the Deployment is to be set to past the autoscaler: 0, or up from 0."""
    until: datetime | None = None
    """When these limits end and the job's own come back."""


def bounds(replicas: int, autoscale: Autoscale) -> tuple[int, int]:
    """Return fewest and most replicas under an autoscaler; the most is twice ``replicas`` where the job is silent."""
    low = autoscale.min_replicas
    high = autoscale.max_replicas
    if high is None:
        high = min(max(2 * replicas, low), constants.MAX_REPLICAS)
    return low, high


def own_limits(spec: InferenceJobSpec) -> Limits | None:
    """Return what a job allows by itself; None for one that is not scaled automatically."""
    if spec.autoscale is None:
        return None
    low, high = bounds(spec.replicas, spec.autoscale)
    predictive = spec.autoscale.predictive
    if predictive is not None and predictive.budget_gpus is not None:
        high = max(low, min(high, predictive.budget_gpus // spec.resources.gpus))
    return Limits(low, high)


def limits(spec: InferenceJobSpec, scaling: Any, now: datetime) -> Limits | None:
    """Return what holds now; None for a job that is not scaled automatically.

    The decision of the predictive scaler moves within what the job allows, whatever it says: it was made for the job as
    it was.

    Args:
        spec: of the job.
        scaling: ``status.scaling`` as it stands there, if it does.
        now: with its time zone.
    """
    allowed = own_limits(spec)
    asks = spec.autoscale is not None and spec.autoscale.predictive is not None
    decided = _decided(scaling, now) if asks else None
    if allowed is None or decided is None:
        return allowed
    made, until = decided
    low = min(max(made.min_replicas or 0, allowed.low), allowed.high)
    return Limits(
        low=low,
        high=min(max(made.max_replicas or allowed.high, low), allowed.high),
        target=int(made.target.removesuffix("m")) if made.target else None,
        behavior=made.behavior.manifest() if made.behavior else None,
        replicas=made.replicas,
        until=until,
    )


def _decided(scaling: Any, now: datetime) -> tuple[ScalingStatus, datetime] | None:
    """Return a decision and when it ends; None where it has ended, or says nothing."""
    if not scaling:
        return None
    try:
        made = ScalingStatus.model_validate(scaling)
    except ValidationError:
        return None  # of a scaler that is older or newer than this operator
    if made.valid_until is None or made.min_replicas is None:
        return None
    until = parse_time(made.valid_until)
    return (made, until) if now < until <= now + LONGEST_VALIDITY else None


def decide(replicas: int, allowed: Limits | None, *, applied: int | None, live: int | None) -> int:
    """Return the replicas to write into the Deployment.

    Without an autoscaler, and while the job is paused (0), the job's own number. With one, the live number, which is
    the autoscaler's, held between the bounds; the job's number counts at the start and when a person changes it. The
    predictive scaler takes an idle job to 0, where the autoscaler rests, and back; a job that is at 0 without its word
    comes back as well.

    Args:
        replicas: spec.replicas of the job.
        allowed: what `limits` says of the job.
        applied: spec.replicas of the job when the Deployment was last written; None if never.
        live: spec.replicas of the Deployment; None if there is none.
    """
    if allowed is None or replicas == 0:
        return replicas
    if allowed.replicas == 0:
        return 0
    wanted = replicas if live is None or applied != replicas else live or allowed.replicas or 0
    return min(max(wanted, allowed.low), allowed.high)
