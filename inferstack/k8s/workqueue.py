"""A work queue: each key is queued at most once, and no two workers process it at the same time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from inferstack.k8s.informer import REQUEST_ERRORS

_FIRST_WAIT = 0.2
_LONGEST_WAIT = 10.0


class WorkQueue:
    """Runs ``work`` for each added key; a key that is added while it is processed is processed again.

    Args:
        work: called with a key; returns the seconds until the next call, or None. `REQUEST_ERRORS` are logged and
            retried with exponential back-off.
        workers: number of concurrent workers.
        name: name of the logger.
    """

    def __init__(self, work: Callable[[str], Awaitable[float | None]], *, workers: int, name: str) -> None:
        self._work = work
        self._workers = workers
        self._log = logging.getLogger(name)
        self._queue: asyncio.Queue[str] = asyncio.Queue()
        self._dirty: set[str] = set()
        self._running: set[str] = set()
        self._failures: dict[str, int] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}

    @property
    def waiting(self) -> int:
        """The number of keys that wait for a worker."""
        return self._queue.qsize()

    def add(self, key: str) -> None:
        """Queue a key."""
        if key in self._dirty:
            return
        self._dirty.add(key)
        if key not in self._running:
            self._queue.put_nowait(key)

    def add_after(self, key: str, seconds: float) -> None:
        """Queue a key after ``seconds``, or earlier if an earlier time is already scheduled."""
        loop = asyncio.get_running_loop()
        timer = self._timers.get(key)
        if timer is not None:
            if timer.when() <= loop.time() + seconds:
                return
            timer.cancel()
        self._timers[key] = loop.call_later(seconds, self._due, key)

    def forget(self, key: str) -> None:
        """Cancel the timer of a key and reset its failure count."""
        self._failures.pop(key, None)
        if timer := self._timers.pop(key, None):
            timer.cancel()

    def _due(self, key: str) -> None:
        self._timers.pop(key, None)
        self.add(key)

    async def run(self) -> None:
        """Process keys until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(self._workers):
                group.create_task(self._worker())

    async def _worker(self) -> None:
        while True:
            key = await self._queue.get()
            self._dirty.discard(key)
            self._running.add(key)
            again: float | None = None
            try:
                again = await self._work(key)
                self._failures.pop(key, None)
            except REQUEST_ERRORS as error:
                count = self._failures[key] = self._failures.get(key, 0) + 1
                again = min(_FIRST_WAIT * 2 ** (count - 1), _LONGEST_WAIT)
                # A single conflict or broken connection is normal; a second one in a row is not.
                level = logging.DEBUG if count == 1 else logging.WARNING
                self._log.log(level, "%s: %s: %s; next attempt in %.1f s", key, type(error).__name__, error, again)
            finally:
                self._running.discard(key)
                if key in self._dirty:
                    self._queue.put_nowait(key)
            if again is not None:
                self.add_after(key, again)
