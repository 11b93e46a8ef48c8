"""Simulator of a job: requests in one shared queue, replicas with cold starts, and a policy that sets their number.

Simplifications: a replica has a fixed number of slots. A request holds a slot for a service time drawn in advance,
whatever else runs. Requests wait in one FIFO queue and are never lost. There are nodes for all replicas. A removed
replica takes no new requests and keeps its GPUs until its last request is done, as with graceful termination. Starting
replicas hold their GPUs.

All random numbers come from the seed, and the k-th start takes the k-th draw, so all policies meet the same conditions.
"""

from __future__ import annotations

import heapq
import math
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from inferstack.scaling.errors import ScalingError
from inferstack.scaling.model import Service

Array = NDArray[np.float64]
COLD_STARTS = 4096
"""Number of draws of cold starts; a run with more starts again from the first."""


@dataclass(frozen=True)
class Trace:
    """Requests of one job.

    Raises:
        ScalingError: arrays of different lengths, decreasing arrivals, or negative durations.
    """

    name: str
    arrivals: Array
    """Arrival times in seconds, in ascending order."""
    service_times: Array
    """Seconds for which each request holds a slot."""
    first_token: Array
    """Seconds from the start of service to the first token."""

    def __post_init__(self) -> None:
        if not len(self.arrivals) == len(self.service_times) == len(self.first_token):
            raise ScalingError(f"trace {self.name}: arrivals, service_times and first_token differ in length")
        if len(self.arrivals) == 0:
            raise ScalingError(f"trace {self.name}: arrivals is empty")
        if np.any(np.diff(self.arrivals) < 0):
            raise ScalingError(f"trace {self.name}: arrivals are not in ascending order")
        if np.any(self.service_times < 0) or np.any(self.first_token < 0):
            raise ScalingError(f"trace {self.name}: negative service_times or first_token")


@dataclass(frozen=True)
class Timing:
    """Sampling of the simulation."""

    tick: float = 5.0
    """Seconds between two actions of a policy; all other periods are multiples of it."""
    scrape: float = 15.0
    """Scrape interval of Prometheus; policies see the last scrape."""
    scrape_phase: float = 10.0
    """Time of the first scrape, so that a sync at 0, 15, ... sees a scrape that is 5 s old."""


@dataclass
class View:
    """What a policy sees: the last scrape, and the current replicas."""

    now: float
    replicas: int
    """Requested replicas, Ready or not."""
    ready: int
    load: float
    """Running and queued requests at the last scrape."""
    waiting: float
    arrived: list[tuple[float, int]] = field(default_factory=list)
    """For each scrape: time, and total number of arrivals."""
    started: list[tuple[int, int]] = field(default_factory=list)
    """For each scrape: total number of started requests, and how many of them within the limit."""
    loads: list[float] = field(default_factory=list)
    """For each scrape: the load."""


class Policy(Protocol):
    """Sets the number of replicas."""

    name: str

    def act(self, view: View) -> int:
        """Return the desired replicas; called at each tick."""
        ...


@dataclass(frozen=True)
class Result:
    """The outcome of a policy."""

    policy: str
    waits: Array
    """Queueing time of each request in seconds; ``inf`` for requests that were never served."""
    gpu_hours: float
    timeline: tuple[tuple[float, int, int], ...]
    """Changes of the replica count: time, desired replicas, Ready replicas."""

    def attainment(self, trace: Trace, seconds: float, *, latency: bool = False) -> float:
        """Return the fraction of requests whose first token (with ``latency``: last token) came within the limit."""
        return float(np.mean(self.waits + (trace.service_times if latency else trace.first_token) <= seconds))


@dataclass
class _Replica:
    begin: float
    ready: float
    end: float | None = None


class _Pool:
    """Replicas and their slots."""

    def __init__(self, slots: int, cold: Array) -> None:
        self.slots = slots
        self.cold = cold
        self.heap: list[tuple[float, int]] = []
        """When each slot becomes free, and its replica."""
        self.live: dict[int, _Replica] = {}
        self.gone: list[_Replica] = []
        self.draining: list[float] = []
        """When the running requests of removed replicas end."""
        self.started = 0

    def add(self, now: float, count: int, *, warm: bool = False) -> None:
        for _ in range(count):
            ready = now if warm else now + float(self.cold[self.started % len(self.cold)])
            self.live[self.started] = _Replica(now, ready)
            for _ in range(self.slots):
                heapq.heappush(self.heap, (ready, self.started))
            self.started += 1

    def remove(self, now: float, count: int) -> None:
        """Remove replicas that are not Ready first, then the newest, as a ReplicaSet does."""
        order = sorted(self.live, key=lambda name: (self.live[name].ready <= now, -self.live[name].begin, -name))
        chosen = set(order[:count])
        last = dict.fromkeys(chosen, now)
        for free, name in self.heap:
            if name in chosen and free > now >= self.live[name].ready:
                last[name] = max(last[name], free)
                self.draining.append(free)
        for name in chosen:
            replica = self.live.pop(name)
            replica.end = last[name]
            self.gone.append(replica)
        self.heap = [slot for slot in self.heap if slot[1] not in chosen]
        heapq.heapify(self.heap)

    def ready(self, now: float) -> int:
        return sum(replica.ready <= now for replica in self.live.values())

    def busy(self, now: float) -> int:
        """Return the running requests."""
        self.draining = [finish for finish in self.draining if finish > now]
        starting = {name for name, replica in self.live.items() if replica.ready > now}
        return len(self.draining) + sum(free > now and name not in starting for free, name in self.heap)

    def seconds(self, begin: float, end: float) -> float:
        """Return the replica-seconds held between two times."""
        held = 0.0
        for replica in (*self.live.values(), *self.gone):
            until = end if replica.end is None else min(replica.end, end)
            held += max(0.0, until - max(replica.begin, begin))
        return held


def simulate(
    trace: Trace,
    policy: Policy,
    service: Service,
    *,
    start: int,
    end: float,
    seed: int,
    limit: float = math.inf,
    timing: Timing | None = None,
    grace: float = 600.0,
) -> Result:
    """Run a policy on a trace, from time 0.

    Args:
        trace: the requests.
        policy: sets the replicas.
        service: slots, GPUs and cold starts of a replica; its rate is not used, as the trace has the service times.
        start: Ready replicas at time 0.
        end: end of arrivals and of the GPU-hours.
        seed: seed of the cold starts.
        limit: limit of the time to first token in seconds, for ``View.started``.
        timing: periods of scrapes and ticks.
        grace: seconds after the end in which requests may still start.
    """
    timing = timing or Timing()
    cold = np.array([service.cold_start.quantile(q) for q in np.random.default_rng(seed).random(COLD_STARTS)])
    pool = _Pool(service.slots, cold)
    pool.add(0.0, start, warm=True)
    arrivals, service_times = trace.arrivals.tolist(), trace.service_times.tolist()
    count = len(arrivals)
    waits = np.full(count, np.inf)
    started: list[float] = []
    view = View(0.0, start, start, 0.0, 0.0)
    within = (0, 0)
    timeline = [(0.0, start, start)]
    now, next_scrape, served = 0.0, timing.scrape_phase, 0
    while now < end + grace and (now < end or served < count):
        served = _serve(pool, arrivals, service_times, served, now, started)
        if now >= next_scrape - 1e-9:
            arrived = int(np.searchsorted(trace.arrivals, now, side="right"))
            view.waiting = float(arrived - served)
            view.load = view.waiting + pool.busy(now)
            view.arrived.append((now, arrived))
            view.loads.append(view.load)
            new = slice(within[0], len(started))
            late = np.array(started[new]) - trace.arrivals[new] + trace.first_token[new] > limit
            within = (len(started), within[1] + len(late) - int(late.sum()))
            view.started.append(within)
            next_scrape += timing.scrape
        view.now, view.replicas, view.ready = now, len(pool.live), pool.ready(now)
        desired = policy.act(view)
        if desired > view.replicas:
            pool.add(now, desired - view.replicas)
        elif desired < view.replicas:
            pool.remove(now, view.replicas - desired)
        if (desired, view.ready) != timeline[-1][1:]:
            timeline.append((now, desired, view.ready))
        now += timing.tick
    waits[: len(started)] = np.array(started) - trace.arrivals[: len(started)]
    return Result(policy.name, waits, pool.seconds(0.0, end) * service.gpus / 3600, tuple(timeline))


def _serve(
    pool: _Pool,
    arrivals: list[float],
    service_times: list[float],
    served: int,
    now: float,
    started: list[float],
) -> int:
    """Start all requests that can start until now, in order; return the total number of started requests."""
    heap = pool.heap
    count = len(arrivals)
    replace, append = heapq.heapreplace, started.append
    while served < count and heap:
        free, name = heap[0]
        begin = max(arrivals[served], free)
        if begin > now:
            break
        replace(heap, (begin + service_times[served], name))
        append(begin)
        served += 1
    return served
