"""One job: from what is measured of it to what the algorithm is given, and its decision. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from inferstack.api import InferenceJobSpec, Predictive, RuntimeName, SloMeasure
from inferstack.api.labels import Object
from inferstack.api.replicas import bounds
from inferstack.controllers.scaling import calibrate
from inferstack.controllers.scaling.calibrate import Capacity, Source
from inferstack.controllers.scaling.status import NO_DATA, NO_SLO, Trouble
from inferstack.scaling import reactive
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
from inferstack.scaling.plan import decide
from inferstack.scaling.reactive import Memory

MESHLESS = (
    "; idleSeconds waits, for Prometheus has no istio_requests_total of senders: nothing would tell of a request that "
    "wakes the job up"
)


@dataclass(frozen=True)
class Seen:
    """What is seen of a job in one round."""

    replicas: int
    """That its Deployment wants."""
    ready: int
    up: float | None
    """Replicas that show their metrics; None: no series."""
    rate: float | None
    """Arrivals a second; None: no series, as of a job without replicas at which nobody knocks."""
    running: float | None
    waiting: float | None
    window: float
    """Seconds over which rates were taken."""
    meshed: bool
    """Whether the mesh would tell of requests that find no replica."""


@dataclass
class Known:
    """What is remembered of a job between two rounds."""

    first_seen: float
    memory: Memory = field(default_factory=Memory)
    floors: tuple[tuple[float, int], ...] = ()
    last_request: float | None = None
    capacity: Capacity | None = None
    burstiness: float = 1.0
    work: dict[SloMeasure, Distribution] = field(default_factory=dict)
    """Measured times without waiting."""
    cold: Distribution = field(default_factory=lambda: Distribution.fixed(60.0))
    missed: float | None = None
    """Share of the last hour's requests that missed the service level; None where there were none or nothing tells."""


@dataclass(frozen=True)
class Kept:
    """A forecaster that says what was foreseen elsewhere, until that ends."""

    forecast: Forecast | None

    def predict(self, history: History, steps: int, confidence: float) -> Forecast | None:  # noqa: ARG002  # as Forecaster
        """Return it; None where it is of another confidence, or of times that are over."""
        made = self.forecast
        if made is None or made.confidence != confidence:
            return None
        return made if history.end < made.start + made.step * len(made.mean) else None


@dataclass(frozen=True)
class Made:
    """A decision and what it rests on."""

    decision: Decision
    capacity: Capacity
    cold: float
    """Seconds that a replica takes to start, at the confidence of the service level."""
    beside: str = ""


def remembered(scaling: Object | None) -> Capacity | None:
    """Return the capacity of a replica that an earlier scaler has written down; None where none has."""
    service = (scaling or {}).get("service")
    if not service:
        return None
    rate = float(service["requestsPerSecond"])
    return Capacity(rate, service["slots"], Source(service["source"])) if rate > 0 and service["slots"] > 0 else None


def measure(known: Known, spec: InferenceJobSpec, runtime: RuntimeName, loads: list[calibrate.Load]) -> None:
    """Take what was measured of the last steps into what is known of a job."""
    known.capacity = calibrate.capacity(loads, spec, runtime) or known.capacity


def slo_of(predictive: Predictive) -> Slo:
    """Return the service level of a job in the algorithm's terms."""
    slo = predictive.slo
    return Slo(slo.milliseconds / 1000, Measure(slo.measure.value), slo.percentile / 100, slo.confidence_percent / 100)


def make(
    now: float,
    spec: InferenceJobSpec,
    predictive: Predictive,
    seen: Seen,
    known: Known,
    history: History,
    forecast: Forecast | None,
) -> Made | Trouble:
    """Decide on a job; ``known`` is taken along.

    Args:
        now: seconds since the epoch.
        spec: of the job.
        predictive: of the job.
        seen: in this round.
        known: from the rounds before.
        history: arrivals until now.
        forecast: what is foreseen, if anything is.
    """
    if trouble := _blind(seen):
        return trouble
    if known.capacity is None:
        return Trouble(
            NO_DATA,
            "what a replica can do is not known yet: requests must have been served, or autoscale.metrics must name a "
            "target of RequestsPerSecond",
        )
    load = (seen.running or 0.0) + (seen.waiting or 0.0)
    if load > 0 or (seen.rate or 0.0) > 0:
        known.last_request = now
    slo = slo_of(predictive)
    try:
        decision = decide(
            now,
            history,
            _service(known, spec),
            slo,
            _bounds(spec, predictive, seen),
            State(
                replicas=seen.replicas,
                ready=seen.ready,
                load=load,
                waiting=seen.waiting or 0.0,
                rate=seen.rate,
                rate_seconds=seen.window,
                missed=known.missed,
                last_request=known.last_request if known.last_request is not None else known.first_seen,
                memory=known.memory,
                floors=known.floors,
            ),
            Kept(forecast),
        )
    except ScalingError as error:
        return Trouble(NO_SLO, str(error))
    known.memory, known.floors = decision.memory, decision.floors
    decision = _named(decision, load)
    beside = MESHLESS if predictive.idle_seconds is not None and not seen.meshed else ""
    return Made(decision, known.capacity, known.cold.quantile(slo.confidence), beside)


def _named(decision: Decision, load: float) -> Decision:
    """Say Budget of a load that asks for more than is allowed: the autoscaler's shadow stops at what it is told."""
    asks = math.ceil(load / decision.target - reactive.TOLERANCE)
    if decision.replicas == 0 or decision.reason is not Reason.REACTIVE or asks <= decision.max_replicas:
        return decision
    told = f"{asks} replicas are needed for a load of {load:.3g}, {decision.max_replicas} are allowed"
    return replace(decision, reason=Reason.BUDGET, sentence=told)


def _blind(seen: Seen) -> Trouble | None:
    """Return why nothing can be said of the load; None where it is seen."""
    if seen.replicas == 0 or seen.up is not None:
        return None
    if seen.ready == 0:
        return Trouble(NO_DATA, f"none of {seen.replicas} replicas serves yet")
    return Trouble(
        NO_DATA, f"Prometheus has no series of {seen.ready} replicas that serve: are they scraped, and long enough?"
    )


def _service(known: Known, spec: InferenceJobSpec) -> Service:
    assert known.capacity is not None  # noqa: S101  # `make` has looked
    nothing = Distribution.fixed(0.0)
    latency = known.work.get(SloMeasure.LATENCY)
    return Service(
        rate=known.capacity.rate,
        slots=known.capacity.slots,
        variability=min(calibrate.variability(latency), calibrate.MOST_BURSTINESS) if latency else 1.0,
        burstiness=known.burstiness,
        first_token=known.work.get(SloMeasure.TIME_TO_FIRST_TOKEN, nothing),
        latency=latency or nothing,
        cold_start=known.cold,
        gpus=spec.resources.gpus,
    )


def _bounds(spec: InferenceJobSpec, predictive: Predictive, seen: Seen) -> Bounds:
    assert spec.autoscale is not None  # noqa: S101  # predictive is a part of it
    low, high = bounds(spec.replicas, spec.autoscale)
    return Bounds(
        min_replicas=low,
        max_replicas=high,
        warm=predictive.warm_replicas,
        budget_gpus=predictive.budget_gpus,
        idle_seconds=predictive.idle_seconds if seen.meshed else None,
    )
