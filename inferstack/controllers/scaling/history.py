"""History of each job in regular steps: queried from Prometheus once, then extended.

Steps are aligned to the epoch, so all jobs and all restarts use the same steps: step k is the time from ``k * step`` to
``(k + 1) * step``. Older history is loaded backwards from the newest step, so a job can be decided on after the first
answer.
"""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from inferstack.api.labels import SERIES_JOB
from inferstack.controllers.scaling import promql
from inferstack.controllers.scaling.calibration import ReplicaLoad
from inferstack.controllers.scaling.prometheus import Prometheus, Series
from inferstack.scaling.model import History

CHUNK_STEPS = 360
"""Steps of one query, 6 h of one-minute steps: Prometheus limits the points of a series (11,000) and the samples of a
query (50 million), and a long query delays the next one on the same connection."""
EMPTY_CHUNKS = 4
"""After this many empty answers, Prometheus is assumed to have no older data (retention, or first start)."""
_NAN = math.nan


@dataclass
class JobHistory:
    """The history of one job."""

    first: int
    arrivals: array[float] = field(default_factory=lambda: array("d"))
    loads: list[ReplicaLoad | None] = field(default_factory=list)
    """Load of an average replica in recent steps, the latest last; fewer than arrivals."""
    empty_chunks: int = 0
    """Consecutive empty answers to queries of older steps."""
    complete: bool = False
    """Whether no older steps have to be queried."""

    @property
    def end(self) -> int:
        """The step after the last one."""
        return self.first + len(self.arrivals)


class HistoryStore:
    """Arrival rates and replica loads of jobs, by namespace/name.

    Args:
        prometheus: client.
        step: step in seconds.
        depth: number of steps of arrivals to keep.
        window: minimum window of rates in seconds.
        recent: number of steps of loads to keep, for `calibration`.
    """

    def __init__(self, prometheus: Prometheus, *, step: float, depth: int, window: float, recent: int) -> None:
        self.step = step
        self._prometheus, self._depth, self._recent = prometheus, depth, recent
        self._window = max(window, step)
        self._jobs: dict[str, JobHistory] = {}

    def arrivals(self, key: str) -> History:
        """Return the arrivals of a job; empty if none are known yet."""
        entry = self._jobs.get(key)
        if entry is None:
            return History(0.0, self.step, ())
        return History(entry.first * self.step, self.step, entry.arrivals)

    def loads(self, key: str) -> list[ReplicaLoad]:
        """Return the recent loads of an average replica, one entry for each step with replicas."""
        entry = self._jobs.get(key)
        return [load for load in entry.loads if load is not None] if entry else []

    def last_arrival(self, key: str) -> float | None:
        """Return the end of the last step with an arrival; None if there is none."""
        entry = self._jobs.get(key)
        for index in range(len(entry.arrivals) - 1, -1, -1) if entry else ():
            if entry is not None and entry.arrivals[index] > 0:
                return (entry.first + index + 1) * self.step
        return None

    def forget(self, kept: Collection[str]) -> None:
        """Drop all jobs but these."""
        for key in [key for key in self._jobs if key not in kept]:
            del self._jobs[key]

    async def extend(self, jobs: Mapping[str, float], now: float) -> bool:
        """Query missing steps, newest first, at most one chunk in each direction.

        Args:
            jobs: creation time of each job by namespace/name; earlier arrivals are unknown, not 0.
            now: seconds since the epoch.

        Returns:
            Whether older steps are still missing.

        Raises:
            PrometheusError: a query failed; the affected steps stay missing.
        """
        current = math.floor(now / self.step)
        self.forget(jobs)
        for key in jobs.keys() - self._jobs.keys():
            self._jobs[key] = JobHistory(max(current - CHUNK_STEPS, current - self._depth))
        newer: dict[int, list[str]] = defaultdict(list)
        for key, entry in list(self._jobs.items()):
            if entry.end < current - self._depth:  # a pause longer than the history: start again
                entry = self._jobs[key] = JobHistory(current - self._depth)  # noqa: PLW2901  # replaces the old entry
            if entry.end < current:
                newer[entry.end].append(key)
        for begin, keys in newer.items():
            chunks = await self._query(keys, begin, min(current, begin + CHUNK_STEPS))
            for key in keys:
                self._append(key, chunks[key], jobs[key])
        older: dict[int, list[str]] = defaultdict(list)
        for key, entry in self._jobs.items():
            entry.complete = entry.complete or len(entry.arrivals) >= self._depth or entry.empty_chunks >= EMPTY_CHUNKS
            if not entry.complete:
                older[entry.first].append(key)
        for end, keys in older.items():
            begin = max(end - CHUNK_STEPS, current - self._depth)
            chunks = await self._query(keys, begin, end, loads=False)
            for key in keys:
                self._prepend(key, chunks[key], jobs[key])
        return bool(older)

    def _append(self, key: str, chunk: Chunk, created: float) -> None:
        entry = self._jobs[key]
        entry.arrivals.extend(chunk.rates(created))
        entry.loads = [*entry.loads, *chunk.loads()][-self._recent :]
        surplus = max(0, len(entry.arrivals) - self._depth)
        del entry.arrivals[:surplus]
        entry.first += surplus

    def _prepend(self, key: str, chunk: Chunk, created: float) -> None:
        entry = self._jobs[key]
        older = chunk.rates(created)
        entry.empty_chunks = entry.empty_chunks + 1 if all(math.isnan(rate) for rate in older) else 0
        entry.arrivals = array("d", older) + entry.arrivals
        entry.first -= len(older)

    async def _query(self, keys: Collection[str], begin: int, end: int, *, loads: bool = True) -> dict[str, Chunk]:
        """Return the steps from begin to end (exclusive) of each job."""
        chunks = {key: Chunk(begin, end - begin, self.step) for key in keys}
        selection = promql.Selection.of(keys, self._window)
        queries = {"arrivals": promql.arrival_rate(selection), "targets": promql.scrape_targets()}
        if loads:
            queries |= {
                "up": promql.up(selection),
                "finished": promql.finished(selection),
                "running": promql.running(selection, mean=True),
                "waiting": promql.waiting(selection, mean=True),
            }
        # Sequential: the history is not urgent and must not delay the queries of a round.
        for name, query in queries.items():
            # The value of a step is the rate at its end.
            result = await self._prometheus.range(query, (begin + 1) * self.step, end * self.step, self.step)
            for series in result:
                self._assign(name, series, chunks)
        return chunks

    def _assign(self, name: str, series: Series, chunks: Mapping[str, Chunk]) -> None:
        if name == "targets":
            for chunk in chunks.values():
                chunk.put(name, series)
            return
        key = f"{series.labels.get('namespace')}/{series.labels.get(SERIES_JOB)}"
        if key in chunks:  # the selection may match other jobs
            chunks[key].put(name, series)


class Chunk:
    """Consecutive steps of one job, as answered by Prometheus."""

    def __init__(self, begin: int, count: int, step: float) -> None:
        self._begin, self._count, self._step = begin, count, step
        self._values: dict[str, list[float]] = {}

    def put(self, name: str, series: Series) -> None:
        """Add a series of the answer."""
        values = self._values.setdefault(name, [_NAN] * self._count)
        for when, value in series.points:
            index = round(when / self._step) - 1 - self._begin
            if 0 <= index < self._count and math.isfinite(value):
                values[index] = value

    def rates(self, created: float) -> list[float]:
        """Return the arrival rates.

        A step without a sample is 0 if Prometheus was up and the job existed: a job without replicas and without
        requests at the gateway has no series. Otherwise it is unknown.
        """
        none = [_NAN] * self._count
        arrivals, targets = self._values.get("arrivals", none), self._values.get("targets", none)
        return [
            0.0
            if math.isnan(rate) and targets[index] > 0 and (self._begin + index) * self._step >= created
            else max(rate, 0.0)
            if not math.isnan(rate)
            else _NAN
            for index, rate in enumerate(arrivals)
        ]

    def loads(self) -> list[ReplicaLoad | None]:
        """Return the load of an average replica in each step; None without replicas."""
        none = [_NAN] * self._count
        up, *others = (self._values.get(name, none) for name in ("up", "finished", "running", "waiting"))
        loads: list[ReplicaLoad | None] = []
        for replicas, *values in zip(up, *others, strict=True):
            measured = replicas > 0 and not any(math.isnan(value) for value in values)
            loads.append(ReplicaLoad(*(value / replicas for value in values)) if measured else None)
        return loads
