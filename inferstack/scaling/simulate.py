"""A simulator of a job: requests, a common queue, replicas with cold starts, and a policy that sets their number.

Simplified where real servers are richer: a replica has a fixed number of slots, a request holds one for a time that was
drawn beforehand, whatever else runs (the slots are those at which the service was measured); requests wait in one queue
in order of arrival and are never lost; nodes for all replicas are there. A replica that is removed takes no new
request and keeps its GPUs until its last one is done, as with graceful termination. Starting replicas hold their GPUs.

Draws come from the seed alone, and the k-th start takes the k-th draw, so all policies meet the same trace.
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
"""Draws of cold starts; taken again from the first where a run has more."""


@dataclass(frozen=True)
class Trace:
    """Requests of one job.

    Raises:
        ScalingError: arrays of different length, arrivals that go back in time, or negative times.
    """

    name: str
    arrivals: Array
    """Seconds, the earliest first."""
    work: Array
    """Seconds that each request holds a slot."""
    first: Array
    """Seconds from the start of its work until its first token."""

    def __post_init__(self) -> None:
        if not len(self.arrivals) == len(self.work) == len(self.first):
            raise ScalingError(f"trace {self.name}: arrivals, work and first differ in length")
        if len(self.arrivals) == 0:
            raise ScalingError(f"trace {self.name}: no requests")
        if np.any(np.diff(self.arrivals) < 0):
            raise ScalingError(f"trace {self.name}: arrivals go back in time")
        if np.any(self.work < 0) or np.any(self.first < 0):
            raise ScalingError(f"trace {self.name}: a negative time")


@dataclass(frozen=True)
class Timing:
    """How the world is looked at."""

    tick: float = 5.0
    """Seconds between two moments at which a policy may act; all else is a multiple of it."""
    scrape: float = 15.0
    """Seconds between two scrapes of Prometheus: policies see nothing fresher."""
    scrape_phase: float = 10.0
    """When the first scrape is, so that a sync at 0, 15, ... sees one that is 5 s old."""


@dataclass
class View:
    """What a policy sees at a moment: the last scrape, and its own replicas."""

    now: float
    replicas: int
    """Asked for and not given back."""
    ready: int
    load: float
    """Requests in work and waiting, at the last scrape."""
    waiting: float
    arrived: list[tuple[float, int]] = field(default_factory=list)
    """Of each scrape so far: when, and how many requests had arrived in all."""
    begun: list[tuple[int, int]] = field(default_factory=list)
    """Of each scrape so far: how many requests had begun, and how many of them within the limit."""
    loads: list[float] = field(default_factory=list)
    """Of each scrape so far: the load."""


class Policy(Protocol):
    """Sets the number of replicas."""

    name: str

    def act(self, view: View) -> int:
        """Return the replicas to have; called at each tick."""
        ...


@dataclass(frozen=True)
class Result:
    """What a policy came to."""

    policy: str
    waits: Array
    """Seconds that each request waited; ``inf`` where none served it."""
    gpu_hours: float
    timeline: tuple[tuple[float, int, int], ...]
    """When the number changed: time, replicas asked for, replicas Ready."""

    def attainment(self, trace: Trace, seconds: float, *, latency: bool = False) -> float:
        """Return the share of requests whose first token, or last with ``latency``, came within so many seconds."""
        return float(np.mean(self.waits + (trace.work if latency else trace.first) <= seconds))


@dataclass
class _Replica:
    begin: float
    ready: float
    end: float | None = None


class _Pool:
    """The replicas and their slots."""

    def __init__(self, slots: int, cold: Array) -> None:
        self.slots = slots
        self.cold = cold
        self.heap: list[tuple[float, int]] = []
        """When each slot is free, and its replica."""
        self.live: dict[int, _Replica] = {}
        self.gone: list[_Replica] = []
        self.draining: list[float] = []
        """When the last requests of removed replicas end."""
        self.started = 0

    def add(self, now: float, count: int, *, warm: bool = False) -> None:
        for _ in range(count):
            ready = now if warm else now + float(self.cold[self.started % len(self.cold)])
            self.live[self.started] = _Replica(now, ready)
            for _ in range(self.slots):
                heapq.heappush(self.heap, (ready, self.started))
            self.started += 1

    def remove(self, now: float, count: int) -> None:
        """Remove those that are not Ready first, then the newest, as a ReplicaSet does."""
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
        """Return the requests in work."""
        self.draining = [finish for finish in self.draining if finish > now]
        starting = {name for name, replica in self.live.items() if replica.ready > now}
        return len(self.draining) + sum(free > now and name not in starting for free, name in self.heap)

    def seconds(self, begin: float, end: float) -> float:
        """Return the replica seconds held between two times."""
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
    """Run a policy over a trace, from time 0.

    Args:
        trace: the requests.
        policy: sets the replicas.
        service: slots, GPUs and cold starts of a replica; its rate is not used, the trace has the work.
        start: replicas that are Ready at time 0.
        end: until when GPUs are counted and requests arrive.
        seed: of the cold starts.
        limit: seconds until a first token, for the count that servers keep of those within.
        timing: of scrapes and ticks.
        grace: how long after the end requests may still begin.
    """
    timing = timing or Timing()
    cold = np.array([service.cold_start.quantile(q) for q in np.random.default_rng(seed).random(COLD_STARTS)])
    pool = _Pool(service.slots, cold)
    pool.add(0.0, start, warm=True)
    arrivals, work = trace.arrivals.tolist(), trace.work.tolist()
    count = len(arrivals)
    waits = np.full(count, np.inf)
    begun: list[float] = []
    view = View(0.0, start, start, 0.0, 0.0)
    within = (0, 0)
    timeline = [(0.0, start, start)]
    now, next_scrape, served = 0.0, timing.scrape_phase, 0
    while now < end + grace and (now < end or served < count):
        served = _serve(pool, arrivals, work, served, now, begun)
        if now >= next_scrape - 1e-9:
            arrived = int(np.searchsorted(trace.arrivals, now, side="right"))
            view.waiting = float(arrived - served)
            view.load = view.waiting + pool.busy(now)
            view.arrived.append((now, arrived))
            view.loads.append(view.load)
            new = slice(within[0], len(begun))
            late = np.array(begun[new]) - trace.arrivals[new] + trace.first[new] > limit
            within = (len(begun), within[1] + len(late) - int(late.sum()))
            view.begun.append(within)
            next_scrape += timing.scrape
        view.now, view.replicas, view.ready = now, len(pool.live), pool.ready(now)
        wanted = policy.act(view)
        if wanted > view.replicas:
            pool.add(now, wanted - view.replicas)
        elif wanted < view.replicas:
            pool.remove(now, view.replicas - wanted)
        if (wanted, view.ready) != timeline[-1][1:]:
            timeline.append((now, wanted, view.ready))
        now += timing.tick
    waits[: len(begun)] = np.array(begun) - trace.arrivals[: len(begun)]
    return Result(policy.name, waits, pool.seconds(0.0, end) * service.gpus / 3600, tuple(timeline))


def _serve(
    pool: _Pool,
    arrivals: list[float],
    work: list[float],
    served: int,
    now: float,
    begun: list[float],
) -> int:
    """Begin all requests that can begin until now, in order; return how many have begun in all."""
    heap = pool.heap
    count = len(arrivals)
    replace, append = heapq.heapreplace, begun.append
    while served < count and heap:
        free, name = heap[0]
        begin = max(arrivals[served], free)
        if begin > now:
            break
        replace(heap, (begin + work[served], name))
        append(begin)
        served += 1
    return served
