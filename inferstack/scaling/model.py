"""Input and output of the scaling decision.

Units: times are seconds since the epoch, durations are seconds, rates are requests a second, GPUs are whole GPUs or MIG
slices, as a replica requests them. The caller passes the current time.
"""

from __future__ import annotations

import enum
import itertools
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from inferstack.apimachinery.objects import Object
from inferstack.scaling.errors import ScalingError
from inferstack.scaling.reactive import HpaState


@dataclass(frozen=True)
class Distribution:
    """The distribution of a duration, as points ``(probability, seconds)`` of its quantile function.

    As from ``histogram_quantile`` of Prometheus; linear between the points, constant beyond the ends.

    Raises:
        ScalingError: no points, a probability outside 0 to 1, a negative duration, or decreasing points.
    """

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        if not self.points:
            raise ScalingError("distribution: has no points; at least one (probability, seconds) is required")
        for probability, seconds in self.points:
            if not 0 <= probability <= 1 or not 0 <= seconds < math.inf:
                raise ScalingError(
                    f"distribution: invalid point ({probability}, {seconds}); a probability is 0 to 1, a duration at "
                    "least 0"
                )
        for (low, shorter), (high, longer) in itertools.pairwise(self.points):
            if high <= low or longer < shorter:
                raise ScalingError(f"distribution: decreases from ({low}, {shorter}) to ({high}, {longer})")

    @classmethod
    def fixed(cls, seconds: float) -> Distribution:
        """Return the distribution of a constant duration."""
        return cls(((0.5, seconds),))

    @classmethod
    def of(cls, samples: Sequence[float]) -> Distribution:
        """Return the empirical distribution of samples in any order."""
        ordered = sorted(samples)
        return cls(tuple(((index + 0.5) / len(ordered), value) for index, value in enumerate(ordered)))

    def quantile(self, probability: float) -> float:
        """Return the quantile in seconds."""
        index = bisect_right(self.points, (probability, math.inf))
        if index == 0:
            return self.points[0][1]
        if index == len(self.points):
            return self.points[-1][1]
        (left, low), (right, high) = self.points[index - 1], self.points[index]
        return low + (high - low) * (probability - left) / (right - left)


@dataclass(frozen=True)
class History:
    """Arrival rates of one service, averaged over regular steps, the oldest first.

    The rate of finished requests will not do: it is bounded by the capacity of the replicas and hides an overload.

    Raises:
        ScalingError: a step that is not positive.
    """

    start: float
    """Start of the first step."""
    step: float
    rates: Sequence[float]
    """Requests a second; ``nan`` for unknown."""

    def __post_init__(self) -> None:
        if not 0 < self.step < math.inf:
            raise ScalingError(f"history.step: {self.step} is not positive")

    @property
    def end(self) -> float:
        """End of the last step."""
        return self.start + self.step * len(self.rates)


@dataclass(frozen=True)
class Service:
    """The measured capacity of one replica.

    Raises:
        ScalingError: a number out of range.
    """

    rate: float
    """Service rate: requests a second that one replica finishes with all slots in use."""
    slots: int = 1
    """Concurrent requests (``--max-num-seqs`` of vLLM, ``max_batch_size`` of Triton)."""
    variability: float = 1.0
    """Squared coefficient of variation of the service time; 1 for exponential times."""
    burstiness: float = 1.0
    """Squared coefficient of variation of the interarrival time; 1 for a Poisson process."""
    first_token: Distribution = field(default_factory=lambda: Distribution.fixed(0.0))
    """Time to first token without queueing."""
    latency: Distribution = field(default_factory=lambda: Distribution.fixed(0.0))
    """Time to last token without queueing."""
    cold_start: Distribution = field(default_factory=lambda: Distribution.fixed(60.0))
    """From the request of a replica until it is Ready."""
    gpus: int = 1
    """GPUs or MIG slices of one replica."""

    def __post_init__(self) -> None:
        if not 0 < self.rate < math.inf:
            raise ScalingError(f"service.rate: {self.rate} requests a second is not positive and finite")
        if self.slots < 1:
            raise ScalingError(f"service.slots: {self.slots} is less than 1")
        if self.gpus < 1:
            raise ScalingError(f"service.gpus: {self.gpus} is less than 1")
        for name in ("variability", "burstiness"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ScalingError(f"service.{name}: {getattr(self, name)} is not finite and at least 0")


_BANDS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.975, 0.99, 0.995, 0.999)
"""Lower ends of the bands of `Slo.slacks`."""


class Measure(enum.StrEnum):
    """The indicator of an SLO."""

    QUEUE = "Queue"
    """Queueing time of a request."""
    TIME_TO_FIRST_TOKEN = "TimeToFirstToken"  # noqa: S105  # tokens of a language model
    LATENCY = "Latency"


@dataclass(frozen=True)
class Slo:
    """A service level objective: a fraction of requests within a time limit.

    Raises:
        ScalingError: a fraction outside 0 to 1, or a limit that is not positive.
    """

    seconds: float
    measure: Measure = Measure.TIME_TO_FIRST_TOKEN
    percentile: float = 0.99
    """Fraction of requests that must stay within ``seconds``."""
    confidence: float = 0.95
    """Fraction of time for which the replicas must suffice: the quantile of the forecast to plan for."""

    def __post_init__(self) -> None:
        if not 0 < self.seconds < math.inf:
            raise ScalingError(f"slo.seconds: {self.seconds} is not positive and finite")
        for name in ("percentile", "confidence"):
            if not 0 < getattr(self, name) < 1:
                raise ScalingError(f"slo.{name}: {getattr(self, name)} is not between 0 and 1, exclusive")

    def slacks(self, service: Service) -> tuple[tuple[float, float], ...]:
        """Return ``(seconds, fraction)``: how long each fraction of requests may wait.

        For a limit on the response time, the slack is what the service time leaves. It is computed for bands of the
        service time's distribution, each at its slow end. It is negative if the service time alone exceeds the limit.

        Raises:
            ScalingError: the service time alone misses the SLO, so that no number of replicas helps.
        """
        if self.measure is Measure.QUEUE:
            return ((self.seconds, 1.0),)
        service_time = service.first_token if self.measure is Measure.TIME_TO_FIRST_TOKEN else service.latency
        bands = zip(_BANDS, (*_BANDS[1:], 1.0), strict=True)
        slacks = tuple((self.seconds - service_time.quantile(high), high - low) for low, high in bands)
        if sum(fraction for seconds, fraction in slacks if seconds < 0) >= 1 - self.percentile:
            raise ScalingError(
                f"slo.seconds: no number of replicas meets {self.seconds:g} s of {self.measure.value}: without "
                f"queueing a request takes {service_time.quantile(self.percentile):.3g} s at the "
                f"{100 * self.percentile:.4g}th percentile"
            )
        return slacks


@dataclass(frozen=True)
class Bounds:
    """Bounds set by the user.

    Raises:
        ScalingError: contradictory bounds.
    """

    min_replicas: int = 1
    max_replicas: int = 1000
    warm: int = 0
    """Headroom: replicas beyond the need of the forecast."""
    budget_gpus: int | None = None
    """Maximum number of GPUs of the job."""
    idle_seconds: float | None = None
    """Idle time after which the job scales to 0 replicas; None: never."""

    def __post_init__(self) -> None:
        if not 1 <= self.min_replicas <= self.max_replicas:
            raise ScalingError(
                f"bounds: minReplicas {self.min_replicas} and maxReplicas {self.max_replicas} violate 1 <= min <= max "
                "(idle_seconds allows 0)"
            )
        if self.warm < 0:
            raise ScalingError(f"bounds.warm: {self.warm} is less than 0")
        if self.budget_gpus is not None and self.budget_gpus < 1:
            raise ScalingError(f"bounds.budget_gpus: {self.budget_gpus} is less than 1")
        if self.idle_seconds is not None and not 0 < self.idle_seconds < math.inf:
            raise ScalingError(f"bounds.idle_seconds: {self.idle_seconds} is not positive and finite")

    def limit(self, gpus: int) -> int:
        """Return the maximum number of replicas of ``gpus`` GPUs each.

        Raises:
            ScalingError: the budget is too small for min_replicas.
        """
        if self.budget_gpus is None:
            return self.max_replicas
        affordable = self.budget_gpus // gpus
        if affordable < self.min_replicas:
            raise ScalingError(
                f"bounds.budget_gpus: {self.budget_gpus} GPUs allow {affordable} replicas of {gpus} GPUs, but "
                f"minReplicas is {self.min_replicas}; raise the budget or lower minReplicas"
            )
        return min(self.max_replicas, affordable)


@dataclass(frozen=True)
class ObservedState:
    """The current state of the job."""

    replicas: int
    """``spec.replicas`` of its Deployment."""
    ready: int
    """Ready replicas."""
    load: float
    """Running and queued requests of all replicas at the last scrape, preferably averaged over some seconds."""
    waiting: float = 0.0
    """Queue length: the queued requests among them."""
    rate: float | None = None
    """Current arrival rate, over a short window (10 to 60 s); None if unknown."""
    rate_seconds: float = 60.0
    """Length of that window."""
    missed: float | None = None
    """Measured fraction of requests that missed the SLO over the last hour or so; None if unknown. While it is below
    what the SLO allows, the plan spends the rest of the error budget."""
    last_request: float | None = None
    """Time of the last arrival, or of the creation of the job; None: unknown, the job then never scales to zero."""
    hpa_state: HpaState = field(default_factory=HpaState)
    """`Decision.hpa_state` of the previous decision."""
    floors: tuple[tuple[float, int], ...] = ()
    """`Decision.floors` of the previous decision."""


@dataclass(frozen=True)
class Forecast:
    """Forecast arrival rates, in the steps of the history."""

    model: str
    """Name of the forecasting model."""
    start: float
    """Start of the first step."""
    step: float
    mean: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    """End of a two-sided prediction interval; each end is exceeded with a probability of ``1 - confidence``."""
    confidence: float
    explanation: str = ""
    """Why this model was selected, in one sentence."""

    def highest(self, begin: float, end: float) -> tuple[float, float, float]:
        """Return lower, mean and upper of the step with the highest upper bound between two times.

        Beyond its end, a forecast stays constant.
        """
        last = len(self.mean) - 1
        first = min(max(math.floor((begin - self.start) / self.step), 0), last)
        until = min(max(math.ceil((end - self.start) / self.step) - 1, first), last)
        index = max(range(first, until + 1), key=lambda step: self.upper[step])
        return self.lower[index], self.mean[index], self.upper[index]


class Forecaster(Protocol):
    """Forecasts arrivals, for instance `inferstack.scaling.forecast.BacktestForecaster`."""

    def predict(self, history: History, steps: int, confidence: float) -> Forecast | None:
        """Return a forecast of the steps after the end of the history; None if the history is too short."""
        ...


class Reason(enum.StrEnum):
    """The reason of a decision, for conditions and Events."""

    FORECAST = "Forecast"
    """The upper bound of the forecast determines the replicas."""
    BURST = "Burst"
    """Current arrivals or queued requests exceed the forecast."""
    REACTIVE = "Reactive"
    """The HPA algorithm determines the replicas."""
    FALLING = "Falling"
    """Fewer replicas suffice, but not for long enough to be worth a cold start."""
    MINIMUM = "Minimum"
    BUDGET = "Budget"
    """More replicas are needed than maxReplicas or the GPU budget allows."""
    IDLE = "Idle"
    """No arrivals for the idle time: scale to zero."""
    WAKE = "Wake"
    """Arrivals are observed or forecast: scale up from zero."""


@dataclass(frozen=True)
class Decision:
    """The parameters of the HorizontalPodAutoscaler, and the reason."""

    min_replicas: int
    """At least 1."""
    max_replicas: int
    target: float
    """Target load (running and queued requests) of a replica: ``averageValue`` of the metric."""
    behavior: Object
    """``spec.behavior`` of autoscaling/v2."""
    replicas: int | None
    """Replicas to set in the Deployment, where the HPA cannot: 0 (which pauses the HPA), or up from 0. Else None."""
    reason: Reason
    message: str
    needed: int
    """Replicas of the plan, before bounds and the reactive baseline."""
    reactive: int
    """Reactive baseline: replicas of an HPA with the same target and behavior, but without a forecast."""
    forecast: Forecast | None
    hpa_state: HpaState
    floors: tuple[tuple[float, int], ...]

    @property
    def quantity(self) -> str:
        """The target as a Kubernetes quantity in milli-units."""
        return f"{round(self.target * 1000)}m"

    def capped(self, limit: int) -> Decision:
        """Return the decision with at most ``limit`` replicas, as granted by a shared pool; 0 stops the job."""
        if limit >= self.max_replicas:
            return self
        max_replicas = max(limit, 1)
        replicas = 0 if limit < 1 else self.replicas
        fields: Mapping[str, Any] = {
            **self.__dict__,
            "max_replicas": max_replicas,
            "min_replicas": min(self.min_replicas, max_replicas),
            "replicas": None if replicas is None else min(replicas, max_replicas),
        }
        if self.needed <= limit:
            return Decision(**fields)
        message = f"{self.needed} replicas are needed, the pool grants {max(limit, 0)}"
        return Decision(**{**fields, "reason": Reason.BUDGET, "message": message})
