"""Allocation of a pool of GPUs to several jobs.

Every requested replica gets a place in one queue, and the longest prefix of the queue that fits is granted:

1. replicas that a job holds and needs, which are never taken away;
2. other needed replicas, by priority, and within a priority by the fraction of its need that a job would have;
3. warm replicas beyond the need, by priority.

The order does not depend on the size of the pool. So a larger pool never gives a job less, and a job of lower priority
gets nothing new while one of higher priority is short. GPUs that are too few for the next replica stay free for it:
given to smaller replicas behind it, a large one might never start.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inferstack.scaling.errors import ScalingError
from inferstack.scaling.model import Bounds, Decision


@dataclass(frozen=True)
class Claim:
    """The replicas that one job requests from the pool.

    Raises:
        ScalingError: a negative count, or a replica without GPUs.
    """

    name: str
    gpus: int
    """GPUs of one replica."""
    needed: int
    """Replicas that its SLO needs now; 0 for an idle job."""
    warm: int = 0
    """Requested replicas beyond its need."""
    priority: int = 0
    """A higher priority is served first."""
    held: int = 0
    """Current replicas."""

    def __post_init__(self) -> None:
        if self.gpus < 1:
            raise ScalingError(f"{self.name}: gpus: {self.gpus} is less than 1")
        for field in ("needed", "warm", "held"):
            if getattr(self, field) < 0:
                raise ScalingError(f"{self.name}: {field}: {getattr(self, field)} is less than 0")

    @classmethod
    def of(cls, name: str, decision: Decision, bounds: Bounds, *, gpus: int, priority: int, held: int) -> Claim:
        """Return the claim of a decision; replicas beyond the need count as warm."""
        if decision.replicas == 0:
            return cls(name, gpus, 0, 0, priority, held)
        desired = decision.min_replicas
        warm = min(bounds.warm, max(desired - bounds.min_replicas, 0))
        return cls(name, gpus, desired - warm, warm, priority, held)


@dataclass(frozen=True)
class Allocation:
    """Granted replicas."""

    replicas: Mapping[str, int]
    short: Mapping[str, int]
    """Needed replicas that are not granted, for the jobs that lack any."""
    free: int
    """Free GPUs."""


def allocate(claims: Sequence[Claim], gpus: int) -> Allocation:
    """Allocate a pool of GPUs.

    Raises:
        ScalingError: a negative number of GPUs, or two claims of one job.
    """
    if gpus < 0:
        raise ScalingError(f"pool: {gpus} GPUs is less than 0")
    counts = Counter(claim.name for claim in claims)
    if duplicates := [name for name, count in counts.items() if count > 1]:
        raise ScalingError(f"{duplicates[0]}: more than one claim")
    replicas = {claim.name: 0 for claim in claims}
    free = gpus
    for claim in _queue(claims):
        if claim.gpus > free:
            break
        free -= claim.gpus
        replicas[claim.name] += 1
    short = {claim.name: claim.needed - replicas[claim.name] for claim in claims}
    return Allocation(replicas, {name: count for name, count in short.items() if count > 0}, free)


def _queue(claims: Sequence[Claim]) -> list[Claim]:
    """Return the claim of each replica in the order in which replicas are granted."""
    queue: list[tuple[int, int, float, str, Claim]] = []
    for claim in claims:
        kept = min(claim.held, claim.needed)
        for index in range(claim.needed + claim.warm):
            stage = 0 if index < kept else 1 if index < claim.needed else 2
            fraction = (index + 1) / (claim.needed if stage < 2 else claim.needed + claim.warm)
            queue.append((stage, -claim.priority, fraction, claim.name, claim))
    queue.sort(key=lambda place: place[:4])
    return [place[4] for place in queue]
