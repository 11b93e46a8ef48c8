"""From a forecast to the parameters of the HPA: the decision.

The HPA stays the executor. Three numbers are made and the largest becomes ``minReplicas``:

- *needed*: replicas that keep the service level at the forecast's upper end until a replica asked for now is Ready;
- *burst*: the same for what arrives and waits now, where that is beyond forecast and noise;
- *reactive*: what an HPA with the same target and behavior, but without a forecast, would hold (`reactive.Shadow`).

The target and the behavior come from the measured service only, never from a forecast. So whatever a forecast says, the
result is not below reactive's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from inferstack.scaling import queueing, reactive
from inferstack.scaling.model import (
    Bounds,
    Decision,
    Forecast,
    Forecaster,
    History,
    Object,
    Reason,
    Service,
    Slo,
    State,
)

INTERVAL = 15.0
"""Seconds between two decisions, beyond the cold start part of the horizon."""
MAX_WINDOW = 3600
"""Kubernetes' most of ``stabilizationWindowSeconds``."""
SURE = 3.0
"""Standard deviations beyond which a rise is no noise: one false alarm in 740 looks."""
SPEND = 5.0
"""How much of an error budget that nobody used is spent: with no miss at all, replicas are planned for 1 + 5 times the
misses that the level allows."""
_STEP = 1.25
"""Of the load, between two targets."""


@dataclass(frozen=True)
class Tuning:
    """What follows from service and service level alone."""

    slacks: queueing.Slacks
    share: float
    typical: float
    """Median seconds until a new replica serves."""
    cold: float
    """Seconds until a new replica serves, at the confidence of the service level."""
    drain: float
    """Seconds within which what waits is to be gone."""

    @classmethod
    def of(cls, service: Service, slo: Slo, missed: float | None = None) -> Tuning:
        """Derive it; ``missed`` is `State.missed`.

        Raises:
            ScalingError: the service level cannot be met at all.
        """
        share = 1 - slo.percentile
        if missed is not None:
            share *= 1 + SPEND * max(0.0, 1 - missed / share)
        cold = service.cold_start
        late = cold.quantile(slo.confidence)
        return cls(slo.slacks(service), share, cold.quantile(0.5), late, slo.seconds)

    def behavior(self) -> Object:
        """Return ``spec.behavior``: up at once, down after the time that a start takes."""
        return {"scaleUp": self.up().render(), "scaleDown": self.down().render()}

    @staticmethod
    def up() -> reactive.Rules:
        """Return the rules of the way up: Kubernetes' defaults."""
        return reactive.UP

    def down(self) -> reactive.Rules:
        """Return the rules of the way down: a replica without work is kept as long as a start takes.

        As with renting skis: what is paid is at most twice what was best in hindsight.
        """
        return reactive.Rules(min(math.ceil(max(self.typical, INTERVAL)), MAX_WINDOW), reactive.DOWN.policies)


def target(load: float, service: Service, tuning: Tuning) -> float:
    """Return the load of a replica to aim at: its slots at the highest utilisation that keeps the service level.

    A larger pool can be used better, so it grows with the load; in steps of a quarter, so that the HPA is not written
    at each decision. It knows nothing of what a forecast says, nor of replicas that a forecast asked for.
    """
    full = max(load / service.slots, 1.0)
    replicas = max(math.floor(_STEP ** math.floor(math.log(full, _STEP))), 1)
    share = queueing.utilisation(replicas, service, tuning.slacks, tuning.share)
    return max(service.slots * share, 0.001)


def needed(
    begin: float, end: float, forecast: Forecast, service: Service, tuning: Tuning, most: int
) -> tuple[int, float]:
    """Return the replicas for the forecast's highest upper end between two times, and that rate."""
    _, _, rate = forecast.highest(begin, end)
    return queueing.replicas_for(max(rate, 0.0), service, tuning.slacks, tuning.share, most), rate


def expected_burst(now: float, history: History, state: State, service: Service, cold: float) -> float | None:
    """Return arrivals a second when a replica asked for now is Ready, by what arrives now; None where unknown.

    A rise since the last step of the history that noise does not explain is taken to go on; noise is that of a renewal
    process: the variance of a count is its mean times the burstiness.
    """
    if state.rate is None:
        return None
    before = next((rate for rate in reversed(history.rates[-3:]) if not math.isnan(rate)), None)
    if before is None:
        return state.rate
    noise = math.sqrt(max(before, state.rate) * service.burstiness * (1 / history.step + 1 / state.rate_seconds))
    growth = state.rate - before
    if growth <= SURE * noise:
        return state.rate
    apart = max(now - history.end + (history.step - state.rate_seconds) / 2, INTERVAL)
    return state.rate + growth * cold / apart


def decide(
    now: float,
    history: History,
    service: Service,
    slo: Slo,
    bounds: Bounds,
    state: State,
    forecaster: Forecaster | None,
) -> Decision:
    """Decide what the HPA is to be told now.

    Args:
        now: seconds since the epoch.
        history: arrivals until now.
        service: what one replica can do, as measured.
        slo: the service level.
        bounds: what people allow.
        state: what is seen of the job, with ``memory`` and ``floors`` of the decision before.
        forecaster: whatever foresees arrivals; None: reactive only.

    Raises:
        ScalingError: a service level that no number of replicas meets, or a budget that does not hold the minimum.
    """
    ahead = service.cold_start.quantile(slo.confidence) + INTERVAL
    steps = max(1, math.ceil((now + ahead - history.end) / history.step))
    forecast = forecaster.predict(history, steps, slo.confidence) if forecaster is not None else None
    tuning = Tuning.of(service, slo, state.missed)
    most = bounds.most(service.gpus)

    asked, reason, sentence, hold_at = 0, Reason.REACTIVE, "no forecast: the history is too short", 0
    if forecast is not None:
        # Beyond what is allowed it is still counted, up to twice, so that people see what is missing.
        soon = now + ahead
        asked, rate = needed(now + tuning.typical, soon, forecast, service, tuning, 2 * most)
        hold_at, _ = needed(now, soon, forecast, service, tuning, 2 * most)
        reason = Reason.FORECAST
        sentence = f"{forecast.model} expects up to {rate:.3g} requests/s within {ahead:.0f} s"
    burst = _burst(history, service, tuning, state, forecast, now, 2 * most)
    if burst > asked:
        asked, reason = burst, Reason.BURST
        sentence = f"{_told(state)} need more than was foreseen"
    hold = tuning.cold if forecast is None else INTERVAL
    floors = (*(one for one in state.floors if one[0] > now - hold), (now, asked))
    kept = max([min(state.replicas, hold_at), *(count for _, count in floors)])
    if kept > asked:
        sentence = f"{asked} would do now, {kept} are kept for what comes before a start would be done"
        reason = Reason.FALLING
    needs = asked
    asked = max(asked, kept) + bounds.warm

    goal = target(state.load, service, tuning)
    spec = reactive.Spec(bounds.min_replicas, most, tuning.up(), tuning.down())
    held, memory = reactive.Shadow(spec, goal, state.memory).step(now, state.replicas, state.load)
    if held > asked:
        reason, sentence = Reason.REACTIVE, f"a load of {state.load:.3g} at {goal:.3g} a replica"
    floor = max(asked, held)
    if asked < bounds.min_replicas and held <= bounds.min_replicas:
        reason, sentence = Reason.MINIMUM, f"{asked} would do, minReplicas is {bounds.min_replicas}"
    if floor > most:
        reason, sentence = Reason.BUDGET, f"{floor} replicas are needed, {most} are allowed"
    floor = min(max(floor, bounds.min_replicas), most)
    made = Decision(floor, most, goal, tuning.behavior(), None, reason, sentence, needs, held, forecast, memory, floors)
    return _zero(made, now, bounds, state, forecast)


def _burst(
    history: History,
    service: Service,
    tuning: Tuning,
    state: State,
    forecast: Forecast | None,
    now: float,
    most: int,
) -> int:
    """Return the replicas for what arrives and waits now; 0 where forecast and noise explain it.

    Without a forecast these are simply the replicas for what arrives, of the last steps where noise explains the rest.
    """
    if state.rate is None:
        return 0
    if forecast is not None:
        rate = expected_burst(now, history, state, service, tuning.cold) or 0.0
        _, _, upper = forecast.highest(now - forecast.step, now + forecast.step)
        if rate <= upper + SURE * math.sqrt(max(upper, 0.0) * service.burstiness / state.rate_seconds):
            return 0
    else:
        # Nothing tells a rise from the ups and downs of every day, so it is not taken to go on.
        known = [one for one in history.rates[-3:] if not math.isnan(one)]
        usual = sum(known) / len(known) if known else state.rate
        noise = SURE * math.sqrt(max(usual, 0.0) * service.burstiness / state.rate_seconds)
        rate = usual if abs(state.rate - usual) <= noise else state.rate
    # What will wait when the replicas that are asked for now are Ready is to be gone within the level's own time.
    behind = state.waiting + max(0.0, state.rate - state.ready * service.rate) * tuning.cold
    return queueing.replicas_for(rate + behind / tuning.drain, service, tuning.slacks, tuning.share, most)


def _told(state: State) -> str:
    return f"{state.rate:.3g} requests/s and {state.waiting:.0f} that wait"


def _zero(made: Decision, now: float, bounds: Bounds, state: State, forecast: Forecast | None) -> Decision:
    """Go to zero replicas after long idleness, and come back; the HPA does neither by itself."""
    soon = 0.0
    if forecast is not None:
        soon = forecast.highest(now, now + forecast.step)[1] * forecast.step
    active = state.load > 0 or (state.rate or 0.0) > 0 or soon >= 1
    if state.replicas == 0:
        if active or bounds.idle_seconds is None:
            told = f"a load of {state.load:.3g}, {soon:.3g} requests are expected within a step"
            return replace(made, replicas=made.min_replicas, reason=Reason.WAKE, sentence=told)
        return replace(made, reason=Reason.IDLE, sentence="nothing arrives", memory=reactive.Memory(), floors=())
    if active or bounds.idle_seconds is None or state.last_request is None:
        return made
    since = now - state.last_request
    if since < bounds.idle_seconds:
        return made
    told = f"nothing arrived for {since:.0f} s, idleSeconds is {bounds.idle_seconds:g}"
    return replace(made, replicas=0, reason=Reason.IDLE, sentence=told, memory=reactive.Memory(), floors=())
