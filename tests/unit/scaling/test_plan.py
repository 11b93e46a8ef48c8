"""The decision: never below reactive, reasons, bounds, zero."""

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
    Reason,
    Service,
    Slo,
    State,
)

SERVICE = Service(rate=2.0, slots=8, cold_start=Distribution.fixed(60.0))
SLO = Slo(2.0, measure=Measure.QUEUE)
NOW = 6000.0
STEADY = History(0.0, 60.0, [10.0] * 100)


class Says:
    """A forecaster that says one rate for each step, whatever was."""

    def __init__(self, *upper: float) -> None:
        self.upper = upper

    def predict(self, history: History, steps: int, confidence: float) -> Forecast | None:
        upper = tuple(self.upper[min(index, len(self.upper) - 1)] for index in range(steps))
        mean = tuple(rate * 0.9 for rate in upper)
        return Forecast("says", history.end, history.step, mean, mean, upper, confidence)


def state(**fields: object) -> State:
    return replace(State(replicas=6, ready=6, load=40.0, rate=10.0, rate_seconds=15.0), **fields)  # type: ignore[arg-type]


def decide(seen: State, forecaster: Says | None, bounds: Bounds | None = None, history: History = STEADY) -> Decision:
    return plan.decide(NOW, history, SERVICE, SLO, bounds or Bounds(max_replicas=100), seen, forecaster)


@settings(max_examples=150)
@given(
    loads=st.lists(st.floats(0, 400), min_size=1, max_size=12),
    uppers=st.lists(st.floats(0, 200), min_size=12, max_size=12),
    missed=st.one_of(st.none(), st.floats(0, 1)),
    start=st.integers(1, 40),
    low=st.integers(1, 5),
)
def test_whatever_is_forecast_the_floor_is_not_below_reactive(
    loads: list[float], uppers: list[float], missed: float | None, start: int, low: int
) -> None:
    """Reactive is run beside, from the same loads, by an HPA that has never heard of a forecast."""
    bounds = Bounds(min_replicas=low, max_replicas=60)
    tuning = plan.Tuning.of(SERVICE, SLO, missed)
    spec = reactive.Spec(low, 60, down=tuning.down())
    seen = state(replicas=start, ready=start, missed=missed)
    held, memory, now = max(start, low), reactive.Memory(), NOW
    for load, upper in zip(loads, uppers, strict=False):
        seen = replace(seen, load=load)
        made = plan.decide(now, STEADY, SERVICE, SLO, bounds, seen, Says(upper))
        asked = reactive.from_total(held, plan.target(load, SERVICE, tuning), load)
        held, memory = reactive.step(now, spec, memory, held, [asked])
        assert low <= held <= made.min_replicas <= made.max_replicas <= 60
        assert made.reactive == held
        seen = replace(seen, replicas=made.min_replicas, memory=made.memory, floors=made.floors)
        now += 15.0


@given(upper=st.floats(0, 150), more=st.floats(0, 50))
def test_a_higher_forecast_never_asks_for_less(upper: float, more: float) -> None:
    assert decide(state(), Says(upper + more)).min_replicas >= decide(state(), Says(upper)).min_replicas


@given(upper=st.floats(0, 150), another=st.floats(0, 150), load=st.floats(0, 300))
def test_target_and_behavior_know_nothing_of_what_is_forecast(upper: float, another: float, load: float) -> None:
    one, other = decide(state(load=load), Says(upper)), decide(state(load=load), Says(another))
    assert (one.target, one.behavior, one.reactive) == (other.target, other.behavior, other.reactive)


def test_the_forecasts_upper_end_at_the_time_of_readiness_is_planned_for() -> None:
    made = decide(state(load=0.0), Says(5.0, 30.0))
    wanted = queueing.replicas_for(30.0, SERVICE, SLO.slacks(SERVICE), 0.01, 100)
    assert (made.min_replicas, made.needed, made.reason) == (wanted, wanted, Reason.FORECAST)
    assert "says expects up to 30 requests/s within 75 s" in made.sentence
    assert queueing.late(wanted, 30.0, SERVICE, SLO.slacks(SERVICE)) <= 0.01


def test_down_is_not_faster_than_the_forecast_allows() -> None:
    busy = queueing.replicas_for(40.0, SERVICE, SLO.slacks(SERVICE), 0.01, 100)
    made = decide(state(replicas=busy, ready=busy, load=0.0), Says(40.0, 1.0))
    assert (made.min_replicas, made.reason) == (busy, Reason.FALLING)
    # Nothing is started for it, though: what comes within the next minute is here before a new replica would be.
    assert decide(state(replicas=3, ready=3, load=0.0), Says(40.0, 1.0)).min_replicas == 3


def test_a_burst_beyond_forecast_and_noise_is_met_at_once_and_its_queue_too() -> None:
    assert decide(state(rate=11.0), Says(10.0)).reason is not Reason.BURST
    wide = Bounds(max_replicas=1000)
    made = decide(state(rate=40.0), Says(10.0), wide)
    assert made.reason is Reason.BURST
    assert made.min_replicas > queueing.replicas_for(40.0, SERVICE, SLO.slacks(SERVICE), 0.01, 100)
    assert decide(state(rate=40.0, waiting=200.0), Says(10.0), wide).min_replicas > made.min_replicas


def test_without_a_forecast_what_arrives_is_planned_for() -> None:
    steady = decide(state(load=0.0, rate=11.0), None)
    assert steady.needed == queueing.replicas_for(10.0, SERVICE, SLO.slacks(SERVICE), 0.01, 100)
    assert steady.reason is Reason.BURST
    assert decide(state(load=0.0, rate=30.0), None, Bounds(max_replicas=1000)).needed > 3 * steady.needed
    assert decide(state(), None).target == decide(state(), Says(50.0)).target


def test_without_any_rate_it_is_reactive_and_says_so() -> None:
    made = decide(state(rate=None), None)
    assert made.forecast is None
    assert made.reason is Reason.REACTIVE
    assert "load of 40" in made.sentence
    idle = decide(state(rate=None, load=0.0, replicas=1, ready=1), None)
    assert (idle.min_replicas, idle.needed) == (1, 0)


def test_bounds_budget_and_warm_replicas() -> None:
    assert decide(state(load=0.0, rate=1.0), Says(1.0), Bounds(min_replicas=7)).reason is Reason.MINIMUM
    capped = decide(state(), Says(100.0), Bounds(max_replicas=100, budget_gpus=12))
    assert (capped.min_replicas, capped.max_replicas, capped.reason) == (12, 12, Reason.BUDGET)
    assert capped.needed > 12
    bare, warm = (decide(state(load=0.0), Says(10.0), Bounds(warm=count)).min_replicas for count in (0, 2))
    assert warm == bare + 2
    with pytest.raises(ScalingError, match="8 GPUs hold 2 replicas of 4, minReplicas is 3"):
        Bounds(min_replicas=3, budget_gpus=8).most(4)


def test_what_a_pool_grants_caps_the_decision() -> None:
    made = decide(state(), Says(40.0))
    capped = made.capped(3)
    assert (capped.min_replicas, capped.max_replicas, capped.reason) == (3, 3, Reason.BUDGET)
    assert made.capped(made.max_replicas) == made
    assert made.capped(made.needed).reason is made.reason
    assert (made.capped(0).replicas, made.capped(0).max_replicas) == (0, 1)


def test_to_zero_after_idleness_and_back() -> None:
    bounds = Bounds(idle_seconds=600.0)
    quiet = state(replicas=1, ready=1, load=0.0, rate=0.0, last_request=NOW - 599)
    assert decide(quiet, Says(0.0), bounds).replicas is None
    idle = decide(replace(quiet, last_request=NOW - 600), Says(0.0), bounds)
    assert (idle.replicas, idle.reason, idle.min_replicas) == (0, Reason.IDLE, 1)
    assert decide(replace(quiet, last_request=NOW - 600), Says(0.0)).replicas is None
    assert decide(replace(quiet, last_request=None), Says(0.0), bounds).replicas is None
    # A forecast of requests keeps it, and wakes it before they come.
    assert decide(replace(quiet, last_request=NOW - 600), Says(1.0), bounds).replicas is None
    slept = replace(quiet, replicas=0, ready=0, last_request=NOW - 9000)
    assert decide(slept, Says(0.0), bounds).replicas is None
    woken = decide(slept, Says(1.0), bounds)
    assert (woken.replicas, woken.reason) == (1, Reason.WAKE)
    assert decide(replace(slept, load=1.0, waiting=1.0), Says(0.0), bounds).reason is Reason.WAKE
    assert decide(slept, Says(0.0)).replicas == 1  # zero is no longer allowed


def test_an_unused_error_budget_lowers_the_floor_and_a_used_one_does_not() -> None:
    def floor(missed: float | None) -> list[int]:
        seen = state(load=0.0, rate=None, missed=missed)
        return [decide(seen, Says(float(rate))).needed for rate in range(2, 60)]

    assert floor(0.01) == floor(None) == floor(0.5)
    assert sum(floor(0.0)) < sum(floor(0.01))


def test_the_target_is_what_the_level_allows_and_moves_in_steps() -> None:
    tuning = plan.Tuning.of(SERVICE, SLO)
    targets = [plan.target(load, SERVICE, tuning) for load in range(1, 400)]
    assert targets == sorted(targets)
    assert len(set(targets)) < 25
    assert 0 < targets[0] < targets[-1] < SERVICE.slots
    assert replace(decide(state(), None), target=13.3051).quantity == "13305m"


def test_a_level_on_work_and_wait_leaves_the_rest_by_bands() -> None:
    service = replace(SERVICE, first_token=Distribution(((0.5, 0.2), (0.99, 0.5))))
    slacks = Slo(2.0).slacks(service)
    assert sum(share for _, share in slacks) == pytest.approx(1)
    assert slacks[0][0] == pytest.approx(1.8)
    assert slacks[0][1] == 0.5
    assert min(slack for slack, _ in slacks) == pytest.approx(1.5)
    with pytest.raises(ScalingError, match="TimeToFirstToken cannot be met by any number"):
        Slo(0.4).slacks(service)
    assert math.isclose(Slo(9.0, Measure.LATENCY).slacks(replace(SERVICE, latency=Distribution.fixed(4.0)))[0][0], 5.0)


def test_noise_is_no_rise_and_a_rise_goes_on() -> None:
    assert plan.expected_burst(NOW, STEADY, state(rate=11.0), SERVICE, 60.0) == 11.0
    risen = plan.expected_burst(NOW, STEADY, state(rate=40.0), SERVICE, 60.0)
    assert risen is not None
    assert risen > 40.0
    assert plan.expected_burst(NOW, replace(STEADY, rates=[math.nan] * 5), state(rate=40.0), SERVICE, 60.0) == 40.0
    assert plan.expected_burst(NOW, STEADY, state(rate=None), SERVICE, 60.0) is None


def test_a_forecast_beyond_its_end_stays_as_it_is() -> None:
    forecast = Forecast("x", 100.0, 10.0, (1.0, 2.0), (0.0, 1.0), (3.0, 4.0), 0.9)
    assert forecast.highest(100, 110) == (0.0, 1.0, 3.0)
    assert forecast.highest(100, 500) == (1.0, 2.0, 4.0)
    assert forecast.highest(0, 1) == (0.0, 1.0, 3.0)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Service(rate=0.0), "service.rate"),
        (lambda: Service(rate=1.0, slots=0), "service.slots"),
        (lambda: Service(rate=1.0, gpus=0), "service.gpus"),
        (lambda: Service(rate=1.0, variability=-1.0), "service.variability"),
        (lambda: Slo(0.0), "slo.seconds"),
        (lambda: Slo(1.0, percentile=1.0), "slo.percentile"),
        (lambda: Slo(1.0, confidence=0.0), "slo.confidence"),
        (lambda: Bounds(3, 2), "minReplicas 3 and maxReplicas 2"),
        (lambda: Bounds(warm=-1), "bounds.warm"),
        (lambda: Bounds(budget_gpus=0), "bounds.budget_gpus"),
        (lambda: Bounds(idle_seconds=0.0), "bounds.idle_seconds"),
        (lambda: History(0.0, 0.0, []), "history.step"),
        (lambda: Distribution(()), "no points"),
        (lambda: Distribution(((0.5, 2.0), (0.9, 1.0))), "falls"),
        (lambda: Distribution(((2.0, 2.0),)), "share is 0 to 1"),
    ],
)
def test_wrong_input_is_named(make: Sequence[object], said: str) -> None:
    with pytest.raises(ScalingError, match=said):
        make()  # type: ignore[operator]


def test_quantiles_lie_on_straight_lines() -> None:
    one = Distribution.of([3.0, 1.0])
    assert [one.quantile(share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)] == [1.0, 1.0, 2.0, 3.0, 3.0]
