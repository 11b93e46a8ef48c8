"""Format of ``status.scaling``, and when it is written. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from inferstack.apimachinery.objects import Object
from inferstack.apimachinery.rfc3339 import format_epoch, parse_epoch
from inferstack.controllers.scaling.calibration import Capacity
from inferstack.k8s.events import Transition
from inferstack.scaling.model import Decision, Forecast, Reason

NO_DATA = "NoData"
UNREACHABLE = "PrometheusUnreachable"
NO_SLO = "SloUnreachable"
NO_DECISION_REASONS = (NO_DATA, UNREACHABLE, NO_SLO)
"""Reasons for having no new decision."""

_DECISION_FIELDS = (
    "observedGeneration",
    "minReplicas",
    "maxReplicas",
    "target",
    "behavior",
    "replicas",
    "needed",
    "reactive",
)
_PERSISTENT_FIELDS = (*_DECISION_FIELDS, "forecast", "service", "validUntil")
_PUBLISHED_AT_ONCE = ("observedGeneration", "minReplicas", "maxReplicas", "target", "behavior", "replicas", "reason")
_MAX_MESSAGE = 1024


@dataclass(frozen=True)
class NoDecision:
    """The reason for having no decision on a job."""

    reason: str
    message: str


def format_decision(
    decision: Decision,
    capacity: Capacity,
    *,
    generation: int,
    asleep: bool,
    cold_start: float,
    horizon: float,
    now: float,
    validity: float,
    note: str = "",
) -> Object:
    """Return the status of a decision.

    Args:
        decision: the decision.
        capacity: capacity of a replica.
        generation: generation of the job that the decision is for.
        asleep: whether the job has 0 replicas now; an idle job then keeps 0.
        cold_start: seconds of a cold start, at the confidence of the SLO.
        horizon: seconds of the forecast to report.
        now: seconds since the epoch.
        validity: seconds for which the decision is valid.
        note: appended to the message of the decision.
    """
    scaling: Object = {
        "observedGeneration": generation,
        "minReplicas": decision.min_replicas,
        "maxReplicas": decision.max_replicas,
        "target": f"{max(1, round(decision.target * 1000))}m",
        "behavior": decision.behavior,
        "needed": decision.needed,
        "reactive": decision.reactive,
        "reason": decision.reason.value,
        "message": f"{decision.message}{note}"[:_MAX_MESSAGE],
        "service": {
            "requestsPerSecond": decimal(capacity.rate),
            "slots": capacity.slots,
            "coldStartSeconds": math.ceil(cold_start),
            "source": capacity.source.value,
        },
        "observedTime": format_epoch(now),
        "validUntil": format_epoch(now + validity),
    }
    replicas = 0 if asleep and decision.reason is Reason.IDLE else decision.replicas
    if replicas is not None:
        scaling["replicas"] = replicas
    if decision.forecast is not None:
        scaling["forecast"] = _forecast(decision.forecast, now, horizon)
    return scaling


def format_no_decision(outcome: NoDecision, previous: Object | None, now: float) -> Object:
    """Return the status of a job without a new decision: the previous one stays until it expires."""
    kept = {key: previous[key] for key in _PERSISTENT_FIELDS if key in previous} if previous else {}
    message = outcome.message[:_MAX_MESSAGE]
    return {**kept, "reason": outcome.reason, "message": message, "observedTime": format_epoch(now)}


def must_publish(previous: Object | None, current: Object, now: float, validity: float) -> bool:
    """Return whether a status must be written now.

    A change of the decision is written at once. An unchanged decision is renewed after half of its validity, and any
    other change goes along with that.
    """
    if previous is None or any(previous.get(key) != current.get(key) for key in _PUBLISHED_AT_ONCE):
        return True
    if current["reason"] in NO_DECISION_REASONS:
        return bool(previous.get("message") != current["message"])
    return valid_until(previous) - now < validity / 2


def transition(previous: Object | None, current: Object) -> Transition | None:
    """Return the Event to post: there is one if the reason has changed."""
    if previous is not None and previous.get("reason") == current["reason"]:
        return None
    kind = "Warning" if current["reason"] in (*NO_DECISION_REASONS, Reason.BUDGET) else "Normal"
    return Transition(kind, current["reason"], current["message"])


def valid_until(scaling: Object) -> float:
    """Return when a decision expires, in seconds since the epoch; 0 without a decision."""
    time = scaling.get("validUntil")
    return parse_epoch(time) if time else 0.0


def decimal(number: float) -> str:
    """Return a number, clipped to at least 0, with up to three decimal places."""
    return f"{max(number, 0.0):.3f}".rstrip("0").rstrip(".")


def _forecast(forecast: Forecast, now: float, horizon: float) -> dict[str, Any]:
    lower, mean, upper = forecast.highest(now, now + horizon)
    return {
        "model": forecast.model[:64],
        "lower": decimal(lower),
        "mean": decimal(mean),
        "upper": decimal(upper),
        "horizonSeconds": math.ceil(horizon),
    }
