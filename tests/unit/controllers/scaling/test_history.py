"""The history of jobs: contents, and queries to Prometheus."""

from __future__ import annotations

import math

import pytest

from inferstack.controllers.scaling.calibration import ReplicaLoad
from inferstack.controllers.scaling.history import CHUNK_STEPS, EMPTY_CHUNKS, HistoryStore
from inferstack.controllers.scaling.prometheus import Prometheus, PrometheusError
from tests.unit.controllers.scaling.prometheus_server import Server, failure

NOW = 6_000_030.0
"""Half a step after the end of a step."""
STEP = 60.0


def make(prometheus: Prometheus, depth: int = 60) -> HistoryStore:
    """Return an store with steps of a minute."""
    return HistoryStore(prometheus, step=STEP, depth=depth, window=30, recent=10)


async def complete(store: HistoryStore, jobs: dict[str, float], now: float = NOW) -> int:
    """Extend the history until it is complete; return the number of calls."""
    for count in range(1, 100):
        if not await store.extend(jobs, now):
            return count
    raise AssertionError


async def test_steps_are_aligned_to_the_epoch_and_complete(server: Server, prometheus: Prometheus) -> None:
    server.jobs = {"scrape_targets": {"": 9}, "arrivals": {"ml/chat": lambda now: now / STEP}}
    store = make(prometheus)
    await complete(store, {"ml/chat": 0.0})
    history = store.arrivals("ml/chat")
    assert (history.start, history.end, len(history.rates)) == (6_000_000 - 60 * STEP, 6_000_000, 60)
    # The value of a step is the rate at its end.
    assert list(history.rates) == [history.start / STEP + 1 + index for index in range(60)]


async def test_new_step_is_queried_once_for_all_jobs(server: Server, prometheus: Prometheus) -> None:
    server.jobs = {"scrape_targets": {"": 9}, "arrivals": {"ml/chat": 1, "ml/more": 2}}
    store = make(prometheus)
    jobs = {"ml/chat": 0.0, "ml/more": 0.0}
    await complete(store, jobs)
    server.queries.clear()
    await store.extend(jobs, NOW + STEP)
    assert [(form["start"], form["end"]) for form in server.queries_of("arrivals")] == [("6000060.000", "6000060.000")]
    assert len(store.arrivals("ml/chat").rates) == 60
    server.queries.clear()
    await store.extend(jobs, NOW + STEP + 5)
    assert not server.queries


async def test_newest_steps_are_queried_first(server: Server, prometheus: Prometheus) -> None:
    server.jobs = {"scrape_targets": {"": 9}, "arrivals": {"ml/chat": lambda now: now}}
    store = make(prometheus, depth=3 * CHUNK_STEPS)
    assert await store.extend({"ml/chat": 0.0}, NOW)
    assert store.arrivals("ml/chat").end == 6_000_000
    assert await complete(store, {"ml/chat": 0.0}) <= 3
    history = store.arrivals("ml/chat")
    assert len(history.rates) == 3 * CHUNK_STEPS
    assert list(history.rates) == [history.start + (index + 1) * STEP for index in range(len(history.rates))]


async def test_queries_stop_beyond_the_retention_of_prometheus(server: Server, prometheus: Prometheus) -> None:
    began = 6_000_000 - 100 * STEP
    server.jobs = {"scrape_targets": {"": lambda now: 9.0 if now > began else None}}
    server.jobs["arrivals"] = {"ml/chat": lambda now: 1.0 if now > began else None}
    store = make(prometheus, depth=100 * CHUNK_STEPS)
    await complete(store, {"ml/chat": 0.0})
    assert len(server.queries_of("arrivals")) <= EMPTY_CHUNKS + 2


async def test_missing_series_count_as_zero_while_prometheus_is_up(server: Server, prometheus: Prometheus) -> None:
    away = (6_000_000 - 20 * STEP, 6_000_000 - 10 * STEP)
    server.jobs["scrape_targets"] = {"": lambda now: None if away[0] < now <= away[1] else 9.0}
    server.jobs["arrivals"] = {"ml/chat": lambda now: 5.0 if now <= 6_000_000 - 30 * STEP else None}
    store = make(prometheus)
    await complete(store, {"ml/chat": 6_000_000 - 40 * STEP})
    rates = list(store.arrivals("ml/chat").rates)
    assert rates[20:30] == [5.0] * 10
    assert rates[30:40] == [0.0] * 10
    assert all(math.isnan(rate) for rate in rates[40:50])
    assert rates[50:] == [0.0] * 10
    assert store.last_arrival("ml/chat") == 6_000_000 - 30 * STEP


async def test_arrivals_before_creation_are_unknown(server: Server, prometheus: Prometheus) -> None:
    server.jobs["scrape_targets"] = {"": 9}
    store = make(prometheus)
    await complete(store, {"ml/chat": 6_000_000 - 10 * STEP})
    rates = list(store.arrivals("ml/chat").rates)
    assert all(math.isnan(rate) for rate in rates[:50])
    assert rates[50:] == [0.0] * 10
    assert store.last_arrival("ml/chat") is None


async def test_loads_are_averages_per_replica(server: Server, prometheus: Prometheus) -> None:
    server.jobs = {
        "scrape_targets": {"": 9},
        "up": {"ml/chat": lambda now: 4.0 if now > 6_000_000 - 5 * STEP else None},
        "finished": {"ml/chat": 8, "ml/none": 8},
        "running": {"ml/chat": 40, "ml/none": 1},
        "waiting": {"ml/chat": lambda now: math.nan if now == 6_000_000 else 2.0},
    }
    store = make(prometheus)
    await complete(store, {"ml/chat": 0.0, "ml/none": 0.0})
    assert store.loads("ml/chat") == [ReplicaLoad(2.0, 10.0, 0.5)] * 4
    assert store.loads("ml/none") == []


async def test_history_is_complete_after_an_outage(server: Server, prometheus: Prometheus) -> None:
    server.jobs = {"scrape_targets": {"": 9}, "arrivals": {"ml/chat": lambda now: now}}
    store = make(prometheus)
    await complete(store, {"ml/chat": 0.0})
    server.failure_response = failure(503, "unavailable", "restarting")
    with pytest.raises(PrometheusError):
        await store.extend({"ml/chat": 0.0}, NOW + 20 * STEP)
    assert store.arrivals("ml/chat").end == 6_000_000
    server.failure_response = None
    await store.extend({"ml/chat": 0.0}, NOW + 30 * STEP)
    history = store.arrivals("ml/chat")
    assert history.end == 6_000_000 + 30 * STEP
    assert list(history.rates) == [history.start + (index + 1) * STEP for index in range(60)]


async def test_history_restarts_after_a_pause_longer_than_its_depth(server: Server, prometheus: Prometheus) -> None:
    server.jobs = {"scrape_targets": {"": 9}, "arrivals": {"ml/chat": 1}}
    store = make(prometheus)
    await complete(store, {"ml/chat": 0.0})
    await complete(store, {"ml/chat": 0.0}, NOW + 500 * STEP)
    history = store.arrivals("ml/chat")
    assert (history.end, len(history.rates)) == (6_000_000 + 500 * STEP, 60)


async def test_deleted_jobs_are_dropped(server: Server, prometheus: Prometheus) -> None:
    server.jobs = {"scrape_targets": {"": 9}, "arrivals": {"ml/chat": 1}}
    store = make(prometheus)
    await complete(store, {"ml/chat": 0.0})
    await store.extend({}, NOW)
    assert len(store.arrivals("ml/chat").rates) == 0
