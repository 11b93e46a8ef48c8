"""Counts by size, as Prometheus' histograms have them."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from itertools import accumulate


class Histogram:
    """Observations by upper bound.

    Args:
        bounds: upper bounds in rising order, without infinity.
    """

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    @property
    def count(self) -> int:
        """Number of observations."""
        return sum(self._counts)

    def observe(self, value: float) -> None:
        """Count one observation."""
        self._counts[bisect.bisect_left(self._bounds, value)] += 1
        self.sum += value

    def add(self, other: Histogram) -> None:
        """Add another's observations; its bounds are the same."""
        self._counts = [one + two for one, two in zip(self._counts, other._counts, strict=True)]
        self.sum += other.sum

    def empty(self) -> Histogram:
        """Return one with the same bounds and no observation."""
        return Histogram(self._bounds)

    def quantile(self, share: float) -> float | None:
        """Return the upper bound below which a share of the observations lies; None where there are none."""
        wanted = share * self.count
        if not wanted:
            return None
        below = 0
        for bound, number in zip(self._bounds, self._counts, strict=False):
            below += number
            if below >= wanted:
                return bound
        return self._bounds[-1]

    def buckets(self) -> list[tuple[str, float]]:
        """Return the counts of all that is no larger, by the bound as text; ``+Inf`` is last."""
        names = [*map(str, map(float, self._bounds)), "+Inf"]
        return list(zip(names, map(float, accumulate(self._counts)), strict=True))
