"""What was measured of each job before now, in regular steps, asked for once and then kept up.

Steps are counted from the epoch, so that all jobs and all restarts cut time alike: step k is the time from ``k * step``
to the next. What lies before the first step that is kept is asked for from the newest on backwards, so that a job can
be decided on after the first answer.
"""

from __future__ import annotations

import math
from array import array
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from inferstack.api.labels import SERIES_JOB
from inferstack.controllers.scaling import signals
from inferstack.controllers.scaling.calibrate import Load
from inferstack.controllers.scaling.prometheus import Prometheus, Series
from inferstack.scaling.model import History

CHUNK_STEPS = 360
"""Steps of one question, 6 h in minutes: Prometheus bounds points of a series (11,000) and samples of a query (50
million) in memory, and answers nothing meanwhile that is asked for after it on the same connection."""
EMPTY_CHUNKS = 4
"""After so many answers without anything, Prometheus is taken to keep nothing older: its retention, or its start."""
_NAN = math.nan


@dataclass
class Track:
    """One job; all series have the same first step and length."""

    first: int
    arrivals: array[float] = field(default_factory=lambda: array("d"))
    loads: list[Load | None] = field(default_factory=list)
    """What its replicas did in the last steps, the latest at the end; fewer than arrivals."""
    empty: int = 0
    whole: bool = False
    """Whether nothing older is to be asked for."""

    @property
    def end(self) -> int:
        """The step after the last."""
        return self.first + len(self.arrivals)


class Archive:
    """Arrivals and loads of jobs by namespace/name.

    Args:
        prometheus: to ask.
        step: seconds.
        depth: steps of arrivals to keep.
        window: seconds over which rates are taken at least, as scrapes need it.
        recent: steps of loads to keep, for `calibrate`.
    """

    def __init__(self, prometheus: Prometheus, *, step: float, depth: int, window: float, recent: int) -> None:
        self.step = step
        self._prometheus, self._depth, self._recent = prometheus, depth, recent
        self._window = max(window, step)
        self._tracks: dict[str, Track] = {}

    def history(self, key: str) -> History:
        """Return the arrivals of a job, empty where none are known yet."""
        track = self._tracks.get(key)
        if track is None:
            return History(0.0, self.step, ())
        return History(track.first * self.step, self.step, track.arrivals)

    def loads(self, key: str) -> list[Load]:
        """Return what a job's replicas did lately, one entry for each step in which any was there."""
        track = self._tracks.get(key)
        return [load for load in track.loads if load is not None] if track else []

    def last_arrival(self, key: str) -> float | None:
        """Return the end of the last step in which a request came; None where none is known."""
        track = self._tracks.get(key)
        for index in range(len(track.arrivals) - 1, -1, -1) if track else ():
            if track is not None and track.arrivals[index] > 0:
                return (track.first + index + 1) * self.step
        return None

    def forget(self, kept: Collection[str]) -> None:
        """Drop all jobs but these."""
        for key in [key for key in self._tracks if key not in kept]:
            del self._tracks[key]

    async def extend(self, jobs: Mapping[str, float], now: float) -> bool:
        """Ask for what is missing, newest first and no more than one question's worth of each kind.

        Args:
            jobs: namespace/name, and since when a job is there; before, nothing is known of it and not 0.
            now: seconds since the epoch.

        Returns:
            Whether older steps are still missing.

        Raises:
            PrometheusError: nothing of the answer is kept.
        """
        current = math.floor(now / self.step)
        self.forget(jobs)
        for key in jobs.keys() - self._tracks.keys():
            self._tracks[key] = Track(max(current - CHUNK_STEPS, current - self._depth))
        ahead: dict[int, list[str]] = defaultdict(list)
        for key, known in self._tracks.items():
            # Where nobody looked for longer than what is kept, all begins anew.
            track = self._tracks[key] = known if known.end >= current - self._depth else Track(current - self._depth)
            if track.end < current:
                ahead[track.end].append(key)
        for begin, keys in ahead.items():
            found = await self._ask(keys, begin, min(current, begin + CHUNK_STEPS))
            for key in keys:
                self._append(key, found[key], jobs[key])
        behind: dict[int, list[str]] = defaultdict(list)
        for key, track in self._tracks.items():
            track.whole = track.whole or len(track.arrivals) >= self._depth or track.empty >= EMPTY_CHUNKS
            if not track.whole:
                behind[track.first].append(key)
        for end, keys in behind.items():
            begin = max(end - CHUNK_STEPS, current - self._depth)
            found = await self._ask(keys, begin, end, loads=False)
            for key in keys:
                self._prepend(key, found[key], jobs[key])
        return bool(behind)

    def _append(self, key: str, chunk: Chunk, since: float) -> None:
        track = self._tracks[key]
        track.arrivals.extend(chunk.rates(since))
        track.loads = [*track.loads, *chunk.loads()][-self._recent :]
        surplus = max(0, len(track.arrivals) - self._depth)
        del track.arrivals[:surplus]
        track.first += surplus

    def _prepend(self, key: str, chunk: Chunk, since: float) -> None:
        track = self._tracks[key]
        older = chunk.rates(since)
        track.empty = track.empty + 1 if all(math.isnan(rate) for rate in older) else 0
        track.arrivals = array("d", older) + track.arrivals
        track.first -= len(older)

    async def _ask(self, keys: Collection[str], begin: int, end: int, *, loads: bool = True) -> dict[str, Chunk]:
        """Return for each job what is known of the steps from begin to end, without it."""
        chunks = {key: Chunk(begin, end - begin, self.step) for key in keys}
        asked = signals.Selection.of(keys, self._window)
        queries = {"arrivals": signals.arrivals(asked), "alive": signals.alive()}
        if loads:
            queries |= {
                "up": signals.up(asked),
                "finished": signals.finished(asked),
                "running": signals.running(asked, mean=True),
                "waiting": signals.waiting(asked, mean=True),
            }
        # One after the other: it is no hurry, and the questions of the decisions must not wait behind them all.
        for name, query in queries.items():
            # A step's value is what its rates are at its end.
            found = await self._prometheus.range(query, (begin + 1) * self.step, end * self.step, self.step)
            for series in found:
                self._sort(name, series, chunks)
        return chunks

    def _sort(self, name: str, series: Series, chunks: Mapping[str, Chunk]) -> None:
        if name == "alive":
            for chunk in chunks.values():
                chunk.put(name, series)
            return
        key = f"{series.labels.get('namespace')}/{series.labels.get(SERIES_JOB)}"
        if key in chunks:  # the selection may match more
            chunks[key].put(name, series)


class Chunk:
    """Some steps of one job, as they were answered."""

    def __init__(self, begin: int, count: int, step: float) -> None:
        self._begin, self._count, self._step = begin, count, step
        self._values: dict[str, list[float]] = {}

    def put(self, name: str, series: Series) -> None:
        """Take a series of the answer."""
        values = self._values.setdefault(name, [_NAN] * self._count)
        for when, value in series.points:
            index = round(when / self._step) - 1 - self._begin
            if 0 <= index < self._count and math.isfinite(value):
                values[index] = value

    def rates(self, since: float) -> list[float]:
        """Return the arrivals.

        Nothing arrives at a job that has no replicas and of which no gateway tells: 0, from its creation on, while
        Prometheus itself was there.
        """
        none = [_NAN] * self._count
        found, alive = self._values.get("arrivals", none), self._values.get("alive", none)
        return [
            0.0
            if math.isnan(rate) and alive[index] > 0 and (self._begin + index) * self._step >= since
            else max(rate, 0.0)
            if not math.isnan(rate)
            else _NAN
            for index, rate in enumerate(found)
        ]

    def loads(self) -> list[Load | None]:
        """Return what the replicas did, on average of one; None where there were none."""
        none = [_NAN] * self._count
        up, *others = (self._values.get(name, none) for name in ("up", "finished", "running", "waiting"))
        made: list[Load | None] = []
        for replicas, *values in zip(up, *others, strict=True):
            known = replicas > 0 and not any(math.isnan(value) for value in values)
            made.append(Load(*(value / replicas for value in values)) if known else None)
        return made
