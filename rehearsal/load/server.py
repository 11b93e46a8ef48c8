"""One replica as a queueing model: prompts one after the other, answers token by token in a shared batch.

Continuous batching: up to ``max_running`` requests are in work at once, as far as the KV cache holds them; the others
wait in order of arrival. Prompts are computed one after the other. Then each running request gets a token in every step
of the batch, and a step takes the longer the more requests are in it:
``token_seconds + token_seconds_per_request * (running - 1)``. Events are exact; nothing is rounded to a tick.
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
_IDLE_SHARE = 0.3
"""Share of multiprocessors that one request in work keeps busy; a full batch keeps all."""
_ROUNDING = 1e-6
"""Tokens that adding many small steps may leave over."""
# Bounds of Istio's durations (Envoy's own defaults), in milliseconds.
_ISTIO = (0.5, 1, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000)


@dataclass
class Answers:
    """What proxies count of requests."""

    ok: int = 0
    """Answered with 200."""
    gave_up: int = 0
    """Whose caller went before they were worked on: 504."""
    refused: int = 0
    """For which there was no replica: 503."""
    milliseconds: Histogram = field(default_factory=lambda: Histogram(_ISTIO))
    """From arrival to the end of the answer."""

    def add(self, other: Answers) -> None:
        """Add what another has counted."""
        self.ok += other.ok
        self.gave_up += other.gave_up
        self.refused += other.refused
        self.milliseconds.add(other.milliseconds)


@dataclass
class Counts:
    """What a server has counted since it began."""

    first_token: Histogram = field(default_factory=lambda: Histogram(_FIRST_TOKEN))
    """Seconds from arrival to the first token."""
    per_token: Histogram = field(default_factory=lambda: Histogram(_TOKEN))
    """Seconds between two tokens of a request, its mean."""
    request: Histogram = field(default_factory=lambda: Histogram(_REQUEST))
    """Seconds from arrival to the end."""
    queued: Histogram = field(default_factory=lambda: Histogram(_REQUEST))
    """Seconds from arrival to being worked on."""
    prompt_tokens: int = 0
    output_tokens: float = 0.0
    answers: Answers = field(default_factory=Answers)
    busy: float = 0.0
    """Integral of the share of busy multiprocessors, in seconds."""


@dataclass
class _Work:
    request: Request
    begun: float
    first: float = math.inf


class Server:
    """One replica; times are seconds since the load began.

    Args:
        model: how fast it is.
        timeout: seconds after which a caller gives up waiting.
        now: when it begins to take requests.
    """

    def __init__(self, model: ServerModel, timeout: float, now: float) -> None:
        self.counts = Counts()
        self._model = model
        self._timeout = timeout
        self._now = now
        self._waiting: deque[Request] = deque()
        self._prefilling: deque[tuple[float, _Work]] = deque()
        """In work, without a first token yet, with the moment when they have it."""
        self._decoding: list[tuple[float, int, _Work]] = []
        """A heap by the progress at which they end."""
        self._progress = 0.0
        """Tokens that a request would have got that was there from the beginning."""
        self._prefill_free = now
        self._cached = 0
        self._number = count()

    @property
    def running(self) -> int:
        """Requests in work."""
        return len(self._prefilling) + len(self._decoding)

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    @property
    def cache_share(self) -> float:
        """Share of the KV cache that is taken, 0 to 1."""
        return min(1.0, self._cached / self._model.kv_cache_tokens)

    def offer(self, request: Request) -> None:
        """Take a request; it came at ``request.at`` or, sent on from another replica, before."""
        self.advance(max(self._now, request.at))
        self._waiting.append(request)
        self._admit()

    def abandon(self) -> list[Request]:
        """Return what it has not answered, and forget it: the replica is gone."""
        left = [*(work.request for _, work in self._prefilling), *(work.request for _, _, work in self._decoding)]
        left += self._waiting
        self._prefilling.clear()
        self._decoding.clear()
        self._waiting.clear()
        self._cached = 0
        return left

    def advance(self, until: float) -> None:
        """Let time pass."""
        while True:
            at = min(self._next_first(), self._next_end(), until)
            self._pass(at)
            if at >= until:
                break
            self._first_tokens()
            self._ends()
            self._admit()
        self._first_tokens()
        self._ends()
        self._admit()

    def _next_first(self) -> float:
        return self._prefilling[0][0] if self._prefilling else math.inf

    def _next_end(self) -> float:
        if not self._decoding:
            return math.inf
        return self._now + max(0.0, self._decoding[0][0] - self._progress) * self._step()

    def _step(self) -> float:
        """Seconds for one token of each request in work."""
        return self._model.token_seconds + self._model.token_seconds_per_request * (self.running - 1)

    def _pass(self, at: float) -> None:
        passed = max(0.0, at - self._now)
        if self.running:
            share = self.running / self._model.max_running
            self.counts.busy += passed * (_IDLE_SHARE + (1 - _IDLE_SHARE) * share)
        if self._decoding:
            tokens = passed / self._step()
            self._progress += tokens
            self.counts.output_tokens += tokens * len(self._decoding)
        self._now = max(self._now, at)

    def _first_tokens(self) -> None:
        while self._prefilling and self._prefilling[0][0] <= self._now:
            at, work = self._prefilling.popleft()
            work.first = at
            self.counts.first_token.observe(at - work.request.at)
            if work.request.output <= 1:
                self.counts.output_tokens += work.request.output
                self._end(work)
                continue
            self.counts.output_tokens += 1
            heapq.heappush(self._decoding, (self._progress + work.request.output - 1, next(self._number), work))

    def _ends(self) -> None:
        while self._decoding and self._decoding[0][0] <= self._progress + _ROUNDING:
            _, _, work = heapq.heappop(self._decoding)
            self.counts.per_token.observe((self._now - work.first) / (work.request.output - 1))
            self._end(work)

    def _end(self, work: _Work) -> None:
        self._cached -= _tokens(work.request)
        took = self._now - work.request.at
        self.counts.request.observe(took)
        self.counts.answers.ok += 1
        self.counts.answers.milliseconds.observe(took * 1000)

    def _admit(self) -> None:
        while self._waiting:
            request = self._waiting[0]
            if self._now - request.at > self._timeout:
                self._waiting.popleft()
                self.counts.answers.gave_up += 1
                continue
            fits = self._cached + _tokens(request) <= self._model.kv_cache_tokens
            # One that is larger than the whole cache is worked on alone: a real server would have refused it.
            if self.running >= self._model.max_running or not (fits or self.running == 0):
                return
            self._waiting.popleft()
            self._cached += _tokens(request)
            self.counts.queued.observe(self._now - request.at)
            self.counts.prompt_tokens += request.prompt
            self._prefill_free = max(self._prefill_free, self._now)
            self._prefill_free += request.prompt / self._model.prefill_tokens_per_second
            self._prefilling.append((self._prefill_free, _Work(request, self._now)))


def _tokens(request: Request) -> int:
    return request.prompt + request.output
