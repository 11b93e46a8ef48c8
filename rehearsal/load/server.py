"""A queueing model of one replica with continuous batching.

Up to ``max_running`` requests run at once, as far as the KV cache holds them; the others wait in a FIFO queue. Prefill
is sequential. Then each running request gets one token per step of the batch, and a step takes
``token_seconds + token_seconds_per_request * (running - 1)``. The simulation is event-driven: nothing is rounded to a
tick.
"""

from __future__ import annotations

import heapq
import math
from collections import deque
from dataclasses import dataclass, field
from itertools import count

from rehearsal.load.arrivals import Request
from rehearsal.load.histogram import Histogram
from rehearsal.load.scenario import ServerModel

# Bounds of vLLM's own histograms (vllm/v1/metrics/loggers.py of v0.11), in seconds.
_FIRST_TOKEN = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160)
_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80)
_REQUEST = (0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680)
_SINGLE_REQUEST_UTILIZATION = 0.3
"""SM activity with one running request; a full batch reaches 1."""
_ROUNDING = 1e-6
"""Tolerance in tokens for the sum of many small steps."""
# Bounds of Istio's duration histograms (Envoy's defaults), in milliseconds.
_ISTIO = (0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000)


@dataclass
class RequestStats:
    """Request counts as proxies report them."""

    ok: int = 0
    """Responses with status 200."""
    timed_out: int = 0
    """Requests that timed out in the queue (504)."""
    refused: int = 0
    """Requests without an available replica (503)."""
    milliseconds: Histogram = field(default_factory=lambda: Histogram(_ISTIO))
    """Durations of successful requests."""

    def add(self, other: RequestStats) -> None:
        """Add the counts of another."""
        self.ok += other.ok
        self.timed_out += other.timed_out
        self.refused += other.refused
        self.milliseconds.add(other.milliseconds)


@dataclass
class Counts:
    """Counts of a server since its start."""

    first_token: Histogram = field(default_factory=lambda: Histogram(_FIRST_TOKEN))
    """Seconds from arrival to the first token."""
    per_token: Histogram = field(default_factory=lambda: Histogram(_TOKEN))
    """Mean seconds per output token of a request."""
    request: Histogram = field(default_factory=lambda: Histogram(_REQUEST))
    """Seconds from arrival to completion."""
    queued: Histogram = field(default_factory=lambda: Histogram(_REQUEST))
    """Seconds in the queue."""
    prompt_tokens: int = 0
    output_tokens: float = 0.0
    requests: RequestStats = field(default_factory=RequestStats)
    busy: float = 0.0
    """Integral of the SM activity over time, in seconds."""


@dataclass
class _ActiveRequest:
    request: Request
    started: float
    first_token: float = math.inf


class Server:
    """One replica; times are seconds since the load began.

    Args:
        model: speed of the replica.
        timeout: seconds in the queue after which a client times out.
        now: time from which it accepts requests.
    """

    def __init__(self, model: ServerModel, timeout: float, now: float) -> None:
        self.counts = Counts()
        self._model = model
        self._timeout = timeout
        self._now = now
        self._waiting: deque[Request] = deque()
        self._prefilling: deque[tuple[float, _ActiveRequest]] = deque()
        """Requests before their first token, with the time of that token."""
        self._decoding: list[tuple[float, int, _ActiveRequest]] = []
        """A heap of decoding requests, by the progress at which they complete."""
        self._progress = 0.0
        """Output tokens per request since the start (virtual time of processor sharing)."""
        self._prefill_free = now
        self._cached = 0
        self._number = count()

    @property
    def running(self) -> int:
        """Number of running requests."""
        return len(self._prefilling) + len(self._decoding)

    @property
    def waiting(self) -> int:
        """Number of waiting requests."""
        return len(self._waiting)

    @property
    def cache_share(self) -> float:
        """Share of the KV cache in use, 0 to 1."""
        return min(1.0, self._cached / self._model.kv_cache_tokens)

    def enqueue(self, request: Request) -> None:
        """Add a request to the queue. A request retried from another replica may have arrived earlier."""
        self.advance(max(self._now, request.at))
        self._waiting.append(request)
        self._admit()

    def take_unfinished(self) -> list[Request]:
        """Remove and return the unfinished requests: the replica is terminated."""
        unfinished = [
            *(active.request for _, active in self._prefilling),
            *(active.request for _, _, active in self._decoding),
        ]
        unfinished += self._waiting
        self._prefilling.clear()
        self._decoding.clear()
        self._waiting.clear()
        self._cached = 0
        return unfinished

    def advance(self, until: float) -> None:
        """Advance the simulation to a time."""
        while True:
            at = min(self._next_first_token(), self._next_completion(), until)
            self._advance_clock(at)
            if at >= until:
                break
            self._emit_first_tokens()
            self._finish_decoded()
            self._admit()
        self._emit_first_tokens()
        self._finish_decoded()
        self._admit()

    def _next_first_token(self) -> float:
        return self._prefilling[0][0] if self._prefilling else math.inf

    def _next_completion(self) -> float:
        if not self._decoding:
            return math.inf
        return self._now + max(0.0, self._decoding[0][0] - self._progress) * self._step_seconds()

    def _step_seconds(self) -> float:
        """Return the duration of one step of the batch."""
        return self._model.token_seconds + self._model.token_seconds_per_request * (self.running - 1)

    def _advance_clock(self, at: float) -> None:
        passed = max(0.0, at - self._now)
        if self.running:
            share = self.running / self._model.max_running
            self.counts.busy += passed * (_SINGLE_REQUEST_UTILIZATION + (1 - _SINGLE_REQUEST_UTILIZATION) * share)
        if self._decoding:
            tokens = passed / self._step_seconds()
            self._progress += tokens
            self.counts.output_tokens += tokens * len(self._decoding)
        self._now = max(self._now, at)

    def _emit_first_tokens(self) -> None:
        while self._prefilling and self._prefilling[0][0] <= self._now:
            at, active = self._prefilling.popleft()
            active.first_token = at
            self.counts.first_token.observe(at - active.request.at)
            if active.request.output <= 1:
                self.counts.output_tokens += active.request.output
                self._finish(active)
                continue
            self.counts.output_tokens += 1
            heapq.heappush(self._decoding, (self._progress + active.request.output - 1, next(self._number), active))

    def _finish_decoded(self) -> None:
        while self._decoding and self._decoding[0][0] <= self._progress + _ROUNDING:
            _, _, active = heapq.heappop(self._decoding)
            self.counts.per_token.observe((self._now - active.first_token) / (active.request.output - 1))
            self._finish(active)

    def _finish(self, active: _ActiveRequest) -> None:
        self._cached -= _tokens(active.request)
        duration = self._now - active.request.at
        self.counts.request.observe(duration)
        self.counts.requests.ok += 1
        self.counts.requests.milliseconds.observe(duration * 1000)

    def _admit(self) -> None:
        while self._waiting:
            request = self._waiting[0]
            if self._now - request.at > self._timeout:
                self._waiting.popleft()
                self.counts.requests.timed_out += 1
                continue
            fits = self._cached + _tokens(request) <= self._model.kv_cache_tokens
            # A request larger than the whole cache runs alone; a real server would reject it.
            if self.running >= self._model.max_running or not (fits or self.running == 0):
                return
            self._waiting.popleft()
            self._cached += _tokens(request)
            self.counts.queued.observe(self._now - request.at)
            self.counts.prompt_tokens += request.prompt
            self._prefill_free = max(self._prefill_free, self._now)
            self._prefill_free += request.prompt / self._model.prefill_tokens_per_second
            self._prefilling.append((self._prefill_free, _ActiveRequest(request, self._now)))


def _tokens(request: Request) -> int:
    return request.prompt + request.output
