"""The work queue: what runs when, and how often."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import pytest

from inferstack.k8s import ApiError
from inferstack.k8s import workqueue as workqueue_module
from inferstack.k8s.workqueue import WorkQueue
from tests.unit.until import until


@contextlib.asynccontextmanager
async def running(queue: WorkQueue) -> AsyncIterator[None]:
    task = asyncio.create_task(queue.run())
    try:
        yield
    finally:
        task.cancel()


async def test_runs_of_a_key_do_not_overlap_and_changes_coalesce() -> None:
    now, most, runs = 0, 0, 0
    release = asyncio.Event()

    async def work(_key: str) -> None:
        nonlocal now, most, runs
        now += 1
        runs += 1
        most = max(most, now)
        await release.wait()
        now -= 1

    queue = WorkQueue(work, workers=4, name="test")
    async with running(queue):
        queue.add("a")
        await until(lambda: now == 1)
        for _ in range(10):
            queue.add("a")
        release.set()
        await until(lambda: runs == 2 and now == 0)
        await asyncio.sleep(0.02)
    assert (runs, most) == (2, 1)


async def test_request_errors_are_retried_and_bugs_are_not() -> None:
    tries = 0

    async def work(key: str) -> None:
        nonlocal tries
        tries += 1
        if key == "bug":
            raise KeyError(key)
        if tries == 1:
            raise ApiError(500, {}, request="x")

    queue = WorkQueue(work, workers=1, name="test")
    task = asyncio.create_task(queue.run())
    queue.add("a")
    await until(lambda: tries == 2)
    queue.add("bug")
    with pytest.raises(ExceptionGroup) as raised:
        await task
    assert raised.group_contains(KeyError)


async def test_work_returns_when_to_run_again() -> None:
    answers: list[float | None] = [0.001, 0.001, None]

    async def work(_key: str) -> float | None:
        return answers.pop(0)

    queue = WorkQueue(work, workers=1, name="test")
    async with running(queue):
        queue.add("a")
        await until(lambda: not answers)


async def test_waiting_counts_keys_without_a_worker() -> None:
    taken: list[str] = []
    release = asyncio.Event()

    async def work(key: str) -> None:
        taken.append(key)
        await release.wait()

    queue = WorkQueue(work, workers=2, name="test")
    for key in ("a", "b", "c", "d", "e"):
        queue.add(key)
    assert queue.waiting == 5
    async with running(queue):
        await until(lambda: taken == ["a", "b"])
        assert queue.waiting == 3
        queue.add("a")  # runs again after this run: no worker could take it now
        queue.add("e")  # is in the queue already
        queue.add_after("f", 600)
        assert queue.waiting == 3
        release.set()
        await until(lambda: taken == ["a", "b", "c", "d", "e", "a"] and queue.waiting == 0)


@pytest.mark.parametrize("asks", [(0.001, 600), (600, 0.001)])
async def test_the_earliest_delayed_request_counts(asks: tuple[float, ...]) -> None:
    runs: list[str] = []

    async def work(key: str) -> None:
        runs.append(key)

    queue = WorkQueue(work, workers=1, name="test")
    async with running(queue):
        for seconds in asks:
            queue.add_after("a", seconds)
        await until(lambda: runs == ["a"])
        queue.add_after("a", 0.001)  # an ask that has been answered holds nothing back
        await until(lambda: runs == ["a", "a"])


async def test_forget_drops_the_delayed_request() -> None:
    runs: list[str] = []

    async def work(key: str) -> None:
        runs.append(key)

    queue = WorkQueue(work, workers=1, name="test")
    queue.forget("never seen")
    async with running(queue):
        queue.add_after("a", 0.001)
        queue.add_after("b", 0.02)
        queue.forget("a")
        await until(lambda: runs == ["b"])
        queue.add_after("a", 0.001)
        await until(lambda: runs == ["b", "a"])


async def test_forget_drops_the_count_of_failures(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(workqueue_module, "_LONGEST_WAIT", 600.0)
    monkeypatch.setattr(workqueue_module, "_FIRST_WAIT", 100.0)
    caplog.set_level(logging.DEBUG, logger="test")

    async def work(_key: str) -> None:
        raise ConnectionResetError

    def told() -> list[tuple[int, str]]:
        return [(record.levelno, record.message.rpartition("; ")[2]) for record in caplog.records]

    queue = WorkQueue(work, workers=1, name="test")
    async with running(queue):
        first, second = (logging.DEBUG, "next attempt in 100.0 s"), (logging.WARNING, "next attempt in 200.0 s")
        for expected in ([first], [first, second]):
            queue.add("a")
            await until(lambda expected=expected: told() == expected)  # type: ignore[misc]
        queue.forget("a")
        queue.add("a")
        await until(lambda: told() == [first, second, first])
