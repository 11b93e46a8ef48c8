"""The oracle: a schedule computed with all arrivals and service times known.

Time is divided into equal intervals. In each interval, the replicas are those that running requests would fill if none
had to wait, times a factor, rounded up. A replica is started one mean cold start ahead, and kept through a gap that is
shorter than a cold start. The result is the cheapest schedule, over several interval lengths and factors, that reaches
the required attainment in a simulation of the same trace.

It is a good schedule, not a proven optimum: `bound` is a lower bound for all schedules.
"""

from __future__ import annotations

import math

import numpy as np

from benchmarks.scaling.policies import Schedule
from benchmarks.scaling.traces import Array
from inferstack.scaling.model import Service, Slo
from inferstack.scaling.simulate import Result, Trace, simulate

LENGTHS = (60.0, 300.0)
TICK = 5.0
STEPS = 5
"""Bisection steps of the factor, between 0.9 and 1.3."""


def bound(trace: Trace, service: Service, seconds: float) -> float:
    """Return the GPU-hours of the requests with all slots always in use."""
    within = np.minimum(trace.arrivals + trace.service_times, seconds) - trace.arrivals
    return float(within.sum()) / service.slots * service.gpus / 3600


def busy(trace: Trace, length: float, seconds: float) -> Array:
    """Return the mean slots in use in each interval if no request waited."""
    count = math.ceil(seconds / length)
    edges = np.arange(count + 1) * length
    ends = np.sort(trace.arrivals + trace.service_times)
    sums_in = np.concatenate([[0.0], np.cumsum(trace.arrivals)])
    sums_out = np.concatenate([[0.0], np.cumsum(ends)])
    # Slot-seconds until t: a started request counts t less its start, a finished one is reduced by t less its end.
    started, finished = np.searchsorted(trace.arrivals, edges), np.searchsorted(ends, edges)
    until = started * edges - sums_in[started] - (finished * edges - sums_out[finished])
    slots: Array = np.diff(until) / length
    return slots


def schedule(needs: list[int], length: float, cold: float) -> list[tuple[float, int]]:
    """Return the changes of a schedule: the replicas of an interval are started one cold start before it.

    Replicas of an earlier interval are kept if the start falls into that interval, which bridges gaps shorter than a
    cold start.
    """
    counts = np.zeros(math.ceil(len(needs) * length / TICK), dtype=int)
    for index, need in enumerate(needs):
        begin = max(0, math.floor((index * length - cold) / TICK))
        end = math.ceil((index + 1) * length / TICK)
        counts[begin:end] = np.maximum(counts[begin:end], need)
    changed = np.flatnonzero(np.diff(counts, prepend=-1))
    return [(float(index) * TICK, int(counts[index])) for index in changed]


def oracle(
    trace: Trace, service: Service, slo: Slo, *, start: int, seconds: float, seed: int, attainment: float
) -> Result:
    """Return the simulation of the cheapest schedule that reaches the attainment."""
    cold = float(np.mean([service.cold_start.quantile(probability) for probability in np.linspace(0.01, 0.99, 99)]))
    best: Result | None = None
    for length in LENGTHS:
        load = busy(trace, length, seconds) / service.slots
        low, high = 0.9, 1.3
        for _ in range(STEPS):
            factor = (low + high) / 2
            needs = [max(1, math.ceil(replicas)) for replicas in (load * factor).tolist()]
            plan = Schedule("oracle", schedule(needs, length, cold))
            result = simulate(trace, plan, service, start=max(start, needs[0]), end=seconds, seed=seed)
            if result.attainment(trace, slo.seconds) >= attainment:
                high = factor
                if best is None or result.gpu_hours < best.gpu_hours:
                    best = result
            else:
                low = factor
    if best is None:
        raise ValueError("no schedule of the oracle reaches the attainment: widen the range of factors")
    return best
