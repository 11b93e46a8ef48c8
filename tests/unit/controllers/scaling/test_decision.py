"""The decision on one job: forecasts, bursts, budget, idleness and missing data."""

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
from inferstack.apimachinery.objects import Object
from inferstack.controllers.scaling import decision, status
from inferstack.controllers.scaling.calibration import Capacity, CapacitySource
from inferstack.controllers.scaling.decision import CachedForecast, JobDecision, JobState, Observation, decide_job
from inferstack.controllers.scaling.status import NoDecision
from inferstack.scaling.model import Decision, Distribution, Forecast, History, Reason
from tests.unit.controllers.scaling.jobs import make_job, parsed

NOW = 1_800_000_000.0
CAPACITY = Capacity(4.0, 32, CapacitySource.SATURATION)
STEADY = History(NOW - 3600, 60, [2.0] * 60)


def make_observation(**rest: Any) -> Observation:
    """Return an observation of a moderate load."""
    defaults = {"replicas": 2, "ready": 2, "up": 2.0, "arrival_rate": 2.0, "running": 8.0, "waiting": 0.0}
    return Observation(**{**defaults, "window": 30.0, "mesh_metrics": True, **rest})


def make_state(**rest: Any) -> JobState:
    """Return the state of a calibrated job."""
    return JobState(NOW - 7200, **{"capacity": CAPACITY, "cold_start": Distribution.fixed(60), **rest})


def constant_forecast(upper: float, steps: int = 60, confidence: float = 0.95) -> Forecast:
    """Return a constant forecast."""
    return Forecast("test", NOW, 60, (upper / 2,) * steps, (0.0,) * steps, (upper,) * steps, confidence)


def decide(
    job: Object, observation: Observation, state: JobState, forecast: Forecast | None = None, now: float = NOW
) -> JobDecision | NoDecision:
    """Return the decision on a job."""
    spec = parsed(job)
    assert spec.autoscale
    assert spec.autoscale.predictive
    return decide_job(now, spec, spec.autoscale.predictive, observation, state, STEADY, forecast)


def decision_of(outcome: JobDecision | NoDecision) -> Decision:
    """Return the decision."""
    assert isinstance(outcome, JobDecision), outcome
    return outcome.decision


def test_forecast_raises_the_floor_ahead_of_load() -> None:
    steady = decision_of(decide(make_job(), make_observation(), make_state(), constant_forecast(2)))
    rising = decision_of(decide(make_job(), make_observation(), make_state(), constant_forecast(20)))
    assert rising.reason is Reason.FORECAST
    assert rising.min_replicas > max(steady.min_replicas, 20 / CAPACITY.rate)


def test_current_load_raises_the_floor_without_forecast() -> None:
    decision = decision_of(
        decide(
            make_job(max_replicas=900), make_observation(arrival_rate=40.0, running=64.0, waiting=300.0), make_state()
        )
    )
    assert decision.min_replicas >= 10
    assert decision.reason in {Reason.BURST, Reason.REACTIVE}


def test_gpu_budget_caps_the_decision_with_reason_budget() -> None:
    job = make_job(gpus=2, predictive={"budgetGpus": 8})
    decision = decision_of(
        decide(
            job, make_observation(arrival_rate=90.0, running=64.0, waiting=900.0), make_state(), constant_forecast(100)
        )
    )
    assert (decision.max_replicas, decision.min_replicas, decision.reason) == (4, 4, Reason.BUDGET)


def test_load_beyond_max_replicas_has_reason_budget_without_forecast() -> None:
    decision = decision_of(
        decide(
            make_job(max_replicas=3),
            make_observation(replicas=3, ready=3, arrival_rate=40.0, waiting=900.0),
            make_state(),
        )
    )
    assert (decision.min_replicas, decision.max_replicas, decision.reason) == (3, 3, Reason.BUDGET)
    assert "3 are allowed" in decision.message


@pytest.mark.parametrize(
    ("observation", "state", "reason", "message"),
    [
        (make_observation(up=None), make_state(), "NoData", "no series of 2 ready replicas"),
        (make_observation(up=None, ready=0), make_state(), "NoData", "none of 2 replicas is ready"),
        (make_observation(), make_state(capacity=None), "NoData", "capacity of a replica is unknown"),
        (
            make_observation(),
            make_state(service_times={SloMeasure.TIME_TO_FIRST_TOKEN: Distribution.fixed(9)}),
            "SloUnreachable",
            "slo.seconds",
        ),
    ],
)
def test_missing_data_or_unreachable_slo_yields_no_decision(
    observation: Observation, state: JobState, reason: str, message: str
) -> None:
    outcome = decide(make_job(), observation, state)
    assert isinstance(outcome, NoDecision)
    assert outcome.reason == reason
    assert message in outcome.message


def test_idle_job_scales_to_zero_stays_there_and_wakes_up() -> None:
    job = make_job(predictive={"idleSeconds": 600})
    idle = make_observation(arrival_rate=0.0, running=0.0)
    state = make_state(last_request=NOW - 599)
    assert decision_of(decide(job, idle, state)).replicas is None
    outcome = decide(job, idle, state, now=NOW + 2)
    assert (decision_of(outcome).replicas, decision_of(outcome).reason) == (0, Reason.IDLE)
    assert isinstance(outcome, JobDecision)
    asleep = make_observation(replicas=0, ready=0, up=None, arrival_rate=None, running=None, waiting=None)
    outcome = decide(job, asleep, state, now=NOW + 10)
    assert isinstance(outcome, JobDecision)
    # The operator wakes up a job at zero without a published decision of zero.
    assert scaling_of(outcome, asleep)["replicas"] == 0
    outcome = decide(job, replace(asleep, arrival_rate=0.1), state, now=NOW + 15)
    assert decision_of(outcome).reason is Reason.WAKE
    assert (decision_of(outcome).replicas or 0) >= 1


def test_without_mesh_metrics_job_never_scales_to_zero() -> None:
    job = make_job(predictive={"idleSeconds": 600})
    idle = make_observation(arrival_rate=0.0, running=0.0, mesh_metrics=False)
    outcome = decide(job, idle, make_state(last_request=NOW - 9000))
    assert decision_of(outcome).replicas is None
    assert isinstance(outcome, JobDecision)
    assert "istio_requests_total" in outcome.note
    # If the mesh metrics disappear while the job is at zero, it must wake up.
    asleep = replace(idle, replicas=0, ready=0, up=None)
    assert decision_of(decide(job, asleep, make_state(last_request=NOW - 9000))).reason is Reason.WAKE


def test_idle_time_starts_with_the_first_observation() -> None:
    job = make_job(predictive={"idleSeconds": 600})
    state = make_state()
    state.first_seen = NOW - 100
    assert decision_of(decide(job, make_observation(arrival_rate=0.0, running=0.0), state)).replicas is None


def test_expired_forecast_is_ignored() -> None:
    cached = CachedForecast(constant_forecast(5, steps=3))
    assert cached.predict(History(NOW, 60, ()), 9, 0.95) is not None
    assert cached.predict(History(NOW + 180, 60, ()), 9, 0.95) is None
    assert cached.predict(History(NOW, 60, ()), 9, 0.99) is None
    assert CachedForecast(None).predict(STEADY, 9, 0.95) is None


def test_published_capacity_survives_a_restart() -> None:
    outcome = decide(make_job(), make_observation(), make_state())
    assert isinstance(outcome, JobDecision)
    assert decision.published_capacity(scaling_of(outcome, make_observation())) == CAPACITY
    assert decision.published_capacity(None) is None
    assert decision.published_capacity({"service": {"requestsPerSecond": "0", "slots": 1, "source": "Target"}}) is None


def scaling_of(outcome: JobDecision, observation: Observation, now: float = NOW) -> Object:
    """Return the status of a decision."""
    return status.format_decision(
        outcome.decision,
        outcome.capacity,
        generation=3,
        asleep=observation.replicas == 0,
        cold_start=outcome.cold_start,
        horizon=75,
        now=now,
        validity=60,
    )


FORECASTS = st.none() | st.builds(constant_forecast, st.floats(0, 1e6), st.integers(1, 100), st.just(0.95))


@settings(max_examples=60, deadline=None)
@given(
    loads=st.lists(st.tuples(st.floats(0, 400), st.floats(0, 2000), st.floats(0, 100)), min_size=1, max_size=8),
    forecasts=st.lists(FORECASTS, min_size=8, max_size=8),
    replicas=st.integers(1, 20),
)
def test_forecast_never_leads_to_fewer_replicas_than_reactive(
    loads: list[tuple[float, float, float]], forecasts: list[Forecast | None], replicas: int
) -> None:
    """From measurements to the Deployment: at each moment at least the replicas of a run without forecasts."""
    job = make_job(replicas=replicas)
    spec = parsed(job)
    state, baseline_state = make_state(), make_state()
    live, reactive = replicas, replicas
    for index, (running, waiting, rate) in enumerate(loads):
        now = NOW + 5 * index
        observation = make_observation(
            replicas=live, ready=live, up=float(live), running=running, waiting=waiting, arrival_rate=rate
        )
        outcome = decide(job, observation, state, forecasts[index], now)
        baseline = decide(
            job, replace(observation, replicas=reactive, ready=reactive, arrival_rate=None), baseline_state, None, now
        )
        assert isinstance(outcome, JobDecision)
        assert isinstance(baseline, JobDecision)
        # A forecast changes the floor, not the target.
        assert outcome.decision.target == baseline.decision.target
        assert outcome.decision.min_replicas >= baseline.decision.reactive
        allowed = limits(spec, scaling_of(outcome, observation, now), _date(now))
        assert allowed is not None
        assert allowed.low >= min(baseline.decision.reactive, 20)
        live = replicas_of(replicas, allowed, applied=replicas, live=live)
        without = limits(spec, scaling_of(baseline, observation, now), _date(now))
        reactive = replicas_of(replicas, without, applied=replicas, live=reactive)
        assert live >= baseline.decision.reactive


def _date(seconds: float) -> datetime:
    return datetime.fromtimestamp(math.floor(seconds), UTC)


def test_slo_of_converts_units() -> None:
    given = Predictive.model_validate(
        {"slo": {"milliseconds": 750, "measure": "Queue", "percentile": 90, "confidencePercent": 80}}
    )
    slo = decision.slo_of(given)
    assert (slo.seconds, slo.measure.value, slo.percentile, slo.confidence) == (0.75, "Queue", 0.9, 0.8)
