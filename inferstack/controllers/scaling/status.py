"""What is said of a job in ``status.scaling``, and when it is written. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from inferstack.api.labels import Object
from inferstack.controllers.scaling.calibrate import Capacity
from inferstack.k8s.events import Transition
from inferstack.scaling.model import Decision, Forecast, Reason

NO_DATA = "NoData"
UNREACHABLE = "PrometheusUnreachable"
NO_SLO = "SloUnreachable"
TROUBLES = (NO_DATA, UNREACHABLE, NO_SLO)
"""Reasons why there is no new decision."""

_KEPT = ("observedGeneration", "minReplicas", "maxReplicas", "target", "behavior", "replicas", "needed", "reactive")
_SHOWN = (*_KEPT, "forecast", "service", "validUntil")
_AT_ONCE = ("observedGeneration", "minReplicas", "maxReplicas", "target", "behavior", "replicas", "reason")
_LONGEST = 1024


@dataclass(frozen=True)
class Trouble:
    """Why there is no decision on a job."""

    reason: str
    message: str


def make_scaling(
    decision: Decision,
    capacity: Capacity,
    *,
    generation: int,
    asleep: bool,
    cold: float,
    horizon: float,
    now: float,
    validity: float,
    beside: str = "",
) -> Object:
    """Return the status of a decision.

    Args:
        decision: as it was made.
        capacity: of a replica.
        generation: of the job that was decided on.
        asleep: whether the job has no replicas now: idle it then stays so.
        cold: seconds that a replica takes to start, at the confidence of the service level.
        horizon: seconds for which the forecast is shown.
        now: seconds since the epoch.
        validity: seconds for which the decision holds.
        beside: said after the decision's sentence.
    """
    made: Object = {
        "observedGeneration": generation,
        "minReplicas": decision.min_replicas,
        "maxReplicas": decision.max_replicas,
        "target": f"{max(1, round(decision.target * 1000))}m",
        "behavior": decision.behavior,
        "needed": decision.needed,
        "reactive": decision.reactive,
        "reason": decision.reason.value,
        "message": f"{decision.sentence}{beside}"[:_LONGEST],
        "service": {
            "requestsPerSecond": decimal(capacity.rate),
            "slots": capacity.slots,
            "coldStartSeconds": math.ceil(cold),
            "source": capacity.source.value,
        },
        "observedTime": rfc3339(now),
        "validUntil": rfc3339(now + validity),
    }
    replicas = 0 if asleep and decision.reason is Reason.IDLE else decision.replicas
    if replicas is not None:
        made["replicas"] = replicas
    if decision.forecast is not None:
        made["forecast"] = _forecast(decision.forecast, now, horizon)
    return made


def make_trouble(trouble: Trouble, before: Object | None, now: float) -> Object:
    """Return the status of a job without a new decision: the last one stays, and ends when it was to end."""
    kept = {key: before[key] for key in _SHOWN if key in before} if before else {}
    return {**kept, "reason": trouble.reason, "message": trouble.message[:_LONGEST], "observedTime": rfc3339(now)}


def must_write(before: Object | None, after: Object, now: float, validity: float) -> bool:
    """Tell whether a status is to be written now.

    At once where something of the decision changes; what else is said goes along, and often enough that a decision
    does not end while there is one that confirms it.
    """
    if before is None or any(before.get(key) != after.get(key) for key in _AT_ONCE):
        return True
    if after["reason"] in TROUBLES:
        return bool(before.get("message") != after["message"])
    return until(before) - now < validity / 2


def turn(before: Object | None, after: Object) -> Transition | None:
    """Return what an Event should tell: the reason is another than it was."""
    if before is not None and before.get("reason") == after["reason"]:
        return None
    kind = "Warning" if after["reason"] in (*TROUBLES, Reason.BUDGET) else "Normal"
    return Transition(kind, after["reason"], after["message"])


def until(scaling: Object) -> float:
    """Return when a decision ends, in seconds since the epoch; 0 where there is none."""
    time = scaling.get("validUntil")
    return datetime.fromisoformat(time).timestamp() if time else 0.0


def rfc3339(seconds: float) -> str:
    """Return a time since the epoch as Kubernetes writes it, rounded down."""
    return datetime.fromtimestamp(math.floor(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def decimal(number: float) -> str:
    """Return a number, at least 0, as text: of three places what is not 0."""
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
