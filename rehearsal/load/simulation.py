"""One job: its requests, the balancer before its replicas, and the replicas as they come and go."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rehearsal.load.arrivals import Arrivals, Request
from rehearsal.load.scenario import JobLoad, ServerModel
from rehearsal.load.server import Answers, Server

_IDLE = ServerModel()


@dataclass
class Replica:
    """One pod of a job."""

    server: Server
    takes: bool = True
    """Whether the balancer sends it requests: it is ready and its model is loaded."""


class JobSimulation:
    """A job under load; times are seconds since the load began.

    Args:
        load: of the job; None: it is idle and shows zeros.
        seed: of requests and choices.
        trace: the requests, where the load has a trace.
    """

    def __init__(self, load: JobLoad | None, seed: int, trace: Sequence[Request] = ()) -> None:
        self.replicas: dict[str, Replica] = {}
        """By the pod's uid."""
        self._gone = Answers()
        """What replicas have answered that are no more, and what none was there for."""
        self.arrived = 0
        self.generates = True
        """Whether the servers write answers token by token; those of embeddings only read."""
        self._load = load
        self._arrivals = Arrivals(load, seed, trace) if load else None
        self._random = random.Random(f"{seed}/{load.job}/routing" if load else None)  # noqa: S311  # to be repeated
        self._now = 0.0

    @property
    def load(self) -> JobLoad | None:
        """What is asked of the job; None where it is idle."""
        return self._load

    def answers(self) -> Answers:
        """Return what the gateway has counted: it knows of replicas that are no more, too."""
        found = Answers()
        for part in (self._gone, *(replica.server.counts.answers for replica in self.replicas.values())):
            found.add(part)
        return found

    def skip(self, now: float) -> None:
        """Begin at a later moment: what came before was not seen."""
        if self._arrivals:
            self._arrivals.skip(now)
        self._now = max(self._now, now)

    def set_pods(self, ready: Mapping[str, float], now: float) -> None:
        """Take note of the pods that there are.

        Args:
            ready: uid of each pod that is ready, to the moment when it became so.
            now: the current moment.
        """
        self.advance(now)
        model = self._load.server if self._load else _IDLE
        timeout = self._load.timeout_seconds if self._load else 0
        for uid, since in ready.items():
            if uid not in self.replicas:
                begins = since + model.cold_start_seconds
                self.replicas[uid] = Replica(Server(model, timeout, max(begins, now)), takes=begins <= now)
            elif not self.replicas[uid].takes:
                self.replicas[uid].takes = since + model.cold_start_seconds <= now
        lost: list[Request] = []
        for uid in [uid for uid in self.replicas if uid not in ready]:
            lost += self._take_away(uid)
        for request in sorted(lost, key=lambda request: request.at):
            self._send(request)

    def advance(self, now: float) -> None:
        """Let requests come and be answered until ``now``."""
        if now <= self._now:
            return
        for request in self._arrivals.until(now) if self._arrivals else ():
            self.arrived += 1
            self._send(request if self.generates else replace(request, output=0))
        for replica in self.replicas.values():
            replica.server.advance(now)
        self._now = now

    def _take_away(self, uid: str) -> list[Request]:
        """Remove a replica; what it has answered stays counted, what it has not is sent on, as the mesh tries again."""
        server = self.replicas.pop(uid).server
        self._gone.add(server.counts.answers)
        return server.abandon()

    def _send(self, request: Request) -> None:
        able = [replica.server for replica in self.replicas.values() if replica.takes]
        if not able:
            self._gone.refused += 1
            return
        self._choose(able, request.at).offer(request)

    def _choose(self, able: Sequence[Server], at: float) -> Server:
        if self._load and self._load.routing == "random":
            return self._random.choice(able)
        # Istio's LEAST_REQUEST: the less busy of two that are drawn.
        one, other = self._random.choice(able), self._random.choice(able)
        for server in (one, other):
            server.advance(at)
        return one if one.running + one.waiting <= other.running + other.waiting else other
