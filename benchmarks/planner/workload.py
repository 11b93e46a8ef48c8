"""Seeded pods: all at once, or coming and going. Sizes are MIG profiles of an H100 with 80 GB."""

from __future__ import annotations

import heapq
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from inferstack.mig import catalogue

MODEL = "H100-80GB-HBM3"
GPUS_PER_NODE = 8

MIXES: Mapping[str, Mapping[str, float]] = {
    # About a third of a GPU on average, as a service of small models with a few large ones beside them.
    "serving": {"1g.10gb": 35, "1g.20gb": 10, "2g.20gb": 20, "3g.40gb": 20, "4g.40gb": 5, "7g.80gb": 10},
    "even": {"1g.10gb": 1, "1g.20gb": 1, "2g.20gb": 1, "3g.40gb": 1, "4g.40gb": 1, "7g.80gb": 1},
    "small": {"1g.10gb": 60, "1g.20gb": 15, "2g.20gb": 20, "3g.40gb": 5},
}
"""Shares of profiles; made up here, and no trace of anybody's cluster."""


@dataclass(frozen=True, order=True)
class Event:
    """A pod comes or goes."""

    time: float
    """In mean lifetimes."""
    pod: int
    comes: bool
    profile: str


def memory_slices(profile: str) -> int:
    """Return the memory slices of a profile."""
    return catalogue.gpu(MODEL).profile(profile).memory_slices


def compute_slices(profile: str) -> int:
    """Return the compute slices of a profile."""
    return catalogue.gpu(MODEL).profile(profile).compute_slices


def mean_memory(mix: Mapping[str, float]) -> float:
    """Return the memory slices of a pod, on average."""
    return sum(share * memory_slices(name) for name, share in mix.items()) / sum(mix.values())


def batch(seed: int, count: int, mix: Mapping[str, float]) -> list[str]:
    """Return the profiles of pods that are all there at once, in the order in which they were created."""
    return random.Random(seed).choices(list(mix), list(mix.values()), k=count)  # noqa: S311  # a workload, no secret


def churn(seed: int, gpus: int, load: float, mix: Mapping[str, float], lifetimes: float) -> Iterator[Event]:
    """Yield pods that come as a Poisson process and stay for exponential times.

    Args:
        seed: of all random numbers.
        gpus: of the fleet that they come to.
        load: memory slices that would be in use on average if no pod were turned away, as a share of the fleet's.
        mix: shares of profiles.
        lifetimes: for how long, in mean lifetimes of a pod.
    """
    numbers = random.Random(seed)  # noqa: S311  # a workload, no secret
    rate = load * gpus * catalogue.gpu(MODEL).memory_slices / mean_memory(mix)
    leaving: list[tuple[float, int, str]] = []
    time, pod = numbers.expovariate(rate), 0
    while time < lifetimes:
        while leaving and leaving[0][0] <= time:
            at, gone, profile = heapq.heappop(leaving)
            yield Event(at, gone, False, profile)
        profile = numbers.choices(list(mix), list(mix.values()))[0]
        yield Event(time, pod, True, profile)
        heapq.heappush(leaving, (time + numbers.expovariate(1.0), pod, profile))
        time, pod = time + numbers.expovariate(rate), pod + 1
