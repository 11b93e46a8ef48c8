"""How long requests wait: M/M/c exactly, G/G/c approximately.

Sources: Erlang C by the recursion of Erlang B (Cooper, "Introduction to Queueing Theory", 1981); waiting times of G/G/c
by Allen and Cunneen (Allen, "Probability, Statistics, and Queueing Theory", 1990): the mean wait of M/M/c times
``(ca2 + cs2) / 2``. The tail is taken as exponential with that mean, which is Kingman's heavy-traffic limit
("The single server queue in heavy traffic", 1961).
"""

from __future__ import annotations

import math

from inferstack.scaling.errors import ScalingError
from inferstack.scaling.model import Service

Slacks = tuple[tuple[float, float], ...]
"""Seconds that a share of requests may wait, and that share."""


def erlang_b(servers: int, offered: float) -> float:
    """Return the share of lost calls of M/M/c/c; ``offered`` is the load in Erlang."""
    blocked = 1.0
    for count in range(1, servers + 1):
        blocked = offered * blocked / (count + offered * blocked)
    return blocked


def erlang_c(servers: int, offered: float) -> float:
    """Return the probability that a request of M/M/c waits; 1 where the servers do not suffice."""
    return _waits(servers, offered, erlang_b(servers, offered))


def _waits(servers: int, offered: float, blocked: float) -> float:
    if offered >= servers:
        return 1.0
    return blocked / (1 - offered / servers * (1 - blocked))


def late(replicas: int, rate: float, service: Service, slacks: Slacks) -> float:
    """Return the share of requests that wait longer than they may, in the steady state.

    Each replica is ``service.slots`` servers, as the queue before them is common.

    Args:
        replicas: that serve.
        rate: arrivals a second.
        service: what one replica can do.
        slacks: how long each share of requests may wait, as of `Slo.slacks`.
    """
    servers = replicas * service.slots
    offered = rate * service.slots / service.rate
    return _late(servers, offered, erlang_b(servers, offered), service, slacks)


def _late(servers: int, offered: float, blocked: float, service: Service, slacks: Slacks) -> float:
    if offered >= servers:
        return 1.0
    spread = max((service.burstiness + service.variability) / 2, 1e-6)
    decay = (servers - offered) * service.rate / service.slots / spread
    waits = _waits(servers, offered, blocked)
    return sum(share * (waits * math.exp(-decay * slack) if slack >= 0 else 1.0) for slack, share in slacks)


def replicas_for(rate: float, service: Service, slacks: Slacks, share: float, most: int) -> int:
    """Return the fewest replicas with which at most a ``share`` of requests waits longer than it may.

    One pass of Erlang's recursion serves all counts, so the time is that of the answer's slots.

    Args:
        rate: arrivals a second.
        service: what one replica can do.
        slacks: as of `Slo.slacks`.
        share: of the requests, above 0.
        most: where to stop; returned where even they do not suffice.

    Raises:
        ScalingError: a rate below 0 or not finite.
    """
    if not 0 <= rate < math.inf:
        raise ScalingError(f"a rate of {rate} requests a second: at least 0 and finite")
    if rate == 0:
        return 0
    offered = rate * service.slots / service.rate
    blocked = 1.0
    for count in range(1, most * service.slots + 1):
        blocked = offered * blocked / (count + offered * blocked)
        if count > offered and count % service.slots == 0 and _late(count, offered, blocked, service, slacks) <= share:
            return count // service.slots
    return most


def utilisation(replicas: int, service: Service, slacks: Slacks, share: float) -> float:
    """Return the highest utilisation, 0 to 1, at which so many replicas still keep the service level.

    By bisection: more arrivals never make the waits shorter.
    """
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        if late(replicas, middle * replicas * service.rate, service, slacks) <= share:
            low = middle
        else:
            high = middle
    return low
