"""One job: what is measured becomes a decision, what cannot be seen becomes none, and no forecast does harm."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferstack.api import Predictive, SloMeasure
from inferstack.api.replicas import decide as replicas_of
from inferstack.api.replicas import limits
from inferstack.controllers.scaling import deciding, status
from inferstack.controllers.scaling.calibrate import Capacity, Source
from inferstack.controllers.scaling.deciding import Kept, Known, Made, Seen, make
from inferstack.controllers.scaling.status import Trouble
from inferstack.scaling.model import Decision, Distribution, Forecast, History, Reason
from tests.unit.controllers.scaling.jobs import make_job, parsed

Object = dict[str, Any]
NOW = 1_800_000_000.0
CAPACITY = Capacity(4.0, 32, Source.SATURATION)
STEADY = History(NOW - 3600, 60, [2.0] * 60)


def make_seen(**rest: Any) -> Seen:
    """Return a job that is busy a little."""
    given = {"replicas": 2, "ready": 2, "up": 2.0, "rate": 2.0, "running": 8.0, "waiting": 0.0}
    return Seen(**{**given, "window": 30.0, "meshed": True, **rest})


def make_known(**rest: Any) -> Known:
    """Return what is known of a job that has been measured."""
    return Known(NOW - 7200, **{"capacity": CAPACITY, "cold": Distribution.fixed(60), **rest})


def foreseen(upper: float, steps: int = 60, confidence: float = 0.95) -> Forecast:
    """Return a forecast that stays the same."""
    return Forecast("test", NOW, 60, (upper / 2,) * steps, (0.0,) * steps, (upper,) * steps, confidence)


def made(job: Object, seen: Seen, known: Known, forecast: Forecast | None = None, now: float = NOW) -> Made | Trouble:
    """Return what is decided on a job."""
    spec = parsed(job)
    assert spec.autoscale
    assert spec.autoscale.predictive
    return make(now, spec, spec.autoscale.predictive, seen, known, STEADY, forecast)


def decision_of(word: Made | Trouble) -> Decision:
    """Return the decision."""
    assert isinstance(word, Made), word
    return word.decision


def test_a_forecast_raises_the_floor_before_the_load_comes() -> None:
    calm = decision_of(made(make_job(), make_seen(), make_known(), foreseen(2)))
    rising = decision_of(made(make_job(), make_seen(), make_known(), foreseen(20)))
    assert rising.reason is Reason.FORECAST
    assert rising.min_replicas > max(calm.min_replicas, 20 / CAPACITY.rate)


def test_a_load_that_is_there_is_answered_without_a_forecast() -> None:
    found = decision_of(made(make_job(most=900), make_seen(rate=40.0, running=64.0, waiting=300.0), make_known()))
    assert found.min_replicas >= 10
    assert found.reason in {Reason.BURST, Reason.REACTIVE}


def test_the_budget_bounds_and_says_so() -> None:
    job = make_job(gpus=2, predictive={"budgetGpus": 8})
    found = decision_of(made(job, make_seen(rate=90.0, running=64.0, waiting=900.0), make_known(), foreseen(100)))
    assert (found.max_replicas, found.min_replicas, found.reason) == (4, 4, Reason.BUDGET)


def test_a_load_beyond_the_budget_says_so_without_a_forecast() -> None:
    found = decision_of(made(make_job(most=3), make_seen(replicas=3, ready=3, rate=40.0, waiting=900.0), make_known()))
    assert (found.min_replicas, found.max_replicas, found.reason) == (3, 3, Reason.BUDGET)
    assert "3 are allowed" in found.sentence


@pytest.mark.parametrize(
    ("seen", "known", "reason", "said"),
    [
        (make_seen(up=None), make_known(), "NoData", "no series of 2 replicas that serve"),
        (make_seen(up=None, ready=0), make_known(), "NoData", "none of 2 replicas serves yet"),
        (make_seen(), make_known(capacity=None), "NoData", "what a replica can do is not known yet"),
        (
            make_seen(),
            make_known(work={SloMeasure.TIME_TO_FIRST_TOKEN: Distribution.fixed(9)}),
            "SloUnreachable",
            "cannot be met by any number of replicas",
        ),
    ],
)
def test_what_cannot_be_decided_is_said(seen: Seen, known: Known, reason: str, said: str) -> None:
    word = made(make_job(), seen, known)
    assert isinstance(word, Trouble)
    assert word.reason == reason
    assert said in word.message


def test_an_idle_job_goes_to_zero_stays_there_and_wakes_up() -> None:
    job = make_job(predictive={"idleSeconds": 600})
    idle = make_seen(rate=0.0, running=0.0)
    known = make_known(last_request=NOW - 599)
    assert decision_of(made(job, idle, known)).replicas is None
    word = made(job, idle, known, now=NOW + 2)
    assert (decision_of(word).replicas, decision_of(word).reason) == (0, Reason.IDLE)
    assert isinstance(word, Made)
    asleep = make_seen(replicas=0, ready=0, up=None, rate=None, running=None, waiting=None)
    word = made(job, asleep, known, now=NOW + 10)
    assert isinstance(word, Made)
    # Only so the operator leaves it there: a job at zero without a word on it is woken up.
    assert scaling_of(word, asleep)["replicas"] == 0
    word = made(job, replace(asleep, rate=0.1), known, now=NOW + 15)
    assert decision_of(word).reason is Reason.WAKE
    assert (decision_of(word).replicas or 0) >= 1


def test_without_a_mesh_a_job_never_goes_to_zero() -> None:
    job = make_job(predictive={"idleSeconds": 600})
    idle = make_seen(rate=0.0, running=0.0, meshed=False)
    word = made(job, idle, make_known(last_request=NOW - 9000))
    assert decision_of(word).replicas is None
    assert isinstance(word, Made)
    assert "nothing would tell of a request" in word.beside
    # The mesh's series are gone while it sleeps: it must not sleep for ever.
    asleep = replace(idle, replicas=0, ready=0, up=None)
    assert decision_of(made(job, asleep, make_known(last_request=NOW - 9000))).reason is Reason.WAKE


def test_since_when_nothing_came_is_at_least_since_somebody_looks() -> None:
    job = make_job(predictive={"idleSeconds": 600})
    known = make_known()
    known.first_seen = NOW - 100
    assert decision_of(made(job, make_seen(rate=0.0, running=0.0), known)).replicas is None


def test_a_forecast_of_times_that_are_over_counts_no_more() -> None:
    kept = Kept(foreseen(5, steps=3))
    assert kept.predict(History(NOW, 60, ()), 9, 0.95) is not None
    assert kept.predict(History(NOW + 180, 60, ()), 9, 0.95) is None
    assert kept.predict(History(NOW, 60, ()), 9, 0.99) is None
    assert Kept(None).predict(STEADY, 9, 0.95) is None


def test_a_new_scaler_reads_what_the_old_one_measured() -> None:
    word = made(make_job(), make_seen(), make_known())
    assert isinstance(word, Made)
    assert deciding.remembered(scaling_of(word, make_seen())) == CAPACITY
    assert deciding.remembered(None) is None
    assert deciding.remembered({"service": {"requestsPerSecond": "0", "slots": 1, "source": "Target"}}) is None


def scaling_of(word: Made, seen: Seen, now: float = NOW) -> Object:
    """Return what is written of a decision."""
    return status.make_scaling(
        word.decision,
        word.capacity,
        generation=3,
        asleep=seen.replicas == 0,
        cold=word.cold,
        horizon=75,
        now=now,
        validity=60,
    )


FORECASTS = st.none() | st.builds(foreseen, st.floats(0, 1e6), st.integers(1, 100), st.just(0.95))


@settings(max_examples=60, deadline=None)
@given(
    loads=st.lists(st.tuples(st.floats(0, 400), st.floats(0, 2000), st.floats(0, 100)), min_size=1, max_size=8),
    forecasts=st.lists(FORECASTS, min_size=8, max_size=8),
    replicas=st.integers(1, 20),
)
def test_no_forecast_holds_less_than_none(
    loads: list[tuple[float, float, float]], forecasts: list[Forecast | None], replicas: int
) -> None:
    """From measurements to the Deployment: whatever is foreseen, at each moment as many as without a forecast."""
    job = make_job(replicas=replicas)
    spec = parsed(job)
    known, blank = make_known(), make_known()
    live, reactive = replicas, replicas
    for index, (running, waiting, rate) in enumerate(loads):
        now = NOW + 5 * index
        seen = make_seen(replicas=live, ready=live, up=float(live), running=running, waiting=waiting, rate=rate)
        word = made(job, seen, known, forecasts[index], now)
        plain = made(job, replace(seen, replicas=reactive, ready=reactive, rate=None), blank, None, now)
        assert isinstance(word, Made)
        assert isinstance(plain, Made)
        # The autoscaler's part is the same target; the floor is what a forecast can change.
        assert word.decision.target == plain.decision.target
        assert word.decision.min_replicas >= plain.decision.reactive
        allowed = limits(spec, scaling_of(word, seen, now), _date(now))
        assert allowed is not None
        assert allowed.low >= min(plain.decision.reactive, 20)
        live = replicas_of(replicas, allowed, applied=replicas, live=live)
        without = limits(spec, scaling_of(plain, seen, now), _date(now))
        reactive = replicas_of(replicas, without, applied=replicas, live=reactive)
        assert live >= plain.decision.reactive


def _date(seconds: float) -> datetime:
    return datetime.fromtimestamp(math.floor(seconds), UTC)


def test_the_service_level_in_the_algorithms_terms() -> None:
    given = Predictive.model_validate(
        {"slo": {"milliseconds": 750, "measure": "Queue", "percentile": 90, "confidencePercent": 80}}
    )
    made_of = deciding.slo_of(given)
    assert (made_of.seconds, made_of.measure.value, made_of.percentile, made_of.confidence) == (0.75, "Queue", 0.9, 0.8)
