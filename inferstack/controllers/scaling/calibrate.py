"""From what replicas did to what one replica can do. Pure.

The rate that counts is that of a replica at its limit, when all its slots are in use. Where requests have waited, it is
seen. Else it is extrapolated: of a batching server the time of a request grows with the number of requests in work,
``T(n) = a + b n`` (a step of decoding takes a fixed time and some for each sequence), so that by Little's law it
finishes ``n / T(n)`` a second; a and b come from least squares over what was seen, where the numbers differ enough.
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

LIMIT_WAITING = 1.0
"""Requests that wait at a replica, on average of a step, from which on it counts as at its limit."""
LIMIT_STEPS = 3
"""Steps at the limit from which on the rate counts as seen."""
LEAST = 1e-3
"""Of requests a second and of requests in work: less is no work."""
SPREAD = 2.0
"""Ratio of most to fewest requests in work from which on their times tell how they grow."""
SLOTS = {RuntimeName.VLLM: 256, RuntimeName.TEXT_EMBEDDINGS_INFERENCE: 32, RuntimeName.TRITON: 8}
"""Slots where neither the job nor a measurement says: vLLM's --max-num-seqs, a batch of text-embeddings-inference that
fills its default of tokens with short texts, Triton's preferred batch."""
_SLOT_FLAGS = ("--max-num-seqs", "--max-batch-requests")
MOST_BURSTINESS = 10.0


class Source(enum.StrEnum):
    """How a rate is known."""

    SATURATION = "Saturation"
    CONCURRENCY = "Concurrency"
    TARGET = "Target"


@dataclass(frozen=True)
class Load:
    """One step of one replica, on average."""

    finished: float
    """Requests a second."""
    running: float
    """Requests in work."""
    waiting: float
    """Requests that wait."""

    @property
    def works(self) -> bool:
        """Whether it tells anything of how fast a replica is."""
        return self.finished >= LEAST and self.running >= LEAST


@dataclass(frozen=True)
class Capacity:
    """What one replica can do."""

    rate: float
    """Requests a second with all slots in use."""
    slots: int
    source: Source


def capacity(loads: Sequence[Load], spec: InferenceJobSpec, runtime: RuntimeName) -> Capacity | None:
    """Return what one replica can do; None where nothing was measured and the job says nothing either.

    Args:
        loads: of the last steps, averages of a replica.
        spec: of the job; its number of slots, where its arguments tell it, and its target of requests a second, which
            counts until there is a measurement.
        runtime: which server it is.
    """
    limit = [load for load in loads if load.waiting >= LIMIT_WAITING and load.works]
    if len(limit) >= LIMIT_STEPS:
        rate = statistics.median(load.finished for load in limit)
        # Slots that are free for a moment between two requests lower the average.
        slots = max(1, math.ceil(max(load.running for load in limit) - 1e-6))
        return Capacity(rate, slots, Source.SATURATION)
    slots = told_slots(spec.args) or SLOTS[runtime]
    busy = [load for load in loads if load.works]
    found = _extrapolated(busy, slots)
    if found is not None:
        return found
    target = next(
        (one.target for one in (spec.autoscale.metrics if spec.autoscale else ()) if one.type is _TARGET), None
    )
    if target is not None:
        return Capacity(float(target), slots, Source.TARGET)
    if not busy:
        return None
    # One number of requests in work tells nothing of others: what was seen, and no more of it.
    best = max(busy, key=lambda load: load.finished)
    return Capacity(best.finished, max(1, math.ceil(best.running)), Source.CONCURRENCY)


_TARGET = MetricType.REQUESTS_PER_SECOND


def told_slots(args: Sequence[str]) -> int | None:
    """Return the slots that a server's arguments tell; None where they do not."""
    for index, argument in enumerate(args):
        flag, equals, value = argument.partition("=")
        if flag in _SLOT_FLAGS:
            value = value if equals else (args[index + 1] if index + 1 < len(args) else "")
            if value.isdecimal() and int(value) > 0:
                return int(value)
    return None


def _extrapolated(busy: Sequence[Load], slots: int) -> Capacity | None:
    if not busy:
        return None
    fewest, most = (pick(load.running for load in busy) for pick in (min, max))
    if most < SPREAD * fewest or most < 1:
        return None
    # n / X = a + b n, each step weighed by its requests: where few were in work, the quotient is mostly noise.
    points = [(load.running, load.running / load.finished, load.finished) for load in busy]
    weight = math.fsum(w for *_, w in points)
    middle_n = math.fsum(n * w for n, _, w in points) / weight
    middle_t = math.fsum(t * w for _, t, w in points) / weight
    spread = math.fsum(w * (n - middle_n) ** 2 for n, _, w in points)
    slope = math.fsum(w * (n - middle_n) * (t - middle_t) for n, t, w in points) / spread if spread > 0 else 0.0
    slope = min(max(slope, 0.0), middle_t / middle_n)  # neither faster in company, nor a negative time alone
    alone = middle_t - slope * middle_n
    rate = max(slots / (alone + slope * slots), *(load.finished for load in busy))
    return Capacity(rate, slots, Source.CONCURRENCY)


def burstiness(history: History) -> float:
    """Return the squared coefficient of variation of times between arrivals, 1 for a Poisson stream.

    By the index of dispersion of counts, from differences of neighbours, in which what rises slowly cancels out. At
    least 1: rates that Prometheus smooths look calmer than the requests were.
    """
    counts = [rate * history.step for rate in history.rates[-720:]]
    pairs = [(one, other) for one, other in itertools.pairwise(counts) if math.isfinite(one) and math.isfinite(other)]
    total = math.fsum(one + other for one, other in pairs)
    if len(pairs) < 10 or total <= 0:
        return 1.0
    # Var(N' - N) is twice the variance; the mean of both is half their sum.
    dispersion = math.fsum((other - one) ** 2 for one, other in pairs) / total
    return min(max(dispersion, 1.0), MOST_BURSTINESS)


def variability(work: Distribution) -> float:
    """Return the squared coefficient of variation of a measured time, 1 where it is unknown.

    Of the straight lines between the points that are known; beyond the last, all is as long as it.
    """
    points = ((0.0, work.points[0][1]), *work.points, (1.0, work.points[-1][1]))
    mean = square = 0.0
    for (left, low), (right, high) in itertools.pairwise(points):
        width = right - left
        mean += width * (low + high) / 2
        square += width * (low * low + low * high + high * high) / 3
    return square / (mean * mean) - 1 if mean > 0 else 1.0


def distribution(quantiles: Iterable[tuple[float, float]]) -> Distribution | None:
    """Return measured quantiles as a distribution; None where none is a number.

    Each was asked for by itself, so a request that came between two questions can have them fall: they are lifted.
    """
    made: list[tuple[float, float]] = []
    for share, seconds in sorted(quantiles):
        if math.isfinite(seconds) and seconds >= 0:
            made.append((share, max(seconds, made[-1][1] if made else 0.0)))
    return Distribution(tuple(made)) if made else None


def missed(buckets: Iterable[tuple[float, float]], seconds: float) -> float | None:
    """Return the share of requests that took longer; None where there were none.

    Between two bounds requests are taken to be spread evenly, as ``histogram_quantile`` of Prometheus does; beyond the
    last finite one, all count as late.

    Args:
        buckets: upper bounds in seconds, with the requests up to each; one bound is infinite.
        seconds: the limit.
    """
    ordered = sorted((bound, count) for bound, count in buckets if math.isfinite(count))
    if not ordered or not math.isinf(ordered[-1][0]) or ordered[-1][1] <= 0:
        return None
    total, low, before = ordered[-1][1], 0.0, 0.0
    for bound, count in ordered:
        if seconds < bound:
            part = (seconds - low) / (bound - low) if math.isfinite(bound) else 0.0
            return min(max(1 - (before + part * max(count - before, 0.0)) / total, 0.0), 1.0)
        low, before = bound, count
    return 0.0


def exponential(mean: float, shares: Iterable[float]) -> Distribution:
    """Return the distribution of which only the mean is known, taken as exponential: of that mean the most random."""
    return Distribution(tuple((share, -math.log1p(-share) * mean) for share in sorted(shares)))
