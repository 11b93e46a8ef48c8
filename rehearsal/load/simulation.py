"""Simulation of one job: its requests, its load balancer and its replicas."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rehearsal.load.arrivals import Arrivals, Request
from rehearsal.load.scenario import JobLoad, ServerModel
from rehearsal.load.server import RequestStats, Server

_IDLE = ServerModel()


@dataclass
class Replica:
    """One pod of a job."""

    server: Server
    accepts_requests: bool = True
    """Whether the load balancer sends requests to it: it is ready and its model is loaded."""


class JobSimulation:
    """A job under load; times are seconds since the load began.

    Args:
        load: load of the job; None for an idle job.
        seed: random seed of requests and routing.
        trace: requests of the trace, if the load has one.
    """

    def __init__(self, load: JobLoad | None, seed: int, trace: Sequence[Request] = ()) -> None:
        self.replicas: dict[str, Replica] = {}
        """By the pod's uid."""
        self._removed_stats = RequestStats()
        """Counts of removed replicas, and of requests without an available replica."""
        self.arrived = 0
        self.generates = True
        """Whether the servers generate tokens; embedding servers do not."""
        self._load = load
        self._arrivals = Arrivals(load, seed, trace) if load else None
        self._random = random.Random(f"{seed}/{load.job}/routing" if load else None)  # noqa: S311  # for reproducibility
        self._now = 0.0

    @property
    def load(self) -> JobLoad | None:
        """The load of the job, None if it is idle."""
        return self._load

    def request_stats(self) -> RequestStats:
        """Return the gateway's counts, which include removed replicas."""
        total = RequestStats()
        for part in (self._removed_stats, *(replica.server.counts.requests for replica in self.replicas.values())):
            total.add(part)
        return total

    def skip(self, now: float) -> None:
        """Start at a later time and discard the requests before it."""
        if self._arrivals:
            self._arrivals.skip(now)
        self._now = max(self._now, now)

    def sync_pods(self, ready: Mapping[str, float], now: float) -> None:
        """Update the replicas from the pods.

        Args:
            ready: time of readiness of each ready pod, by uid.
            now: the current time.
        """
        self.advance(now)
        model = self._load.server if self._load else _IDLE
        timeout = self._load.timeout_seconds if self._load else 0
        for uid, since in ready.items():
            if uid not in self.replicas:
                available_at = since + model.cold_start_seconds
                self.replicas[uid] = Replica(
                    Server(model, timeout, max(available_at, now)), accepts_requests=available_at <= now
                )
            elif not self.replicas[uid].accepts_requests:
                self.replicas[uid].accepts_requests = since + model.cold_start_seconds <= now
        retried: list[Request] = []
        for uid in [uid for uid in self.replicas if uid not in ready]:
            retried += self._remove_replica(uid)
        for request in sorted(retried, key=lambda request: request.at):
            self._send(request)

    def advance(self, now: float) -> None:
        """Advance the simulation to ``now``."""
        if now <= self._now:
            return
        for request in self._arrivals.until(now) if self._arrivals else ():
            self.arrived += 1
            self._send(request if self.generates else replace(request, output=0))
        for replica in self.replicas.values():
            replica.server.advance(now)
        self._now = now

    def _remove_replica(self, uid: str) -> list[Request]:
        """Remove a replica, keep its counts, and return its unfinished requests, which the mesh retries."""
        server = self.replicas.pop(uid).server
        self._removed_stats.add(server.counts.requests)
        return server.take_unfinished()

    def _send(self, request: Request) -> None:
        endpoints = [replica.server for replica in self.replicas.values() if replica.accepts_requests]
        if not endpoints:
            self._removed_stats.refused += 1
            return
        self._choose(endpoints, request.at).enqueue(request)

    def _choose(self, endpoints: Sequence[Server], at: float) -> Server:
        if self._load and self._load.routing == "random":
            return self._random.choice(endpoints)
        # Istio's LEAST_REQUEST: the less loaded of two random choices.
        first, second = self._random.choice(endpoints), self._random.choice(endpoints)
        for server in (first, second):
            server.advance(at)
        return first if first.running + first.waiting <= second.running + second.waiting else second
