"""What the scaling decision is given and what it returns.

Units: times are seconds since the epoch, durations seconds, rates requests a second, GPUs whole cards or slices (what
one replica asks for). Nothing here reads a clock: the caller says what time it is.
"""

from __future__ import annotations

import enum
import math
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from inferstack.scaling.errors import ScalingError
from inferstack.scaling.reactive import Memory

Object = dict[str, Any]


@dataclass(frozen=True)
class Distribution:
    """A measured duration, as points ``(share, seconds)`` of its quantile function.

    As ``histogram_quantile`` of Prometheus gives it; straight lines between the points, flat beyond the ends.

    Raises:
        ScalingError: no points, a share outside 0 to 1, a negative time, or points that fall.
    """

    points: tuple[tuple[float, float], ...]

    def __post_init__(self) -> None:
        if not self.points:
            raise ScalingError("a distribution has no points: give at least one measured (share, seconds)")
        for share, seconds in self.points:
            if not 0 <= share <= 1 or not 0 <= seconds < math.inf:
                raise ScalingError(f"a distribution has the point ({share}, {seconds}): a share is 0 to 1, a time >= 0")
        for (share, seconds), (after, longer) in zip(self.points, self.points[1:], strict=False):
            if after <= share or longer < seconds:
                raise ScalingError(f"a distribution falls from ({share}, {seconds}) to ({after}, {longer}): sort it")

    @classmethod
    def fixed(cls, seconds: float) -> Distribution:
        """Return a duration that is always the same."""
        return cls(((0.5, seconds),))

    @classmethod
    def of(cls, samples: Sequence[float]) -> Distribution:
        """Return the distribution of measured samples, in any order."""
        ordered = sorted(samples)
        return cls(tuple(((index + 0.5) / len(ordered), value) for index, value in enumerate(ordered)))

    def quantile(self, share: float) -> float:
        """Return the seconds that a share of all does not exceed."""
        index = bisect_right(self.points, (share, math.inf))
        if index == 0:
            return self.points[0][1]
        if index == len(self.points):
            return self.points[-1][1]
        (left, low), (right, high) = self.points[index - 1], self.points[index]
        return low + (high - low) * (share - left) / (right - left)


@dataclass(frozen=True)
class History:
    """Arrivals of one service, averaged over regular steps, the oldest first.

    Arrivals, not finished requests: those cannot exceed what the replicas manage and hide an overload.

    Raises:
        ScalingError: a step that is not above 0.
    """

    start: float
    """When the first step begins."""
    step: float
    rates: Sequence[float]
    """Requests a second; ``nan`` where nothing was measured."""

    def __post_init__(self) -> None:
        if not 0 < self.step < math.inf:
            raise ScalingError(f"history.step: is {self.step}; seconds above 0")

    @property
    def end(self) -> float:
        """When the last step ends."""
        return self.start + self.step * len(self.rates)


@dataclass(frozen=True)
class Service:
    """What one replica can do, as measured.

    Raises:
        ScalingError: a number out of its range.
    """

    rate: float
    """Requests a second that one replica finishes while all its slots are in use."""
    slots: int = 1
    """Requests that it works on at once (``--max-num-seqs`` of vLLM, ``max_batch_size`` of Triton)."""
    variability: float = 1.0
    """Squared coefficient of variation of the time that a request holds a slot; 1 for exponential times."""
    burstiness: float = 1.0
    """Squared coefficient of variation of the times between arrivals; 1 for a Poisson stream."""
    first_token: Distribution = field(default_factory=lambda: Distribution.fixed(0.0))
    """Time to the first token of a request that does not wait."""
    latency: Distribution = field(default_factory=lambda: Distribution.fixed(0.0))
    """Time to the last token of a request that does not wait."""
    cold_start: Distribution = field(default_factory=lambda: Distribution.fixed(60.0))
    """From a replica is asked for until it is Ready."""
    gpus: int = 1
    """GPUs, or slices, of one replica."""

    def __post_init__(self) -> None:
        if not 0 < self.rate < math.inf:
            raise ScalingError(f"service.rate: is {self.rate}; requests a second above 0, measured on one replica")
        if self.slots < 1:
            raise ScalingError(f"service.slots: is {self.slots}; at least 1")
        if self.gpus < 1:
            raise ScalingError(f"service.gpus: is {self.gpus}; at least 1")
        for name in ("variability", "burstiness"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ScalingError(f"service.{name}: is {getattr(self, name)}; a squared coefficient is at least 0")


_BANDS = (0.0, 0.5, 0.8, 0.9, 0.95, 0.975, 0.99, 0.995, 0.999)
"""Where the bands of `Slo.slacks` begin."""


class Measure(enum.StrEnum):
    """What the service level is about."""

    QUEUE = "Queue"
    """Seconds that a request waits before a replica works on it."""
    TIME_TO_FIRST_TOKEN = "TimeToFirstToken"  # noqa: S105  # language models count in tokens
    LATENCY = "Latency"


@dataclass(frozen=True)
class Slo:
    """The service level: a share of requests that stay within a time.

    Raises:
        ScalingError: a share outside 0 to 1, or a time that is not above 0.
    """

    seconds: float
    measure: Measure = Measure.TIME_TO_FIRST_TOKEN
    percentile: float = 0.99
    """Share of requests that must stay within ``seconds``."""
    confidence: float = 0.95
    """Share of times at which the replicas must suffice: the quantile of the forecast that is planned for."""

    def __post_init__(self) -> None:
        if not 0 < self.seconds < math.inf:
            raise ScalingError(f"slo.seconds: is {self.seconds}; above 0")
        for name in ("percentile", "confidence"):
            if not 0 < getattr(self, name) < 1:
                raise ScalingError(f"slo.{name}: is {getattr(self, name)}; between 0 and 1, without the ends")

    def slacks(self, service: Service) -> tuple[tuple[float, float], ...]:
        """Return ``(seconds, share)``: for each share of requests, how long one of them may wait.

        Of a limit on work and wait together the rest after the work is left, by bands of the work's distribution, each
        taken at its slow end. A negative time: the work alone takes too long.

        Raises:
            ScalingError: the work alone misses more requests than allowed, so that no number of replicas helps.
        """
        if self.measure is Measure.QUEUE:
            return ((self.seconds, 1.0),)
        work = service.first_token if self.measure is Measure.TIME_TO_FIRST_TOKEN else service.latency
        bands = zip(_BANDS, (*_BANDS[1:], 1.0), strict=True)
        found = tuple((self.seconds - work.quantile(high), high - low) for low, high in bands)
        if sum(share for seconds, share in found if seconds < 0) >= 1 - self.percentile:
            raise ScalingError(
                f"slo.seconds: {self.seconds:g} s of {self.measure.value} cannot be met by any number of replicas: a "
                f"request that does not wait takes {work.quantile(self.percentile):.3g} s at the "
                f"{100 * self.percentile:.4g}th percentile"
            )
        return found


@dataclass(frozen=True)
class Bounds:
    """What people allow.

    Raises:
        ScalingError: bounds that contradict one another.
    """

    min_replicas: int = 1
    max_replicas: int = 1000
    warm: int = 0
    """Replicas kept beyond what the forecast needs, for what no forecast sees."""
    budget_gpus: int | None = None
    """Most GPUs that the job may hold."""
    idle_seconds: float | None = None
    """Without a request for so long the job goes to 0 replicas; None: never."""

    def __post_init__(self) -> None:
        if not 1 <= self.min_replicas <= self.max_replicas:
            raise ScalingError(
                f"bounds: minReplicas {self.min_replicas} and maxReplicas {self.max_replicas}; 1 <= min <= max "
                "(idle_seconds is what allows 0)"
            )
        if self.warm < 0:
            raise ScalingError(f"bounds.warm: is {self.warm}; at least 0")
        if self.budget_gpus is not None and self.budget_gpus < 1:
            raise ScalingError(f"bounds.budget_gpus: is {self.budget_gpus}; at least 1")
        if self.idle_seconds is not None and not 0 < self.idle_seconds < math.inf:
            raise ScalingError(f"bounds.idle_seconds: is {self.idle_seconds}; above 0")

    def most(self, gpus: int) -> int:
        """Return the most replicas of ``gpus`` GPUs each.

        Raises:
            ScalingError: the budget does not hold min_replicas.
        """
        if self.budget_gpus is None:
            return self.max_replicas
        held = self.budget_gpus // gpus
        if held < self.min_replicas:
            raise ScalingError(
                f"bounds.budget_gpus: {self.budget_gpus} GPUs hold {held} replicas of {gpus}, minReplicas is "
                f"{self.min_replicas}: raise the budget or lower minReplicas"
            )
        return min(self.max_replicas, held)


@dataclass(frozen=True)
class State:
    """What is seen of the job now."""

    replicas: int
    """``spec.replicas`` of its Deployment."""
    ready: int
    """Replicas that serve."""
    load: float
    """Requests in work and waiting, of all replicas together, as last scraped; averaged over some seconds is best."""
    waiting: float = 0.0
    """Of these, those that wait."""
    rate: float | None = None
    """Arrivals a second over the last short while (10 to 60 s); None where unknown."""
    rate_seconds: float = 60.0
    """How long that while is."""
    missed: float | None = None
    """Share of requests that missed the service level over the last hour or so, as measured; None where unknown. While
    it is below what the level allows, the rest of this error budget is spent."""
    last_request: float | None = None
    """When the last request arrived, or since when the job is there; None: unknown, it then never goes to zero."""
    memory: Memory = field(default_factory=Memory)
    """`Decision.memory` of the decision before."""
    floors: tuple[tuple[float, int], ...] = ()
    """`Decision.floors` of the decision before."""


@dataclass(frozen=True)
class Forecast:
    """Arrivals to come, at the steps of the history that it was made from."""

    model: str
    """Which forecaster made it."""
    start: float
    """When the first step begins."""
    step: float
    mean: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]
    """Of a two-sided interval: each end is passed with a probability of ``1 - confidence``."""
    confidence: float
    why: str = ""
    """How the forecaster was chosen, one sentence."""

    def highest(self, begin: float, end: float) -> tuple[float, float, float]:
        """Return lower, mean and upper of the step with the highest upper end between two times.

        Beyond its own end a forecast is taken to stay as it is at the end.
        """
        last = len(self.mean) - 1
        first = min(max(math.floor((begin - self.start) / self.step), 0), last)
        until = min(max(math.ceil((end - self.start) / self.step) - 1, first), last)
        index = max(range(first, until + 1), key=lambda step: self.upper[step])
        return self.lower[index], self.mean[index], self.upper[index]


class Forecaster(Protocol):
    """Whatever foresees arrivals. `inferstack.scaling.forecast.Chooser` is one."""

    def predict(self, history: History, steps: int, confidence: float) -> Forecast | None:
        """Return a forecast of so many steps after the history's end, or None where it is too short to say."""
        ...


class Reason(enum.StrEnum):
    """Why the floor is where it is, one word for a condition or an event."""

    FORECAST = "Forecast"
    """The forecast's upper end needs so many."""
    BURST = "Burst"
    """What arrives or waits now needs more than was foreseen."""
    REACTIVE = "Reactive"
    """The HPA's own algorithm holds so many."""
    FALLING = "Falling"
    """Less would do, but not for long enough to be worth a cold start."""
    MINIMUM = "Minimum"
    BUDGET = "Budget"
    """More are needed than the maximum or the budget of GPUs allows."""
    IDLE = "Idle"
    """Nothing arrived for long: to zero."""
    WAKE = "Wake"
    """Something arrived or is foreseen: from zero."""


@dataclass(frozen=True)
class Decision:
    """What to write into the HorizontalPodAutoscaler, and why."""

    min_replicas: int
    """At least 1; the HPA never goes below."""
    max_replicas: int
    target: float
    """Requests in work and waiting, average of a replica: ``averageValue`` of the metric."""
    behavior: Object
    """``spec.behavior`` of autoscaling/v2."""
    replicas: int | None
    """Not None where the Deployment itself must be set, which is for the HPA impossible: to 0 (it then pauses) or
    up from 0."""
    reason: Reason
    sentence: str
    needed: int
    """Replicas that the plan asks for, before bounds and before what reactive holds."""
    reactive: int
    """Replicas that an HPA with the same target and behavior, but without a forecast, would hold now."""
    forecast: Forecast | None
    memory: Memory
    floors: tuple[tuple[float, int], ...]

    @property
    def quantity(self) -> str:
        """The target as a Kubernetes quantity, in thousandths."""
        return f"{round(self.target * 1000)}m"

    def capped(self, most: int) -> Decision:
        """Return the decision with at most so many replicas, which is what sharing a pool grants; 0 stops the job."""
        if most >= self.max_replicas:
            return self
        limit = max(most, 1)
        replicas = 0 if most < 1 else self.replicas
        fields: Mapping[str, Any] = {
            **self.__dict__,
            "max_replicas": limit,
            "min_replicas": min(self.min_replicas, limit),
            "replicas": None if replicas is None else min(replicas, limit),
        }
        if self.needed <= most:
            return Decision(**fields)
        told = f"{self.needed} replicas are needed, the pool grants {max(most, 0)}"
        return Decision(**{**fields, "reason": Reason.BUDGET, "sentence": told})
