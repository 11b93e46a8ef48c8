"""When requests come and how long they are, by a seed and the time since the load began."""

from __future__ import annotations

import bisect
import csv
import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from inferstack.errors import UserError
from rehearsal.load.scenario import Constant, Diurnal, FlashCrowd, JobLoad, Step, Tokens, Trace

_COLUMNS = {
    "at": ("timestamp",),
    "prompt": ("inputtokens", "requesttokens", "prompttokens", "contexttokens", "numinputtokens"),
    "output": ("outputtokens", "responsetokens", "generatedtokens", "completiontokens", "numoutputtokens"),
}
"""Columns by the names that published traces give them, letters only."""


@dataclass(frozen=True)
class Request:
    """One request."""

    at: float
    """Arrival, seconds since the load began."""
    prompt: int
    """Tokens."""
    output: int
    """Tokens of the answer."""


def rate_at(process: Constant | Step | Diurnal | FlashCrowd, at: float) -> float:
    """Return the requests a second at a moment, in seconds since the load began."""
    match process:
        case Constant():
            return process.rate
        case Step():
            ended = process.until_seconds is not None and at >= process.until_seconds
            return process.after if at >= process.at_seconds and not ended else process.before
        case Diurnal():
            phase = math.cos(2 * math.pi * at / process.period_seconds)
            return process.low + (process.high - process.low) * (1 - phase) / 2
        case FlashCrowd():
            return process.base + (process.peak - process.base) * _crowd(process, at - process.at_seconds)


def _crowd(process: FlashCrowd, since: float) -> float:
    """Return how much of the peak there is, 0 to 1, ``since`` seconds after its begin."""
    if since < 0:
        return 0.0
    if since < process.climb_seconds:
        return since / process.climb_seconds
    over = since - process.climb_seconds - process.hold_seconds
    return 1.0 if over < 0 else 0.5 ** (over / process.half_life_seconds)


def _highest(process: Constant | Step | Diurnal | FlashCrowd) -> float:
    match process:
        case Constant():
            return process.rate
        case Step():
            return max(process.before, process.after)
        case Diurnal():
            return max(process.low, process.high)
        case FlashCrowd():
            return max(process.base, process.peak)


class Arrivals:
    """The requests of one job in order: a Poisson process of the rate that the scenario tells, or a trace.

    Args:
        load: of the job.
        seed: the same seed gives the same requests, whatever the other jobs of a scenario are.
        trace: the requests of the file, where the load has one.
    """

    def __init__(self, load: JobLoad, seed: int, trace: Sequence[Request] = ()) -> None:
        self._load = load
        self._random = random.Random(f"{seed}/{load.job}")  # noqa: S311  # to be repeated, not to be secret
        self._trace = trace
        self._at = 0.0
        self._number = 0
        self._next: Request | None = None

    def until(self, at: float) -> list[Request]:
        """Return what has come since the last call and before ``at``, seconds since the load began."""
        found: list[Request] = []
        while True:
            if self._next is None:
                self._next = self._draw(at)
            if self._next is None or self._next.at >= at:
                return found
            found.append(self._next)
            self._next = None

    def skip(self, at: float) -> None:
        """Leave out what came before ``at``: a simulator that was away has not seen it."""
        self.until(at)

    def _draw(self, until: float) -> Request | None:
        """Return the next request; None where none comes before ``until``."""
        process = self._load.arrivals
        if isinstance(process, Trace):
            if self._number == len(self._trace):
                return None
            self._number += 1
            return self._trace[self._number - 1]
        # Thinning (Lewis and Shedler 1979): candidates at the highest rate, each kept with the share of its moment.
        highest = _highest(process)
        while highest > 0:
            self._at += self._random.expovariate(highest)
            kept = self._random.random() * highest < rate_at(process, self._at)
            if kept:
                return Request(self._at, self._length(self._load.prompt), self._length(self._load.output))
            if self._at >= until:
                return None
        return None

    def _length(self, tokens: Tokens) -> int:
        if not tokens.spread:
            return round(tokens.mean)
        middle = math.log(tokens.mean) - tokens.spread**2 / 2
        return max(1, round(self._random.lognormvariate(middle, tokens.spread)))


def read_trace(path: Path, speed: float) -> list[Request]:
    """Read a trace, the first request at 0.

    Args:
        path: CSV with a head.
        speed: seconds of the trace that go by in one.

    Raises:
        UserError: a column is missing, or a line is no request.
    """
    with path.open(newline="") as file:
        lines = csv.DictReader(file)
        head = {re.sub("[^a-z]", "", name.lower()): name for name in lines.fieldnames or ()}
        columns = {kind: _column(path, kind, names, head) for kind, names in _COLUMNS.items()}
        found: list[Request] = []
        for line in lines:
            try:
                at, prompt, output = float(line[columns["at"]]), *(int(line[columns[k]]) for k in ("prompt", "output"))
            except (TypeError, ValueError) as error:
                raise UserError(f"{path}: line {lines.line_num} is no request: {error}.") from error
            bisect.insort(found, Request(at, max(1, prompt), max(0, output)), key=lambda request: request.at)
    first = found[0].at if found else 0.0
    return [Request((request.at - first) / speed, request.prompt, request.output) for request in found]


def _column(path: Path, kind: str, names: Sequence[str], head: dict[str, str]) -> str:
    for name in names:
        if name in head:
            return head[name]
    raise UserError(
        f"{path}: no column for {kind}: expected one of {', '.join(names)}, there are {', '.join(head) or 'none'}."
    )
