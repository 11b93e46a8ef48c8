"""The scaling decision: from a forecast to the parameters of the HPA.

The HPA stays the executor. The decision sets ``minReplicas`` to the largest of three numbers:

- *needed*: replicas that keep the SLO at the forecast's upper bound until a replica requested now is Ready;
- *burst*: the same for current arrivals and queue, if they exceed both forecast and noise;
- *reactive*: what an HPA with the same target and behavior, but without a forecast, would hold
  (`reactive.ReactiveBaseline`).

Target and behavior depend on the measured service only, never on a forecast. So no forecast can lead to fewer replicas
than reactive scaling.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from inferstack.apimachinery.objects import Object
from inferstack.scaling import queueing, reactive
from inferstack.scaling.model import (
    Bounds,
    Decision,
    Forecast,
    Forecaster,
    History,
    ObservedState,
    Reason,
    Service,
    Slo,
)

INTERVAL = 15.0
"""Seconds between two decisions, added to the cold start for the planning horizon."""
MAX_WINDOW = 3600
"""Maximum of ``stabilizationWindowSeconds`` in Kubernetes."""
BURST_SIGMAS = 3.0
"""Standard deviations above which a rise is not noise: one false alarm in 740 decisions."""
BUDGET_SPEND_FACTOR = 5.0
"""How fast an unused error budget is spent: without any miss, the plan allows 1 + 5 times the misses of the SLO."""
_TARGET_STEP = 1.25
"""Ratio of loads between two targets."""


@dataclass(frozen=True)
class Tuning:
    """Parameters that follow from service and SLO alone."""

    slacks: queueing.Slacks
    miss_fraction: float
    """Fraction of requests that may miss the SLO."""
    median_cold_start: float
    """Median seconds until a new replica is Ready."""
    cold_start: float
    """Seconds until a new replica is Ready, at the confidence of the SLO."""
    drain: float
    """Seconds within which the queue must drain."""

    @classmethod
    def of(cls, service: Service, slo: Slo, missed: float | None = None) -> Tuning:
        """Derive the parameters; ``missed`` is `ObservedState.missed`.

        Raises:
            ScalingError: no number of replicas meets the SLO.
        """
        miss_fraction = 1 - slo.percentile
        if missed is not None:
            miss_fraction *= 1 + BUDGET_SPEND_FACTOR * max(0.0, 1 - missed / miss_fraction)
        cold_start = service.cold_start
        return cls(
            slo.slacks(service),
            miss_fraction,
            cold_start.quantile(0.5),
            cold_start.quantile(slo.confidence),
            slo.seconds,
        )

    def behavior(self) -> Object:
        """Return ``spec.behavior``: scale up at once, scale down after the time of a cold start."""
        return {"scaleUp": self.up().render(), "scaleDown": self.down().render()}

    @staticmethod
    def up() -> reactive.ScalingRules:
        """Return the rules for scaling up: the defaults of Kubernetes."""
        return reactive.UP

    def down(self) -> reactive.ScalingRules:
        """Return the rules for scaling down: an unused replica is kept for the time of a cold start.

        By the ski-rental argument, this costs at most twice the optimum in hindsight.
        """
        window = min(math.ceil(max(self.median_cold_start, INTERVAL)), MAX_WINDOW)
        return reactive.ScalingRules(window, reactive.DOWN.policies)


def target(load: float, service: Service, tuning: Tuning) -> float:
    """Return the target load of a replica: its slots at the highest utilization that keeps the SLO.

    A larger pool allows a higher utilization, so the target grows with the load. It grows in steps, to avoid an update
    of the HPA at each decision. It depends neither on a forecast nor on replicas requested for a forecast.
    """
    full_replicas = max(load / service.slots, 1.0)
    replicas = max(math.floor(_TARGET_STEP ** math.floor(math.log(full_replicas, _TARGET_STEP))), 1)
    utilization = queueing.utilization(replicas, service, tuning.slacks, tuning.miss_fraction)
    return max(service.slots * utilization, 0.001)


def needed(
    begin: float, end: float, forecast: Forecast, service: Service, tuning: Tuning, limit: int
) -> tuple[int, float]:
    """Return the replicas for the highest upper bound of the forecast between two times, and that rate."""
    _, _, rate = forecast.highest(begin, end)
    return queueing.replicas_for(max(rate, 0.0), service, tuning.slacks, tuning.miss_fraction, limit), rate


def expected_burst(
    now: float, history: History, state: ObservedState, service: Service, cold_start: float
) -> float | None:
    """Return the arrival rate expected when a replica requested now is Ready; None if the current rate is unknown.

    A rise since the last step of the history is extrapolated unless noise explains it. The noise is that of a renewal
    process: the variance of a count is its mean times the burstiness.
    """
    if state.rate is None:
        return None
    previous = next((rate for rate in reversed(history.rates[-3:]) if not math.isnan(rate)), None)
    if previous is None:
        return state.rate
    noise = math.sqrt(max(previous, state.rate) * service.burstiness * (1 / history.step + 1 / state.rate_seconds))
    growth = state.rate - previous
    if growth <= BURST_SIGMAS * noise:
        return state.rate
    elapsed = max(now - history.end + (history.step - state.rate_seconds) / 2, INTERVAL)
    return state.rate + growth * cold_start / elapsed


def decide(
    now: float,
    history: History,
    service: Service,
    slo: Slo,
    bounds: Bounds,
    state: ObservedState,
    forecaster: Forecaster | None,
) -> Decision:
    """Return the parameters of the HPA.

    Args:
        now: seconds since the epoch.
        history: arrivals until now.
        service: measured capacity of a replica.
        slo: the SLO.
        bounds: bounds set by the user.
        state: current state of the job, with ``hpa_state`` and ``floors`` of the previous decision.
        forecaster: forecasts arrivals; None: reactive scaling only.

    Raises:
        ScalingError: no number of replicas meets the SLO, or the GPU budget is too small for minReplicas.
    """
    horizon = service.cold_start.quantile(slo.confidence) + INTERVAL
    steps = max(1, math.ceil((now + horizon - history.end) / history.step))
    forecast = forecaster.predict(history, steps, slo.confidence) if forecaster is not None else None
    tuning = Tuning.of(service, slo, state.missed)
    limit = bounds.limit(service.gpus)

    desired, reason, message, hold_at = 0, Reason.REACTIVE, "no forecast: the history is too short", 0
    if forecast is not None:
        # The plan may exceed the limit, up to twice, so that users see what is missing.
        end = now + horizon
        desired, rate = needed(now + tuning.median_cold_start, end, forecast, service, tuning, 2 * limit)
        hold_at, _ = needed(now, end, forecast, service, tuning, 2 * limit)
        reason = Reason.FORECAST
        message = f"{forecast.model} expects up to {rate:.3g} requests/s within {horizon:.0f} s"
    burst = _burst(history, service, tuning, state, forecast, now, 2 * limit)
    if burst > desired:
        desired, reason = burst, Reason.BURST
        message = f"{state.rate:.3g} requests/s and {state.waiting:.0f} queued requests exceed the forecast"
    hold = tuning.cold_start if forecast is None else INTERVAL
    floors = (*((when, count) for when, count in state.floors if when > now - hold), (now, desired))
    kept = max([min(state.replicas, hold_at), *(count for _, count in floors)])
    if kept > desired:
        message = f"{desired} replicas suffice now, {kept} are kept for load expected within a cold start"
        reason = Reason.FALLING
    plan = desired
    desired = max(desired, kept) + bounds.warm

    target_load = target(state.load, service, tuning)
    spec = reactive.HpaSpec(bounds.min_replicas, limit, tuning.up(), tuning.down())
    baseline = reactive.ReactiveBaseline(spec, target_load, state.hpa_state)
    held, hpa_state = baseline.step(now, state.replicas, state.load)
    if held > desired:
        reason, message = Reason.REACTIVE, f"a load of {state.load:.3g} at a target of {target_load:.3g} per replica"
    floor = max(desired, held)
    if desired < bounds.min_replicas and held <= bounds.min_replicas:
        reason, message = Reason.MINIMUM, f"{desired} replicas suffice, minReplicas is {bounds.min_replicas}"
    if floor > limit:
        reason, message = Reason.BUDGET, f"{floor} replicas are needed, {limit} are allowed"
    decision = Decision(
        min_replicas=min(max(floor, bounds.min_replicas), limit),
        max_replicas=limit,
        target=target_load,
        behavior=tuning.behavior(),
        replicas=None,
        reason=reason,
        message=message,
        needed=plan,
        reactive=held,
        forecast=forecast,
        hpa_state=hpa_state,
        floors=floors,
    )
    return _scale_to_zero(decision, now, bounds, state, forecast)


def _burst(
    history: History,
    service: Service,
    tuning: Tuning,
    state: ObservedState,
    forecast: Forecast | None,
    now: float,
    limit: int,
) -> int:
    """Return the replicas for current arrivals and queue; 0 if forecast and noise explain them.

    Without a forecast, return the replicas for the current arrival rate, smoothed over the last steps if noise explains
    the difference.
    """
    if state.rate is None:
        return 0
    if forecast is not None:
        rate = expected_burst(now, history, state, service, tuning.cold_start) or 0.0
        _, _, upper = forecast.highest(now - forecast.step, now + forecast.step)
        if rate <= upper + BURST_SIGMAS * math.sqrt(max(upper, 0.0) * service.burstiness / state.rate_seconds):
            return 0
    else:
        # Without a forecast a rise may be the daily pattern, so it is not extrapolated.
        measured = [rate for rate in history.rates[-3:] if not math.isnan(rate)]
        usual = sum(measured) / len(measured) if measured else state.rate
        noise = BURST_SIGMAS * math.sqrt(max(usual, 0.0) * service.burstiness / state.rate_seconds)
        rate = usual if abs(state.rate - usual) <= noise else state.rate
    # The queue at the time when new replicas are Ready must drain within the time limit of the SLO.
    backlog = state.waiting + max(0.0, state.rate - state.ready * service.rate) * tuning.cold_start
    return queueing.replicas_for(rate + backlog / tuning.drain, service, tuning.slacks, tuning.miss_fraction, limit)


def _scale_to_zero(
    decision: Decision, now: float, bounds: Bounds, state: ObservedState, forecast: Forecast | None
) -> Decision:
    """Scale to 0 replicas after a long idle time, and back up; the HPA does neither by itself."""
    expected = 0.0
    if forecast is not None:
        expected = forecast.highest(now, now + forecast.step)[1] * forecast.step
    active = state.load > 0 or (state.rate or 0.0) > 0 or expected >= 1
    if state.replicas == 0:
        if active or bounds.idle_seconds is None:
            message = f"a load of {state.load:.3g}, {expected:.3g} requests are expected within a step"
            return replace(decision, replicas=decision.min_replicas, reason=Reason.WAKE, message=message)
        return replace(decision, reason=Reason.IDLE, message="no arrivals", hpa_state=reactive.HpaState(), floors=())
    if active or bounds.idle_seconds is None or state.last_request is None:
        return decision
    idle = now - state.last_request
    if idle < bounds.idle_seconds:
        return decision
    message = f"no arrivals for {idle:.0f} s, idleSeconds is {bounds.idle_seconds:g}"
    return replace(decision, replicas=0, reason=Reason.IDLE, message=message, hpa_state=reactive.HpaState(), floors=())
