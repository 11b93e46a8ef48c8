"""How many replicas a Deployment shall have, and what the predictive scaler may change of that."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstack.api import Autoscale, InferenceJobSpec
from inferstack.api.replicas import LONGEST_VALIDITY, Limits, bounds, decide, limits, own_limits
from inferstack.apimachinery.objects import Object

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
BEHAVIOR = {
    side: {
        "stabilizationWindowSeconds": window,
        "selectPolicy": "Max",
        "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
    }
    for side, window in (("scaleUp", 0), ("scaleDown", 90))
}


def make_autoscale(low: int, high: int | None) -> Autoscale:
    """Return an autoscale section with these bounds."""
    metrics = [{"type": "QueueDepth", "target": 5}]
    return Autoscale.model_validate({"minReplicas": low, "maxReplicas": high, "metrics": metrics})


def make_limits(replicas: int, scale: tuple[int, int | None]) -> Limits:
    """Return what a job with these numbers allows."""
    return Limits(*bounds(replicas, make_autoscale(*scale)))


def make_spec(replicas: int = 2, low: int = 1, high: int | None = 8, gpus: int = 1, **predictive: Any) -> Object:
    """Return the spec of a job with predictive scaling."""
    asked = {"nvidia.com/gpu": gpus}
    return {
        "model": "meta-llama/Llama-3.1-8B",
        "replicas": replicas,
        "resources": {"requests": asked, "limits": asked},
        "autoscale": {
            "minReplicas": low,
            **({"maxReplicas": high} if high else {}),
            "metrics": [{"type": "QueueDepth", "target": 5}],
            "predictive": {"slo": {"milliseconds": 500}, **predictive},
        },
    }


def parsed(spec: Object) -> InferenceJobSpec:
    """Return the model of a spec."""
    return InferenceJobSpec.model_validate(spec)


def decision(seconds: float = 60, **rest: Any) -> Object:
    """Return a status.scaling that ends so many seconds from now."""
    return {
        "minReplicas": 3,
        "maxReplicas": 6,
        "target": "12500m",
        "behavior": BEHAVIOR,
        "reason": "Forecast",
        "message": "more is to come",
        "observedTime": "2026-01-01T11:59:55Z",
        "validUntil": (NOW + timedelta(seconds=seconds)).isoformat(),
        **rest,
    }


COUNT = st.integers(1, 1000)
SCALES = st.tuples(COUNT, st.none() | COUNT).filter(lambda pair: pair[1] is None or pair[0] <= pair[1])
MAYBE = st.none() | st.integers(0, 2000)
ANY = st.none() | st.integers(0, 1_000_000)


@given(replicas=st.integers(0, 1000), applied=MAYBE, live=MAYBE)
def test_without_an_autoscaler_the_jobs_number(replicas: int, applied: int | None, live: int | None) -> None:
    assert decide(replicas, None, applied=applied, live=live) == replicas


@given(replicas=COUNT, scale=SCALES, applied=MAYBE, live=MAYBE)
def test_with_one_always_within_the_bounds(
    replicas: int, scale: tuple[int, int | None], applied: int | None, live: int | None
) -> None:
    allowed = make_limits(replicas, scale)
    assert 1 <= allowed.low <= allowed.high <= 1000
    assert allowed.low <= decide(replicas, allowed, applied=applied, live=live) <= allowed.high


@given(replicas=COUNT, scale=SCALES, live=COUNT)
def test_the_autoscalers_number_stays_where_it_is_allowed(
    replicas: int, scale: tuple[int, int | None], live: int
) -> None:
    allowed = make_limits(replicas, scale)
    decided = decide(replicas, allowed, applied=replicas, live=live)
    assert decided == min(max(live, allowed.low), allowed.high)


@given(replicas=COUNT, scale=SCALES, applied=MAYBE, live=MAYBE)
def test_what_was_decided_is_decided_again(
    replicas: int, scale: tuple[int, int | None], applied: int | None, live: int | None
) -> None:
    allowed = make_limits(replicas, scale)
    once = decide(replicas, allowed, applied=applied, live=live)
    assert decide(replicas, allowed, applied=replicas, live=once) == once


@pytest.mark.parametrize(
    ("replicas", "applied", "live", "decided"),
    [
        (8, None, None, 8),  # new
        (8, 8, 13, 13),  # the autoscaler went up
        (8, 8, 40, 16),  # beyond twice the job's number
        (6, 8, 13, 6),  # a person changed it
        (0, 8, 13, 0),  # paused
        (8, 0, 0, 8),  # goes on after a pause
    ],
)
def test_by_example(replicas: int, applied: int | None, live: int | None, decided: int) -> None:
    assert decide(replicas, make_limits(replicas, (1, None)), applied=applied, live=live) == decided


@given(seconds=st.floats(-1e6, 1e6), low=ANY, high=ANY, replicas=ANY, scale=SCALES, budget=st.none() | COUNT)
def test_no_decision_leads_out_of_what_the_job_allows(
    seconds: float, low: int | None, high: int | None, replicas: int | None, scale: tuple[int, int | None], budget: int
) -> None:
    spec = make_spec(max(scale[0], 1), *scale)
    if budget and budget >= scale[0]:
        spec["autoscale"]["predictive"]["budgetGpus"] = budget
    job = parsed(spec)
    own = own_limits(job)
    result = limits(job, decision(seconds, minReplicas=low, maxReplicas=high, replicas=replicas), NOW)
    assert own
    assert result
    assert own.low <= result.low <= result.high <= own.high
    # Of what has ended nothing is left, nor of what would never end.
    if not 0 < seconds <= LONGEST_VALIDITY.total_seconds():
        assert result == own


@pytest.mark.parametrize(
    ("spec", "scaling", "low", "high"),
    [
        ({}, None, 1, 8),
        ({}, decision(), 3, 6),
        ({}, decision(seconds=0), 1, 8),  # ended
        ({}, decision(seconds=901), 1, 8),  # would hold for longer than any decision
        ({"replicas": 4, "low": 4}, decision(), 4, 6),  # raised since
        ({"replicas": 1, "high": 2}, decision(), 2, 2),  # lowered since
        ({"gpus": 2, "budgetGpus": 10}, None, 1, 5),
        ({"gpus": 2, "budgetGpus": 10}, decision(), 3, 5),
        ({}, decision(minReplicas=None), 1, 8),  # why there is no decision
        ({}, decision(unknown=1), 1, 8),  # of another edition
        ({}, decision(minReplicas=7), 7, 7),
    ],
)
def test_what_holds(spec: Object, scaling: Object | None, low: int, high: int) -> None:
    result = limits(parsed(make_spec(**spec)), scaling, NOW)
    assert result
    assert (result.low, result.high) == (low, high)


def test_a_decision_whole() -> None:
    assert limits(parsed(make_spec()), decision(replicas=4), NOW) == Limits(
        low=3, high=6, target=12500, behavior=BEHAVIOR, replicas=4, until=NOW + timedelta(seconds=60)
    )


def test_a_decision_on_what_was_taken_out_of_the_job_is_none() -> None:
    spec = make_spec()
    del spec["autoscale"]["predictive"]
    assert limits(parsed(spec), decision(), NOW) == Limits(1, 8)
    del spec["autoscale"]
    assert limits(parsed(spec), decision(), NOW) is None


@pytest.mark.parametrize(
    ("scaling", "live", "decided"),
    [
        (decision(), 2, 3),  # a raised floor counts at once
        (decision(), 5, 5),
        (decision(), 7, 6),
        (decision(replicas=0), 5, 0),  # idle
        (decision(replicas=4), 0, 4),  # wakes up
        (decision(replicas=4), 5, 5),  # is awake
        (decision(replicas=0, seconds=-1), 0, 1),  # the scaler is gone: a job does not stay asleep
        (decision(), 0, 3),
    ],
)
def test_what_a_decision_does_to_the_deployment(scaling: Object, live: int, decided: int) -> None:
    allowed = limits(parsed(make_spec()), scaling, NOW)
    assert decide(2, allowed, applied=2, live=live) == decided


def test_a_paused_job_stays_paused() -> None:
    assert decide(0, limits(parsed(make_spec(replicas=0)), decision(replicas=4), NOW), applied=0, live=0) == 0
