"""The scaling decision: reactive baseline, reasons, bounds, scaling to zero."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferstack.scaling import plan, queueing, reactive
from inferstack.scaling.errors import ScalingError
from inferstack.scaling.model import (
    Bounds,
    Decision,
    Distribution,
    Forecast,
    History,
    Measure,
    ObservedState,
    Reason,
    Service,
    Slo,
)

SERVICE = Service(rate=2.0, slots=8, cold_start=Distribution.fixed(60.0))
SLO = Slo(2.0, measure=Measure.QUEUE)
NOW = 6000.0
STEADY = History(0.0, 60.0, [10.0] * 100)


class ConstantForecaster:
    """Forecasts given rates, whatever the history."""

    def __init__(self, *upper: float) -> None:
        self.upper = upper

    def predict(self, history: History, steps: int, confidence: float) -> Forecast | None:
        upper = tuple(self.upper[min(index, len(self.upper) - 1)] for index in range(steps))
        mean = tuple(rate * 0.9 for rate in upper)
        return Forecast("constant", history.end, history.step, mean, mean, upper, confidence)


def state(**fields: object) -> ObservedState:
    return replace(ObservedState(replicas=6, ready=6, load=40.0, rate=10.0, rate_seconds=15.0), **fields)  # type: ignore[arg-type]


def decide(
    observed: ObservedState,
    forecaster: ConstantForecaster | None,
    bounds: Bounds | None = None,
    history: History = STEADY,
) -> Decision:
    return plan.decide(NOW, history, SERVICE, SLO, bounds or Bounds(max_replicas=100), observed, forecaster)


@settings(max_examples=150)
@given(
    loads=st.lists(st.floats(0, 400), min_size=1, max_size=12),
    uppers=st.lists(st.floats(0, 200), min_size=12, max_size=12),
    missed=st.one_of(st.none(), st.floats(0, 1)),
    start=st.integers(1, 40),
    low=st.integers(1, 5),
)
def test_floor_is_never_below_reactive_baseline(
    loads: list[float], uppers: list[float], missed: float | None, start: int, low: int
) -> None:
    """The baseline is a separate HPA without forecasts under the same load."""
    bounds = Bounds(min_replicas=low, max_replicas=60)
    tuning = plan.Tuning.of(SERVICE, SLO, missed)
    spec = reactive.HpaSpec(low, 60, down=tuning.down())
    observed = state(replicas=start, ready=start, missed=missed)
    held, hpa_state, now = max(start, low), reactive.HpaState(), NOW
    for load, upper in zip(loads, uppers, strict=False):
        observed = replace(observed, load=load)
        decision = plan.decide(now, STEADY, SERVICE, SLO, bounds, observed, ConstantForecaster(upper))
        proposal = reactive.from_total(held, plan.target(load, SERVICE, tuning), load)
        held, hpa_state = reactive.step(now, spec, hpa_state, held, [proposal])
        assert low <= held <= decision.min_replicas <= decision.max_replicas <= 60
        assert decision.reactive == held
        observed = replace(
            observed, replicas=decision.min_replicas, hpa_state=decision.hpa_state, floors=decision.floors
        )
        now += 15.0


@given(upper=st.floats(0, 150), more=st.floats(0, 50))
def test_higher_forecast_never_needs_fewer_replicas(upper: float, more: float) -> None:
    assert (
        decide(state(), ConstantForecaster(upper + more)).min_replicas
        >= decide(state(), ConstantForecaster(upper)).min_replicas
    )


@given(upper=st.floats(0, 150), another=st.floats(0, 150), load=st.floats(0, 300))
def test_target_and_behavior_do_not_depend_on_forecast(upper: float, another: float, load: float) -> None:
    first, second = (
        decide(state(load=load), ConstantForecaster(upper)),
        decide(state(load=load), ConstantForecaster(another)),
    )
    assert (first.target, first.behavior, first.reactive) == (second.target, second.behavior, second.reactive)


def test_plan_uses_upper_bound_of_forecast_at_readiness() -> None:
    decision = decide(state(load=0.0), ConstantForecaster(5.0, 30.0))
    expected = queueing.replicas_for(30.0, SERVICE, SLO.slacks(SERVICE), 0.01, 100)
    assert (decision.min_replicas, decision.needed, decision.reason) == (expected, expected, Reason.FORECAST)
    assert "constant expects up to 30 requests/s within 75 s" in decision.message
    assert queueing.late_fraction(expected, 30.0, SERVICE, SLO.slacks(SERVICE)) <= 0.01


def test_replicas_are_kept_while_forecast_needs_them_within_a_cold_start() -> None:
    busy = queueing.replicas_for(40.0, SERVICE, SLO.slacks(SERVICE), 0.01, 100)
    decision = decide(state(replicas=busy, ready=busy, load=0.0), ConstantForecaster(40.0, 1.0))
    assert (decision.min_replicas, decision.reason) == (busy, Reason.FALLING)
    # No new replica is started, as it would be Ready only after that load.
    assert decide(state(replicas=3, ready=3, load=0.0), ConstantForecaster(40.0, 1.0)).min_replicas == 3


def test_burst_beyond_forecast_and_noise_adds_replicas_for_arrivals_and_queue() -> None:
    assert decide(state(rate=11.0), ConstantForecaster(10.0)).reason is not Reason.BURST
    wide = Bounds(max_replicas=1000)
    decision = decide(state(rate=40.0), ConstantForecaster(10.0), wide)
    assert decision.reason is Reason.BURST
    assert decision.min_replicas > queueing.replicas_for(40.0, SERVICE, SLO.slacks(SERVICE), 0.01, 100)
    assert decide(state(rate=40.0, waiting=200.0), ConstantForecaster(10.0), wide).min_replicas > decision.min_replicas


def test_without_forecast_plan_uses_current_arrival_rate() -> None:
    steady = decide(state(load=0.0, rate=11.0), None)
    assert steady.needed == queueing.replicas_for(10.0, SERVICE, SLO.slacks(SERVICE), 0.01, 100)
    assert steady.reason is Reason.BURST
    assert decide(state(load=0.0, rate=30.0), None, Bounds(max_replicas=1000)).needed > 3 * steady.needed
    assert decide(state(), None).target == decide(state(), ConstantForecaster(50.0)).target


def test_without_arrival_rate_reason_is_reactive() -> None:
    decision = decide(state(rate=None), None)
    assert decision.forecast is None
    assert decision.reason is Reason.REACTIVE
    assert "load of 40" in decision.message
    idle = decide(state(rate=None, load=0.0, replicas=1, ready=1), None)
    assert (idle.min_replicas, idle.needed) == (1, 0)


def test_bounds_budget_and_warm_replicas_limit_the_decision() -> None:
    assert decide(state(load=0.0, rate=1.0), ConstantForecaster(1.0), Bounds(min_replicas=7)).reason is Reason.MINIMUM
    capped = decide(state(), ConstantForecaster(100.0), Bounds(max_replicas=100, budget_gpus=12))
    assert (capped.min_replicas, capped.max_replicas, capped.reason) == (12, 12, Reason.BUDGET)
    assert capped.needed > 12
    bare, warm = (
        decide(state(load=0.0), ConstantForecaster(10.0), Bounds(warm=count)).min_replicas for count in (0, 2)
    )
    assert warm == bare + 2
    with pytest.raises(ScalingError, match=r"^bounds\.budget_gpus: 8 GPUs allow 2 replicas"):
        Bounds(min_replicas=3, budget_gpus=8).limit(4)


def test_capped_decision_has_reason_budget() -> None:
    decision = decide(state(), ConstantForecaster(40.0))
    capped = decision.capped(3)
    assert (capped.min_replicas, capped.max_replicas, capped.reason) == (3, 3, Reason.BUDGET)
    assert decision.capped(decision.max_replicas) == decision
    assert decision.capped(decision.needed).reason is decision.reason
    assert (decision.capped(0).replicas, decision.capped(0).max_replicas) == (0, 1)


def test_idle_job_scales_to_zero_and_back() -> None:
    bounds = Bounds(idle_seconds=600.0)
    idle_state = state(replicas=1, ready=1, load=0.0, rate=0.0, last_request=NOW - 599)
    assert decide(idle_state, ConstantForecaster(0.0), bounds).replicas is None
    idle = decide(replace(idle_state, last_request=NOW - 600), ConstantForecaster(0.0), bounds)
    assert (idle.replicas, idle.reason, idle.min_replicas) == (0, Reason.IDLE, 1)
    assert decide(replace(idle_state, last_request=NOW - 600), ConstantForecaster(0.0)).replicas is None
    assert decide(replace(idle_state, last_request=None), ConstantForecaster(0.0), bounds).replicas is None
    # A forecast of requests prevents scaling to zero, and wakes up the job.
    assert decide(replace(idle_state, last_request=NOW - 600), ConstantForecaster(1.0), bounds).replicas is None
    asleep = replace(idle_state, replicas=0, ready=0, last_request=NOW - 9000)
    assert decide(asleep, ConstantForecaster(0.0), bounds).replicas is None
    awake = decide(asleep, ConstantForecaster(1.0), bounds)
    assert (awake.replicas, awake.reason) == (1, Reason.WAKE)
    assert decide(replace(asleep, load=1.0, waiting=1.0), ConstantForecaster(0.0), bounds).reason is Reason.WAKE
    assert decide(asleep, ConstantForecaster(0.0)).replicas == 1  # zero is no longer allowed


def test_unused_error_budget_lowers_the_floor() -> None:
    def floor(missed: float | None) -> list[int]:
        observed = state(load=0.0, rate=None, missed=missed)
        return [decide(observed, ConstantForecaster(float(rate))).needed for rate in range(2, 60)]

    assert floor(0.01) == floor(None) == floor(0.5)
    assert sum(floor(0.0)) < sum(floor(0.01))


def test_target_grows_with_load_in_steps() -> None:
    tuning = plan.Tuning.of(SERVICE, SLO)
    targets = [plan.target(load, SERVICE, tuning) for load in range(1, 400)]
    assert targets == sorted(targets)
    assert len(set(targets)) < 25
    assert 0 < targets[0] < targets[-1] < SERVICE.slots
    assert replace(decide(state(), None), target=13.3051).quantity == "13305m"


def test_slacks_are_what_the_service_time_leaves_of_the_limit() -> None:
    service = replace(SERVICE, first_token=Distribution(((0.5, 0.2), (0.99, 0.5))))
    slacks = Slo(2.0).slacks(service)
    assert sum(fraction for _, fraction in slacks) == pytest.approx(1)
    assert slacks[0][0] == pytest.approx(1.8)
    assert slacks[0][1] == 0.5
    assert min(slack for slack, _ in slacks) == pytest.approx(1.5)
    with pytest.raises(ScalingError, match=r"^slo\.seconds: .* of TimeToFirstToken"):
        Slo(0.4).slacks(service)
    assert math.isclose(Slo(9.0, Measure.LATENCY).slacks(replace(SERVICE, latency=Distribution.fixed(4.0)))[0][0], 5.0)


def test_rise_is_extrapolated_unless_noise_explains_it() -> None:
    assert plan.expected_burst(NOW, STEADY, state(rate=11.0), SERVICE, 60.0) == 11.0
    burst = plan.expected_burst(NOW, STEADY, state(rate=40.0), SERVICE, 60.0)
    assert burst is not None
    assert burst > 40.0
    assert plan.expected_burst(NOW, replace(STEADY, rates=[math.nan] * 5), state(rate=40.0), SERVICE, 60.0) == 40.0
    assert plan.expected_burst(NOW, STEADY, state(rate=None), SERVICE, 60.0) is None


def test_forecast_is_constant_beyond_its_end() -> None:
    forecast = Forecast("x", 100.0, 10.0, (1.0, 2.0), (0.0, 1.0), (3.0, 4.0), 0.9)
    assert forecast.highest(100, 110) == (0.0, 1.0, 3.0)
    assert forecast.highest(100, 500) == (1.0, 2.0, 4.0)
    assert forecast.highest(0, 1) == (0.0, 1.0, 3.0)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Service(rate=0.0), "service.rate"),
        (lambda: Service(rate=1.0, slots=0), "service.slots"),
        (lambda: Service(rate=1.0, gpus=0), "service.gpus"),
        (lambda: Service(rate=1.0, variability=-1.0), "service.variability"),
        (lambda: Slo(0.0), "slo.seconds"),
        (lambda: Slo(1.0, percentile=1.0), "slo.percentile"),
        (lambda: Slo(1.0, confidence=0.0), "slo.confidence"),
        (lambda: Bounds(3, 2), "bounds: minReplicas 3 and maxReplicas 2"),
        (lambda: Bounds(warm=-1), "bounds.warm"),
        (lambda: Bounds(budget_gpus=0), "bounds.budget_gpus"),
        (lambda: Bounds(idle_seconds=0.0), "bounds.idle_seconds"),
        (lambda: History(0.0, 0.0, []), "history.step"),
        (lambda: Distribution(()), "distribution: has no points"),
        (lambda: Distribution(((0.5, 2.0), (0.9, 1.0))), "distribution: decreases"),
        (lambda: Distribution(((2.0, 2.0),)), "distribution: invalid point"),
    ],
)
def test_invalid_input_names_the_field(make: Sequence[object], error: str) -> None:
    with pytest.raises(ScalingError, match=error):
        make()  # type: ignore[operator]


def test_quantiles_are_interpolated_linearly() -> None:
    distribution = Distribution.of([3.0, 1.0])
    assert [distribution.quantile(probability) for probability in (0.0, 0.25, 0.5, 0.75, 1.0)] == [
        1.0,
        1.0,
        2.0,
        3.0,
        3.0,
    ]
