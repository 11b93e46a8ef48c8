"""One replica against what is known of queues, and its invariants under any load."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehearsal.load.arrivals import Request
from rehearsal.load.scenario import ServerModel
from rehearsal.load.server import Server

FAST = ServerModel(max_running=4, prefill_tokens_per_second=1000, token_seconds=0.01, token_seconds_per_request=0.001)


def test_single_request_duration() -> None:
    server = Server(FAST, 100, 0)
    server.enqueue(Request(1, 500, 101))
    server.advance(1.4)
    assert (server.running, server.waiting) == (1, 0)
    assert server.counts.first_token.count == 0
    server.advance(1.6)
    assert server.counts.first_token.sum == pytest.approx(0.5)
    server.advance(10)
    assert server.counts.request.sum == pytest.approx(0.5 + 100 * 0.01)
    assert server.counts.per_token.sum == pytest.approx(0.01)
    assert server.counts.output_tokens == pytest.approx(101)
    assert server.counts.prompt_tokens == 500


def test_larger_batch_slows_each_request() -> None:
    server = Server(FAST.model_copy(update={"prefill_tokens_per_second": 1e6}), 100, 0)
    for _ in range(4):
        server.enqueue(Request(0, 1, 101))
    server.advance(100)
    # All four end together, their steps take 10 + 3 ms.
    assert server.counts.request.sum / 4 == pytest.approx(100 * 0.013, rel=1e-4)


def test_excess_requests_wait_in_order_and_time_out() -> None:
    server = Server(FAST, 0.5, 0)
    for _ in range(6):
        server.enqueue(Request(0, 1, 101))
    assert (server.running, server.waiting) == (4, 2)
    server.advance(100)
    assert server.counts.requests.ok == 4
    assert server.counts.requests.timed_out == 2


def test_kv_cache_limits_running_requests() -> None:
    server = Server(FAST.model_copy(update={"kv_cache_tokens": 200}), 100, 0)
    server.enqueue(Request(0, 50, 50))
    server.enqueue(Request(0, 100, 50))
    assert (server.running, server.waiting) == (1, 1)
    assert server.cache_share == 0.5
    server.advance(100)
    assert server.counts.requests.ok == 2
    assert server.cache_share == 0


def test_waiting_time_matches_queueing_theory() -> None:
    """M/D/1: prompts one after the other at a constant time wait rho / (2 (1 - rho)) of that time on average."""
    model = ServerModel(max_running=10_000, prefill_tokens_per_second=1000)
    server, source = Server(model, 1e9, 0), random.Random(3)  # noqa: S311  # to be repeated
    at, number = 0.0, 20_000
    for _ in range(number):
        at += source.expovariate(8)  # 0.1 s each: rho is 0.8
        server.enqueue(Request(at, 100, 0))
    server.advance(at + 1000)
    mean = server.counts.first_token.sum / number
    assert mean == pytest.approx(0.1 + 0.1 * 0.8 / (2 * 0.2), rel=0.08)


requests = st.lists(st.tuples(st.floats(0, 20), st.integers(1, 400), st.integers(0, 60)), min_size=1, max_size=40).map(
    lambda rows: [Request(*row) for row in sorted(rows)]
)


@given(requests, st.integers(1, 5), st.floats(0.1, 30), st.floats(0.01, 3))
def test_requests_are_conserved_for_any_step_size(
    given_requests: list[Request], most: int, timeout: float, step: float
) -> None:
    model = FAST.model_copy(update={"max_running": most, "kv_cache_tokens": 600})
    coarse, fine = Server(model, timeout, 0), Server(model, timeout, 0)
    for request in given_requests:
        coarse.enqueue(request)
        moment = 0.0
        while moment < request.at:
            fine.advance(moment)
            moment += step
        fine.enqueue(request)
        for server in (coarse, fine):
            assert server.running <= most
            assert 0 <= server.cache_share <= 1
    left = fine.running + fine.waiting
    assert left == len(given_requests) - fine.counts.requests.ok - fine.counts.requests.timed_out
    for server in (coarse, fine):
        server.advance(10_000)
        assert server.running == server.waiting == 0
        assert server.counts.requests.ok + server.counts.requests.timed_out == len(given_requests)
    assert fine.counts.request.sum == pytest.approx(coarse.counts.request.sum, rel=1e-3, abs=1e-3)
    assert fine.counts.busy == pytest.approx(coarse.counts.busy, rel=1e-3, abs=1e-3)


def test_terminated_replica_returns_unfinished_requests() -> None:
    server = Server(FAST, 100, 0)
    asked = [Request(number / 10, 100, 50) for number in range(8)]
    for request in asked:
        server.enqueue(request)
    assert sorted(server.take_unfinished(), key=lambda request: request.at) == asked
    assert server.running == server.waiting == 0
