"""Calibration: from what replicas did to the capacity of one replica. Pure.

The capacity is the rate of a replica with all slots in use. If requests have waited, that rate has been measured. If
not, it is extrapolated: with batching, the service time grows with the number of concurrent requests,
``T(n) = a + b n`` (a decoding step takes a fixed time plus some per sequence), so by Little's law the replica finishes
``n / T(n)`` requests a second. Least squares over the measurements give a and b, if the concurrency varies enough.
"""

from __future__ import annotations

import enum
import itertools
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from inferstack.api import InferenceJobSpec, MetricType, RuntimeName
from inferstack.scaling.model import Distribution, History

SATURATED_WAITING = 1.0
"""Mean queue length of a replica in one step from which the replica counts as saturated."""
SATURATED_STEPS = 3
"""Saturated steps from which the rate counts as measured."""
IDLE_BELOW = 1e-3
"""Below this many requests a second, or running requests, a replica counts as idle."""
MIN_CONCURRENCY_RATIO = 2.0
"""Ratio of highest to lowest concurrency from which the growth of the service time can be fitted."""
DEFAULT_SLOTS = {RuntimeName.VLLM: 256, RuntimeName.TEXT_EMBEDDINGS_INFERENCE: 32, RuntimeName.TRITON: 8}
"""Default slots without an argument of the job or a measurement: vLLM's --max-num-seqs, a text-embeddings-inference
batch that fills its default token limit with short texts, Triton's preferred batch size."""
_SLOT_FLAGS = ("--max-num-seqs", "--max-batch-requests")
MAX_BURSTINESS = 10.0


class CapacitySource(enum.StrEnum):
    """Origin of a capacity."""

    SATURATION = "Saturation"
    CONCURRENCY = "Concurrency"
    TARGET = "Target"


@dataclass(frozen=True)
class ReplicaLoad:
    """The load of an average replica in one step."""

    finished: float
    """Requests a second."""
    running: float
    """Running requests."""
    waiting: float
    """Queued requests."""

    @property
    def is_busy(self) -> bool:
        """Whether the replica did enough for its speed to be measured."""
        return self.finished >= IDLE_BELOW and self.running >= IDLE_BELOW


@dataclass(frozen=True)
class Capacity:
    """The capacity of one replica."""

    rate: float
    """Requests a second with all slots in use."""
    slots: int
    source: CapacitySource


def capacity(loads: Sequence[ReplicaLoad], spec: InferenceJobSpec, runtime: RuntimeName) -> Capacity | None:
    """Return the capacity of one replica; None without any measurement and without a target in the job.

    Args:
        loads: loads of an average replica in recent steps.
        spec: spec of the job. Its arguments may set the number of slots; its target of requests per second counts
            until there is a measurement.
        runtime: runtime of the job.
    """
    saturated = [load for load in loads if load.waiting >= SATURATED_WAITING and load.is_busy]
    if len(saturated) >= SATURATED_STEPS:
        rate = statistics.median(load.finished for load in saturated)
        # A slot is free for a moment between two requests, which lowers the average.
        slots = max(1, math.ceil(max(load.running for load in saturated) - 1e-6))
        return Capacity(rate, slots, CapacitySource.SATURATION)
    slots = slots_from_args(spec.args) or DEFAULT_SLOTS[runtime]
    busy = [load for load in loads if load.is_busy]
    extrapolated = _extrapolate(busy, slots)
    if extrapolated is not None:
        return extrapolated
    metrics = spec.autoscale.metrics if spec.autoscale else ()
    target = next((metric.target for metric in metrics if metric.type is MetricType.REQUESTS_PER_SECOND), None)
    if target is not None:
        return Capacity(float(target), slots, CapacitySource.TARGET)
    if not busy:
        return None
    # One level of concurrency does not reveal others: assume no more than was measured.
    best = max(busy, key=lambda load: load.finished)
    return Capacity(best.finished, max(1, math.ceil(best.running)), CapacitySource.CONCURRENCY)


def slots_from_args(args: Sequence[str]) -> int | None:
    """Return the slots that the arguments of a server set; None if they set none."""
    for index, argument in enumerate(args):
        flag, equals, value = argument.partition("=")
        if flag in _SLOT_FLAGS:
            value = value if equals else (args[index + 1] if index + 1 < len(args) else "")
            if value.isdecimal() and int(value) > 0:
                return int(value)
    return None


def _extrapolate(busy: Sequence[ReplicaLoad], slots: int) -> Capacity | None:
    if not busy:
        return None
    lowest, highest = (pick(load.running for load in busy) for pick in (min, max))
    if highest < MIN_CONCURRENCY_RATIO * lowest or highest < 1:
        return None
    # n / X = a + b n, each step weighted by its requests: at low concurrency the quotient is mostly noise.
    points = [(load.running, load.running / load.finished, load.finished) for load in busy]
    weight = math.fsum(w for *_, w in points)
    mean_n = math.fsum(n * w for n, _, w in points) / weight
    mean_t = math.fsum(t * w for _, t, w in points) / weight
    spread = math.fsum(w * (n - mean_n) ** 2 for n, _, w in points)
    slope = math.fsum(w * (n - mean_n) * (t - mean_t) for n, t, w in points) / spread if spread > 0 else 0.0
    slope = min(max(slope, 0.0), mean_t / mean_n)  # a batch is not faster than one request; no negative intercept
    intercept = mean_t - slope * mean_n
    rate = max(slots / (intercept + slope * slots), *(load.finished for load in busy))
    return Capacity(rate, slots, CapacitySource.CONCURRENCY)


def burstiness(history: History) -> float:
    """Return the squared coefficient of variation of interarrival times, 1 for a Poisson process.

    Estimated by the index of dispersion of counts from differences between neighbouring steps, which cancels slow
    trends. At least 1, as the rates of Prometheus are smoothed.
    """
    counts = [rate * history.step for rate in history.rates[-720:]]
    pairs = [(a, b) for a, b in itertools.pairwise(counts) if math.isfinite(a) and math.isfinite(b)]
    total = math.fsum(a + b for a, b in pairs)
    if len(pairs) < 10 or total <= 0:
        return 1.0
    # Var(N' - N) is twice the variance; the mean is half of N + N'.
    dispersion = math.fsum((b - a) ** 2 for a, b in pairs) / total
    return min(max(dispersion, 1.0), MAX_BURSTINESS)


def variability(service_time: Distribution) -> float:
    """Return the squared coefficient of variation of a service time, 1 if it is unknown.

    The quantile function is linear between the known points and constant beyond the last one.
    """
    points = ((0.0, service_time.points[0][1]), *service_time.points, (1.0, service_time.points[-1][1]))
    mean = square = 0.0
    for (left, low), (right, high) in itertools.pairwise(points):
        width = right - left
        mean += width * (low + high) / 2
        square += width * (low * low + low * high + high * high) / 3
    return square / (mean * mean) - 1 if mean > 0 else 1.0


def distribution(quantiles: Iterable[tuple[float, float]]) -> Distribution | None:
    """Return measured quantiles as a distribution; None if none is a finite number.

    Each quantile is a separate query, so a request between two queries can make them decrease; they are raised to be
    monotonic.
    """
    points: list[tuple[float, float]] = []
    for quantile, seconds in sorted(quantiles):
        if math.isfinite(seconds) and seconds >= 0:
            points.append((quantile, max(seconds, points[-1][1] if points else 0.0)))
    return Distribution(tuple(points)) if points else None


def missed_fraction(buckets: Iterable[tuple[float, float]], seconds: float) -> float | None:
    """Return the fraction of requests that took longer than a limit; None without requests.

    Requests are assumed to be spread evenly within a bucket, as in ``histogram_quantile`` of Prometheus. All requests
    above the last finite bound count as late.

    Args:
        buckets: upper bounds in seconds with cumulative counts; one bound is infinite.
        seconds: the limit.
    """
    ordered = sorted((bound, count) for bound, count in buckets if math.isfinite(count))
    if not ordered or not math.isinf(ordered[-1][0]) or ordered[-1][1] <= 0:
        return None
    total, low, below = ordered[-1][1], 0.0, 0.0
    for bound, count in ordered:
        if seconds < bound:
            part = (seconds - low) / (bound - low) if math.isfinite(bound) else 0.0
            return min(max(1 - (below + part * max(count - below, 0.0)) / total, 0.0), 1.0)
        low, below = bound, count
    return 0.0


def exponential(mean: float, quantiles: Iterable[float]) -> Distribution:
    """Return the exponential distribution of a mean: the maximum-entropy choice when nothing else is known."""
    return Distribution(tuple((quantile, -math.log1p(-quantile) * mean) for quantile in sorted(quantiles)))
