"""Several jobs on one pool of GPUs.

Every replica that is asked for gets a place in one line, and the longest beginning of the line that fits is granted:

1. replicas that are held and still needed, which nobody takes away;
2. the others that are needed, by priority, within a priority by the share of its need that a job would have;
3. warm replicas beyond the need, by priority.

The line does not depend on the pool's size. So a larger pool never gives anybody less, a job of lower priority gets
nothing new while one of higher priority is short, and GPUs that are too few for the next replica wait for it: were they
given to smaller ones behind it, a large one might never come.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inferstack.scaling.errors import ScalingError
from inferstack.scaling.model import Bounds, Decision


@dataclass(frozen=True)
class Claim:
    """What one job asks of the pool.

    Raises:
        ScalingError: a count below 0, or a replica without GPUs.
    """

    name: str
    gpus: int
    """Of one replica."""
    needed: int
    """Replicas that its service level needs now; 0 for a job that is idle."""
    warm: int = 0
    """Replicas wanted beyond."""
    priority: int = 0
    """Higher is served first."""
    held: int = 0
    """Replicas that it has."""

    def __post_init__(self) -> None:
        if self.gpus < 1:
            raise ScalingError(f"{self.name}: a replica of {self.gpus} GPUs; at least 1")
        for field in ("needed", "warm", "held"):
            if getattr(self, field) < 0:
                raise ScalingError(f"{self.name}: {field} is {getattr(self, field)}; at least 0")

    @classmethod
    def of(cls, name: str, decision: Decision, bounds: Bounds, *, gpus: int, priority: int, held: int) -> Claim:
        """Return the claim that follows from a decision: what it wants is bounded, what is beyond the need is warm."""
        if decision.replicas == 0:
            return cls(name, gpus, 0, 0, priority, held)
        wanted = decision.min_replicas
        warm = min(bounds.warm, max(wanted - bounds.min_replicas, 0))
        return cls(name, gpus, wanted - warm, warm, priority, held)


@dataclass(frozen=True)
class Shares:
    """Who gets what."""

    replicas: Mapping[str, int]
    short: Mapping[str, int]
    """Needed replicas that are not granted; only jobs that lack some."""
    free: int
    """GPUs that are left."""


def share(claims: Sequence[Claim], gpus: int) -> Shares:
    """Share a pool of so many GPUs.

    Raises:
        ScalingError: a pool below 0 GPUs, or a job that claims twice.
    """
    if gpus < 0:
        raise ScalingError(f"a pool of {gpus} GPUs; at least 0")
    if twice := [name for name, count in Counter(claim.name for claim in claims).items() if count > 1]:
        raise ScalingError(f"{twice[0]} claims twice; one claim a job")
    replicas = {claim.name: 0 for claim in claims}
    left = gpus
    for claim in _line(claims):
        if claim.gpus > left:
            break
        left -= claim.gpus
        replicas[claim.name] += 1
    short = {claim.name: claim.needed - replicas[claim.name] for claim in claims}
    return Shares(replicas, {name: count for name, count in short.items() if count > 0}, left)


def _line(claims: Sequence[Claim]) -> list[Claim]:
    """Return the claim of each replica in the order in which they are granted."""
    line: list[tuple[int, int, float, str, Claim]] = []
    for claim in claims:
        kept = min(claim.held, claim.needed)
        for index in range(claim.needed + claim.warm):
            stage = 0 if index < kept else 1 if index < claim.needed else 2
            portion = (index + 1) / (claim.needed if stage < 2 else claim.needed + claim.warm)
            line.append((stage, -claim.priority, portion, claim.name, claim))
    line.sort(key=lambda place: place[:4])
    return [place[4] for place in line]
