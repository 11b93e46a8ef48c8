"""The decision on one job: maps its measurements to the input of `inferstack.scaling.plan`. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from inferstack.api import InferenceJobSpec, Predictive, SloMeasure
from inferstack.api.replicas import bounds
from inferstack.api.runtimes import Runtime
from inferstack.apimachinery.objects import Object
from inferstack.controllers.scaling import calibration
from inferstack.controllers.scaling.calibration import Capacity, CapacitySource
from inferstack.controllers.scaling.status import NO_DATA, NO_SLO, NoDecision
from inferstack.scaling import reactive
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
from inferstack.scaling.plan import decide
from inferstack.scaling.reactive import HpaState

NO_MESH_NOTE = (
    "; idleSeconds has no effect: Prometheus has no istio_requests_total with reporter source, so a request that must "
    "wake up the job would go unnoticed"
)


@dataclass(frozen=True)
class PredictiveJob:
    """A job that requests predictive scaling."""

    key: str
    """namespace/name."""
    raw: Object
    spec: InferenceJobSpec
    predictive: Predictive
    runtime: Runtime

    @property
    def scaling(self) -> Object | None:
        """Its published ``status.scaling``."""
        scaling: Object | None = (self.raw.get("status") or {}).get("scaling")
        return scaling


@dataclass(frozen=True)
class Observation:
    """The load of a job in one round."""

    replicas: int
    """``spec.replicas`` of its Deployment."""
    ready: int
    up: float | None
    """Replicas that expose metrics; None: no series."""
    arrival_rate: float | None
    """Requests a second; None: no series, as for a job at 0 replicas without requests."""
    running: float | None
    waiting: float | None
    window: float
    """Window of the rates, in seconds."""
    mesh_metrics: bool
    """Whether the mesh would report requests that find no replica."""


@dataclass
class JobState:
    """The state of a job between two rounds."""

    first_seen: float
    hpa_state: HpaState = field(default_factory=HpaState)
    floors: tuple[tuple[float, int], ...] = ()
    last_request: float | None = None
    capacity: Capacity | None = None
    burstiness: float = 1.0
    service_times: dict[SloMeasure, Distribution] = field(default_factory=dict)
    """Measured durations without queueing time."""
    cold_start: Distribution = field(default_factory=lambda: Distribution.fixed(60.0))
    missed: float | None = None
    """Fraction of the requests of the last hour that missed the SLO; None without requests or without metrics."""


@dataclass(frozen=True)
class CachedForecast:
    """A forecaster that returns a forecast computed elsewhere, until that expires."""

    forecast: Forecast | None

    def predict(self, history: History, steps: int, confidence: float) -> Forecast | None:  # noqa: ARG002  # as Forecaster
        """Return the forecast; None if it is for another confidence or has expired."""
        forecast = self.forecast
        if forecast is None or forecast.confidence != confidence:
            return None
        return forecast if history.end < forecast.start + forecast.step * len(forecast.mean) else None


@dataclass(frozen=True)
class JobDecision:
    """A decision and the measurements behind it."""

    decision: Decision
    capacity: Capacity
    cold_start: float
    """Seconds of a cold start, at the confidence of the SLO."""
    note: str = ""
    """Appended to the message of the decision."""


def published_capacity(scaling: Object | None) -> Capacity | None:
    """Return the capacity of a replica that an earlier scaler process has published; None if there is none."""
    service = (scaling or {}).get("service")
    if not service:
        return None
    rate = float(service["requestsPerSecond"])
    valid = rate > 0 and service["slots"] > 0
    return Capacity(rate, service["slots"], CapacitySource(service["source"])) if valid else None


def slo_of(predictive: Predictive) -> Slo:
    """Return the SLO of a job as the algorithm takes it."""
    slo = predictive.slo
    return Slo(slo.milliseconds / 1000, Measure(slo.measure.value), slo.percentile / 100, slo.confidence_percent / 100)


def decide_job(
    now: float,
    spec: InferenceJobSpec,
    predictive: Predictive,
    observation: Observation,
    state: JobState,
    history: History,
    forecast: Forecast | None,
) -> JobDecision | NoDecision:
    """Decide on a job and update ``state``.

    Args:
        now: seconds since the epoch.
        spec: spec of the job.
        predictive: ``spec.autoscale.predictive`` of the job.
        observation: load in this round.
        state: state of the job from the previous rounds.
        history: arrivals until now.
        forecast: latest forecast, if any.
    """
    if no_data := _missing_data(observation):
        return no_data
    if state.capacity is None:
        return NoDecision(
            NO_DATA,
            "the capacity of a replica is unknown: the job must have served requests, or autoscale.metrics must set a "
            "target of RequestsPerSecond",
        )
    load = (observation.running or 0.0) + (observation.waiting or 0.0)
    if load > 0 or (observation.arrival_rate or 0.0) > 0:
        state.last_request = now
    slo = slo_of(predictive)
    try:
        decision = decide(
            now,
            history,
            _service(state, state.capacity, spec),
            slo,
            _bounds(spec, predictive, observation),
            ObservedState(
                replicas=observation.replicas,
                ready=observation.ready,
                load=load,
                waiting=observation.waiting or 0.0,
                rate=observation.arrival_rate,
                rate_seconds=observation.window,
                missed=state.missed,
                last_request=state.last_request if state.last_request is not None else state.first_seen,
                hpa_state=state.hpa_state,
                floors=state.floors,
            ),
            CachedForecast(forecast),
        )
    except ScalingError as error:
        return NoDecision(NO_SLO, str(error))
    state.hpa_state, state.floors = decision.hpa_state, decision.floors
    decision = _report_shortage(decision, load)
    note = NO_MESH_NOTE if predictive.idle_seconds is not None and not observation.mesh_metrics else ""
    return JobDecision(decision, state.capacity, state.cold_start.quantile(slo.confidence), note)


def _report_shortage(decision: Decision, load: float) -> Decision:
    """Give the reason Budget to a load that needs more than is allowed: the reactive baseline stops at its maximum."""
    needed = math.ceil(load / decision.target - reactive.TOLERANCE)
    if decision.replicas == 0 or decision.reason is not Reason.REACTIVE or needed <= decision.max_replicas:
        return decision
    message = f"{needed} replicas are needed for a load of {load:.3g}, {decision.max_replicas} are allowed"
    return replace(decision, reason=Reason.BUDGET, message=message)


def _missing_data(observation: Observation) -> NoDecision | None:
    """Return why the load of a job is unknown; None if it is known."""
    if observation.replicas == 0 or observation.up is not None:
        return None
    if observation.ready == 0:
        return NoDecision(NO_DATA, f"none of {observation.replicas} replicas is ready")
    return NoDecision(
        NO_DATA,
        f"Prometheus has no series of {observation.ready} ready replicas: check that they are scraped, and since when",
    )


def _service(state: JobState, capacity: Capacity, spec: InferenceJobSpec) -> Service:
    unknown = Distribution.fixed(0.0)
    latency = state.service_times.get(SloMeasure.LATENCY)
    return Service(
        rate=capacity.rate,
        slots=capacity.slots,
        variability=min(calibration.variability(latency), calibration.MAX_BURSTINESS) if latency else 1.0,
        burstiness=state.burstiness,
        first_token=state.service_times.get(SloMeasure.TIME_TO_FIRST_TOKEN, unknown),
        latency=latency or unknown,
        cold_start=state.cold_start,
        gpus=spec.resources.gpus,
    )


def _bounds(spec: InferenceJobSpec, predictive: Predictive, observation: Observation) -> Bounds:
    assert spec.autoscale is not None  # noqa: S101  # predictive is a part of it
    low, high = bounds(spec.replicas, spec.autoscale)
    return Bounds(
        min_replicas=low,
        max_replicas=high,
        warm=predictive.warm_replicas,
        budget_gpus=predictive.budget_gpus,
        idle_seconds=predictive.idle_seconds if observation.mesh_metrics else None,
    )
