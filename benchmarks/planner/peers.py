"""Placement rules that others published or everybody knows, on GPUs that are cut at will.

None of them moves a pod. What a rule leaves open (ties) goes to the GPU of the lowest number, then the lowest start.
"""

from __future__ import annotations

import abc
from typing import Any

from benchmarks.planner.cluster import GPU_MODEL, Cluster
from benchmarks.planner.workload import MODEL, compute_slices, memory_slices
from inferstack.mig.fragmentation import Mix, fragmentation_score, open_starts, unusable


class _Ranked(Cluster):
    """Takes the place of the lowest rank."""

    @abc.abstractmethod
    def rank(self, mask: int, compute: int, profile: str, start: int) -> Any:
        """Return the rank of a start on a GPU in this use; less is better."""

    def choose(self, profile: str) -> tuple[int, int] | None:
        """Return the best place, or None."""
        candidates = [
            (self.rank(*state, profile, start), gpu, start)
            for state, gpu in self.states().items()
            for start in open_starts(MODEL, *state, profile)
        ]
        return min(candidates)[1:] if candidates else None


def after(mask: int, compute: int, profile: str, start: int) -> tuple[int, int]:
    """Return the use of a GPU with one more instance."""
    return mask | ((1 << memory_slices(profile)) - 1) << start, compute + compute_slices(profile)


class FirstFit(_Ranked):
    """The first GPU with room."""

    def rank(self, mask: int, compute: int, profile: str, start: int) -> int:  # noqa: ARG002  # the first counts
        """All are equal: ties go to the lowest number."""
        return 0


class BestFit(_Ranked):
    """The GPU with the fewest free memory slices that has room."""

    def rank(self, mask: int, compute: int, profile: str, start: int) -> int:  # noqa: ARG002  # free slices count
        """Return the free slices."""
        return GPU_MODEL.memory_slices - mask.bit_count()


class LeastBlocked(_Ranked):
    """The place that adds least fragmentation, after Zambianco, Fasol and Doriguzzi-Corin (arXiv 2511.18906).

    Their rule, as the abstract tells it: the GPU and the slices that make fragmentation grow least. Guessed: the metric
    itself, which is the planner's count of blocked starts, and ties.
    """

    def rank(self, mask: int, compute: int, profile: str, start: int) -> int:
        """Return by how much blocked starts grow."""
        return fragmentation_score(MODEL, *after(mask, compute, profile, start)) - fragmentation_score(
            MODEL, mask, compute
        )


class GradientDescent(_Ranked):
    """Fragmentation gradient descent (Weng and others, USENIX ATC 2023): F_n(M) grows least.

    The workload M is the true mix, which the original estimates from its pods. That a GPU is of use to a profile where
    a start is free is our reading for MIG.
    """

    def __init__(self, gpus: int, mix: Mix) -> None:
        super().__init__(gpus)
        self._mix = mix
        self._unusable: dict[tuple[int, int], float] = {}

    def _amount(self, state: tuple[int, int]) -> float:
        if state not in self._unusable:
            self._unusable[state] = unusable(MODEL, *state, self._mix)
        return self._unusable[state]

    def rank(self, mask: int, compute: int, profile: str, start: int) -> float:
        """Return by how much F_n(M) grows."""
        return round(self._amount(after(mask, compute, profile, start)) - self._amount((mask, compute)), 9)
