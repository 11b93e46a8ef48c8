"""Arrival times and lengths of requests: a pure function of the seed and the scenario."""

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
"""Column names in published traces, in lower case and letters only."""


@dataclass(frozen=True)
class Request:
    """One request."""

    at: float
    """Arrival time in seconds since the load began."""
    prompt: int
    """Prompt tokens."""
    output: int
    """Output tokens."""


def rate_at(process: Constant | Step | Diurnal | FlashCrowd, at: float) -> float:
    """Return the request rate per second at a time in seconds since the load began."""
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
    """Return the share of the peak, 0 to 1, ``since`` seconds after the flash crowd began."""
    if since < 0:
        return 0.0
    if since < process.climb_seconds:
        return since / process.climb_seconds
    over = since - process.climb_seconds - process.hold_seconds
    return 1.0 if over < 0 else 0.5 ** (over / process.half_life_seconds)


def _peak_rate(process: Constant | Step | Diurnal | FlashCrowd) -> float:
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
    """The requests of one job in order of arrival: an inhomogeneous Poisson process, or a trace.

    Args:
        load: load of the job.
        seed: equal seeds give equal requests, independently of the other jobs.
        trace: requests of the trace file, if the load has one.
    """

    def __init__(self, load: JobLoad, seed: int, trace: Sequence[Request] = ()) -> None:
        self._load = load
        self._random = random.Random(f"{seed}/{load.job}")  # noqa: S311  # for reproducibility, not for secrets
        self._trace = trace
        self._at = 0.0
        self._number = 0
        self._next: Request | None = None

    def until(self, at: float) -> list[Request]:
        """Return the arrivals since the last call and before ``at`` seconds since the load began."""
        arrivals: list[Request] = []
        while True:
            if self._next is None:
                self._next = self._draw(at)
            if self._next is None or self._next.at >= at:
                return arrivals
            arrivals.append(self._next)
            self._next = None

    def skip(self, at: float) -> None:
        """Discard the arrivals before ``at``, during which the simulator was not running."""
        self.until(at)

    def _draw(self, until: float) -> Request | None:
        """Return the next request, None if none arrives before ``until``."""
        process = self._load.arrivals
        if isinstance(process, Trace):
            if self._number == len(self._trace):
                return None
            self._number += 1
            return self._trace[self._number - 1]
        # Thinning (Lewis and Shedler 1979): candidates at the peak rate, accepted with probability rate / peak.
        peak_rate = _peak_rate(process)
        while peak_rate > 0:
            self._at += self._random.expovariate(peak_rate)
            accepted = self._random.random() * peak_rate < rate_at(process, self._at)
            if accepted:
                return Request(self._at, self._length(self._load.prompt), self._length(self._load.output))
            if self._at >= until:
                return None
        return None

    def _length(self, tokens: Tokens) -> int:
        if not tokens.spread:
            return round(tokens.mean)
        log_mean = math.log(tokens.mean) - tokens.spread**2 / 2
        return max(1, round(self._random.lognormvariate(log_mean, tokens.spread)))


def read_trace(path: Path, speed: float) -> list[Request]:
    """Read a trace; the first request arrives at 0.

    Args:
        path: CSV file with a header.
        speed: seconds of the trace per second.

    Raises:
        UserError: a column is missing, or a line is invalid.
    """
    with path.open(newline="") as file:
        lines = csv.DictReader(file)
        header = {re.sub("[^a-z]", "", name.lower()): name for name in lines.fieldnames or ()}
        columns = {kind: _column(path, kind, names, header) for kind, names in _COLUMNS.items()}
        requests: list[Request] = []
        for line in lines:
            try:
                at, prompt, output = float(line[columns["at"]]), *(int(line[columns[k]]) for k in ("prompt", "output"))
            except (TypeError, ValueError) as error:
                raise UserError(f"{path}: line {lines.line_num} is not a request: {error}.") from error
            bisect.insort(requests, Request(at, max(1, prompt), max(0, output)), key=lambda request: request.at)
    first = requests[0].at if requests else 0.0
    return [Request((request.at - first) / speed, request.prompt, request.output) for request in requests]


def _column(path: Path, kind: str, names: Sequence[str], header: dict[str, str]) -> str:
    for name in names:
        if name in header:
            return header[name]
    raise UserError(
        f"{path}: no column for {kind}: expected one of {', '.join(names)}, got {', '.join(header) or 'none'}."
    )
