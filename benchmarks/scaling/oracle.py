"""The oracle: a schedule made with each arrival and each request's work known.

It divides time into equal intervals. In each, the replicas are those that the requests in work would fill if none had
to wait, times a factor, rounded up. A replica is ordered early enough to be Ready (the mean cold start ahead) and kept
through a gap that is shorter than a cold start, where giving it back would cost more. Of all lengths and factors tried,
the cheapest schedule that the simulator shows to reach the wanted attainment on this very trace is taken.

It is a good schedule, not a proven optimum: `bound` is what no schedule can go below.
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
"""Bisections of the factor, between 0.9 and 1.3."""


def bound(trace: Trace, service: Service, seconds: float) -> float:
    """Return the GPU-hours that the work takes with every slot always in use."""
    within = np.minimum(trace.arrivals + trace.work, seconds) - trace.arrivals
    return float(within.sum()) / service.slots * service.gpus / 3600


def busy(trace: Trace, length: float, seconds: float) -> Array:
    """Return the mean of slots in use in each interval, if no request waited."""
    count = math.ceil(seconds / length)
    edges = np.arange(count + 1) * length
    ends = np.sort(trace.arrivals + trace.work)
    sums_in = np.concatenate([[0.0], np.cumsum(trace.arrivals)])
    sums_out = np.concatenate([[0.0], np.cumsum(ends)])
    # Slot seconds until t: every request that began counts t less its beginning, every one that ended less its end.
    begun, ended = np.searchsorted(trace.arrivals, edges), np.searchsorted(ends, edges)
    until = begun * edges - sums_in[begun] - (ended * edges - sums_out[ended])
    found: Array = np.diff(until) / length
    return found


def schedule(needs: list[int], length: float, cold: float) -> list[tuple[float, int]]:
    """Return the changes of a schedule: what an interval needs is ordered a cold start before it begins.

    Where the order would come before the replicas of an earlier interval are given back, they are kept, so a gap that
    is shorter than a cold start is bridged.
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
    """Return the cheapest schedule found that reaches the attainment, as simulated."""
    cold = float(np.mean([service.cold_start.quantile(share) for share in np.linspace(0.01, 0.99, 99)]))
    best: Result | None = None
    for length in LENGTHS:
        load = busy(trace, length, seconds) / service.slots
        low, high = 0.9, 1.3
        for _ in range(STEPS):
            factor = (low + high) / 2
            needs = [max(1, math.ceil(one)) for one in (load * factor).tolist()]
            plan = Schedule("oracle", schedule(needs, length, cold))
            result = simulate(trace, plan, service, start=max(start, needs[0]), end=seconds, seed=seed)
            if result.attainment(trace, slo.seconds) >= attainment:
                high = factor
                if best is None or result.gpu_hours < best.gpu_hours:
                    best = result
            else:
                low = factor
    if best is None:
        raise ValueError("no schedule of the oracle's reaches the attainment: widen its factors")
    return best
