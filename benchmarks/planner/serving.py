"""The greedy part of MIG-serving, as described by Tan and others (arXiv 2109.11067), for pods of given profiles.

Described: a GPU's configuration is what its instances are and whom they serve; a service's completion rate is what it
has of what it needs; the configuration whose score is highest is taken, again and again, until all are complete. The
score rewards what a configuration adds for a service by how much that service still lacks: the sum of (1 - completion)
x utility. The paper could not be read here, so the score is from memory. Guessed: what exceeds a service's need counts
nothing, ties go to the configuration that uses more memory. Left out: its genetic and tree searches, which start from
this result and need measured throughputs; here a service is all pods of one profile, and an instance serves one pod.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from benchmarks.planner.workload import memory_slices

Pattern = Mapping[str, int]


def gpus_of(pods: Mapping[str, int], patterns: Sequence[Pattern], most: int | None = None) -> list[Pattern]:
    """Return the configurations of the GPUs that the greedy rule opens, at most ``most``, until all pods are served.

    Args:
        pods: wanted instances by profile.
        patterns: what one GPU can carry, by counts.
        most: GPUs that there are.
    """
    left = Counter({name: count for name, count in pods.items() if count})
    chosen: list[Pattern] = []
    while left and (most is None or len(chosen) < most):
        best = max(patterns, key=lambda pattern: _score(pattern, left, pods))
        given = {name: min(count, left[name]) for name, count in best.items() if min(count, left[name])}
        if not given:
            raise ValueError(f"no configuration serves {', '.join(left)}")
        left.subtract(given)
        left = +left
        chosen.append(given)
    return chosen


def _score(pattern: Pattern, left: Mapping[str, int], pods: Mapping[str, int]) -> tuple[float, int]:
    score, memory = 0.0, 0
    for name, count in pattern.items():
        given = min(count, left.get(name, 0))
        if given:
            score += left[name] / pods[name] * given / pods[name]
            memory += given * memory_slices(name)
    return round(score, 12), memory
