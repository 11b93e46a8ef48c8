"""Waiting times in queues: exact for M/M/c, approximate for G/G/c.

Sources: Erlang C by the recursion of Erlang B (Cooper, "Introduction to Queueing Theory", 1981). Mean waiting time of
G/G/c by Allen and Cunneen (Allen, "Probability, Statistics, and Queueing Theory", 1990): that of M/M/c times
``(ca2 + cs2) / 2``. The tail is exponential with that mean, which is Kingman's heavy-traffic limit ("The single server
queue in heavy traffic", 1961).
"""

from __future__ import annotations

import math

from inferstack.scaling.errors import ScalingError
from inferstack.scaling.model import Service

Slacks = tuple[tuple[float, float], ...]
"""Seconds that a fraction of requests may wait, and that fraction."""


def erlang_b(servers: int, offered_load: float) -> float:
    """Return the blocking probability of M/M/c/c; the offered load is in Erlang."""
    blocked = 1.0
    for count in range(1, servers + 1):
        blocked = offered_load * blocked / (count + offered_load * blocked)
    return blocked


def erlang_c(servers: int, offered_load: float) -> float:
    """Return the probability that a request of M/M/c waits; 1 if the offered load exceeds the servers."""
    return _wait_probability(servers, offered_load, erlang_b(servers, offered_load))


def _wait_probability(servers: int, offered_load: float, blocked: float) -> float:
    if offered_load >= servers:
        return 1.0
    return blocked / (1 - offered_load / servers * (1 - blocked))


def late_fraction(replicas: int, rate: float, service: Service, slacks: Slacks) -> float:
    """Return the steady-state fraction of requests that wait longer than their slack.

    Each replica counts as ``service.slots`` servers, as all replicas share one queue.

    Args:
        replicas: Ready replicas.
        rate: arrivals a second.
        service: capacity of a replica.
        slacks: slack of each fraction of requests, from `Slo.slacks`.
    """
    servers = replicas * service.slots
    offered_load = rate * service.slots / service.rate
    return _late_fraction(servers, offered_load, erlang_b(servers, offered_load), service, slacks)


def _late_fraction(servers: int, offered_load: float, blocked: float, service: Service, slacks: Slacks) -> float:
    if offered_load >= servers:
        return 1.0
    variation = max((service.burstiness + service.variability) / 2, 1e-6)
    decay = (servers - offered_load) * service.rate / service.slots / variation
    waits = _wait_probability(servers, offered_load, blocked)
    return sum(fraction * (waits * math.exp(-decay * slack) if slack >= 0 else 1.0) for slack, fraction in slacks)


def replicas_for(rate: float, service: Service, slacks: Slacks, miss_fraction: float, limit: int) -> int:
    """Return the fewest replicas with which at most a fraction of requests waits longer than its slack.

    One pass of Erlang's recursion covers all counts, so the run time is linear in the slots of the result.

    Args:
        rate: arrivals a second.
        service: capacity of a replica.
        slacks: slack of each fraction of requests, from `Slo.slacks`.
        miss_fraction: fraction of requests that may be late, above 0.
        limit: upper bound of the search; returned if it does not suffice.

    Raises:
        ScalingError: a negative or non-finite rate.
    """
    if not 0 <= rate < math.inf:
        raise ScalingError(f"rate: {rate} requests a second is not finite and at least 0")
    if rate == 0:
        return 0
    offered_load = rate * service.slots / service.rate
    blocked = 1.0
    for count in range(1, limit * service.slots + 1):
        blocked = offered_load * blocked / (count + offered_load * blocked)
        if count <= offered_load or count % service.slots:
            continue
        if _late_fraction(count, offered_load, blocked, service, slacks) <= miss_fraction:
            return count // service.slots
    return limit


def utilization(replicas: int, service: Service, slacks: Slacks, miss_fraction: float) -> float:
    """Return the highest utilization, 0 to 1, at which the replicas keep the SLO.

    By bisection: the late fraction grows with the arrival rate.
    """
    low, high = 0.0, 1.0
    for _ in range(20):
        middle = (low + high) / 2
        if late_fraction(replicas, middle * replicas * service.rate, service, slacks) <= miss_fraction:
            low = middle
        else:
            high = middle
    return low
