"""A Prometheus histogram."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from itertools import accumulate


class Histogram:
    """Observations in buckets.

    Args:
        bounds: upper bounds in ascending order, without infinity.
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
        """Add an observation."""
        self._counts[bisect.bisect_left(self._bounds, value)] += 1
        self.sum += value

    def add(self, other: Histogram) -> None:
        """Add the observations of a histogram with the same bounds."""
        self._counts = [count + added for count, added in zip(self._counts, other._counts, strict=True)]
        self.sum += other.sum

    def empty(self) -> Histogram:
        """Return an empty histogram with the same bounds."""
        return Histogram(self._bounds)

    def quantile(self, share: float) -> float | None:
        """Return the upper bound of the bucket with a quantile, None without observations."""
        rank = share * self.count
        if not rank:
            return None
        cumulative = 0
        for bound, number in zip(self._bounds, self._counts, strict=False):
            cumulative += number
            if cumulative >= rank:
                return bound
        return self._bounds[-1]

    def buckets(self) -> list[tuple[str, float]]:
        """Return the cumulative count of each bucket by its bound (``le``); ``+Inf`` is last."""
        names = [*map(str, map(float, self._bounds)), "+Inf"]
        return list(zip(names, map(float, accumulate(self._counts)), strict=True))
