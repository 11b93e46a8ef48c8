"""What was measured before now, and what is asked for when."""

from __future__ import annotations

import math

import pytest

from inferstack.controllers.scaling.archive import CHUNK_STEPS, EMPTY_CHUNKS, Archive
from inferstack.controllers.scaling.calibrate import Load
from inferstack.controllers.scaling.prometheus import Prometheus, PrometheusError
from tests.unit.controllers.scaling.prometheus_server import Server, failure

NOW = 6_000_030.0
"""Half a step after a step has ended."""
STEP = 60.0


def make(prometheus: Prometheus, depth: int = 60) -> Archive:
    """Return an archive in minutes."""
    return Archive(prometheus, step=STEP, depth=depth, window=30, recent=10)


async def whole(archive: Archive, jobs: dict[str, float], now: float = NOW) -> int:
    """Extend until nothing is missing; return how many times it took."""
    for count in range(1, 100):
        if not await archive.extend(jobs, now):
            return count
    raise AssertionError


async def test_steps_are_cut_from_the_epoch_and_none_is_unfinished(server: Server, prometheus: Prometheus) -> None:
    server.jobs = {"alive": {"": 9}, "arrivals": {"ml/chat": lambda now: now / STEP}}
    archive = make(prometheus)
    await whole(archive, {"ml/chat": 0.0})
    history = archive.history("ml/chat")
    assert (history.start, history.end, len(history.rates)) == (6_000_000 - 60 * STEP, 6_000_000, 60)
    # The value of a step is what its rates are at its end.
    assert list(history.rates) == [history.start / STEP + 1 + index for index in range(60)]


async def test_a_step_more_is_one_question_of_one_step(server: Server, prometheus: Prometheus) -> None:
    server.jobs = {"alive": {"": 9}, "arrivals": {"ml/chat": 1, "ml/more": 2}}
    archive = make(prometheus)
    jobs = {"ml/chat": 0.0, "ml/more": 0.0}
    await whole(archive, jobs)
    server.asked.clear()
    await archive.extend(jobs, NOW + STEP)
    assert [(form["start"], form["end"]) for form in server.questions("arrivals")] == [("6000060.000", "6000060.000")]
    assert len(archive.history("ml/chat").rates) == 60
    server.asked.clear()
    await archive.extend(jobs, NOW + STEP + 5)
    assert not server.asked


async def test_the_newest_comes_first(server: Server, prometheus: Prometheus) -> None:
    server.jobs = {"alive": {"": 9}, "arrivals": {"ml/chat": lambda now: now}}
    archive = make(prometheus, depth=3 * CHUNK_STEPS)
    assert await archive.extend({"ml/chat": 0.0}, NOW)
    assert archive.history("ml/chat").end == 6_000_000
    assert await whole(archive, {"ml/chat": 0.0}) <= 3
    history = archive.history("ml/chat")
    assert len(history.rates) == 3 * CHUNK_STEPS
    assert list(history.rates) == [history.start + (index + 1) * STEP for index in range(len(history.rates))]


async def test_it_stops_to_ask_for_what_is_not_kept(server: Server, prometheus: Prometheus) -> None:
    began = 6_000_000 - 100 * STEP
    server.jobs = {"alive": {"": lambda now: 9.0 if now > began else None}}
    server.jobs["arrivals"] = {"ml/chat": lambda now: 1.0 if now > began else None}
    archive = make(prometheus, depth=100 * CHUNK_STEPS)
    await whole(archive, {"ml/chat": 0.0})
    assert len(server.questions("arrivals")) <= EMPTY_CHUNKS + 2


async def test_a_job_without_replicas_has_no_arrivals_while_prometheus_lives(
    server: Server, prometheus: Prometheus
) -> None:
    away = (6_000_000 - 20 * STEP, 6_000_000 - 10 * STEP)
    server.jobs["alive"] = {"": lambda now: None if away[0] < now <= away[1] else 9.0}
    server.jobs["arrivals"] = {"ml/chat": lambda now: 5.0 if now <= 6_000_000 - 30 * STEP else None}
    archive = make(prometheus)
    await whole(archive, {"ml/chat": 6_000_000 - 40 * STEP})
    rates = list(archive.history("ml/chat").rates)
    assert rates[20:30] == [5.0] * 10
    assert rates[30:40] == [0.0] * 10
    assert all(math.isnan(rate) for rate in rates[40:50])
    assert rates[50:] == [0.0] * 10
    assert archive.last_arrival("ml/chat") == 6_000_000 - 30 * STEP


async def test_before_its_creation_nothing_is_known_of_a_job(server: Server, prometheus: Prometheus) -> None:
    server.jobs["alive"] = {"": 9}
    archive = make(prometheus)
    await whole(archive, {"ml/chat": 6_000_000 - 10 * STEP})
    rates = list(archive.history("ml/chat").rates)
    assert all(math.isnan(rate) for rate in rates[:50])
    assert rates[50:] == [0.0] * 10
    assert archive.last_arrival("ml/chat") is None


async def test_loads_are_those_of_one_replica(server: Server, prometheus: Prometheus) -> None:
    server.jobs = {
        "alive": {"": 9},
        "up": {"ml/chat": lambda now: 4.0 if now > 6_000_000 - 5 * STEP else None},
        "finished": {"ml/chat": 8, "ml/none": 8},
        "running": {"ml/chat": 40, "ml/none": 1},
        "waiting": {"ml/chat": lambda now: math.nan if now == 6_000_000 else 2.0},
    }
    archive = make(prometheus)
    await whole(archive, {"ml/chat": 0.0, "ml/none": 0.0})
    assert archive.loads("ml/chat") == [Load(2.0, 10.0, 0.5)] * 4
    assert archive.loads("ml/none") == []


async def test_an_outage_loses_nothing(server: Server, prometheus: Prometheus) -> None:
    server.jobs = {"alive": {"": 9}, "arrivals": {"ml/chat": lambda now: now}}
    archive = make(prometheus)
    await whole(archive, {"ml/chat": 0.0})
    server.broken = failure(503, "unavailable", "restarting")
    with pytest.raises(PrometheusError):
        await archive.extend({"ml/chat": 0.0}, NOW + 20 * STEP)
    assert archive.history("ml/chat").end == 6_000_000
    server.broken = None
    await archive.extend({"ml/chat": 0.0}, NOW + 30 * STEP)
    history = archive.history("ml/chat")
    assert history.end == 6_000_000 + 30 * STEP
    assert list(history.rates) == [history.start + (index + 1) * STEP for index in range(60)]


async def test_who_was_away_for_longer_than_is_kept_begins_anew(server: Server, prometheus: Prometheus) -> None:
    server.jobs = {"alive": {"": 9}, "arrivals": {"ml/chat": 1}}
    archive = make(prometheus)
    await whole(archive, {"ml/chat": 0.0})
    await whole(archive, {"ml/chat": 0.0}, NOW + 500 * STEP)
    history = archive.history("ml/chat")
    assert (history.end, len(history.rates)) == (6_000_000 + 500 * STEP, 60)


async def test_jobs_that_are_gone_are_forgotten(server: Server, prometheus: Prometheus) -> None:
    server.jobs = {"alive": {"": 9}, "arrivals": {"ml/chat": 1}}
    archive = make(prometheus)
    await whole(archive, {"ml/chat": 0.0})
    await archive.extend({}, NOW)
    assert len(archive.history("ml/chat").rates) == 0
