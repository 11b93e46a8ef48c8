"""Forecasts in a process of their own: fitting takes seconds, and decisions come every few.

The worker is started for the first job that is to be foreseen, keeps a forecaster for each, and yields the processor to
the process that decides. Where it dies or hangs, another is started, and jobs go on with what was foreseen until that
ends.
"""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import TypeVar

from inferstack.controllers.scaling.metrics import Counts
from inferstack.scaling.model import Forecast, Forecaster, History

T = TypeVar("T")

_PATIENCE_SECONDS = 300.0
"""For one job. Choosing among models takes seconds; who takes minutes hangs."""
_NICE = 10
_LOG = logging.getLogger("scaler.forecasts")


@dataclass(frozen=True)
class Wish:
    """What is to be foreseen of a job."""

    history: History
    steps: int
    """After the history's end."""
    confidence: float


_forecasters: dict[str, Forecaster] = {}
"""Of the worker: by job."""


def _begin() -> None:
    os.nice(_NICE)


def _predict(key: str, wish: Wish) -> tuple[Forecast | None, float]:
    """Run in the worker: return the forecast and the seconds that it took."""
    from inferstack.scaling.forecast import Chooser  # noqa: PLC0415  # numpy and statsforecast are the worker's alone

    began = time.monotonic()
    forecaster = _forecasters.setdefault(key, Chooser())
    return forecaster.predict(wish.history, wish.steps, wish.confidence), time.monotonic() - began


def _forget(kept: set[str]) -> None:
    for key in [key for key in _forecasters if key not in kept]:
        del _forecasters[key]


class Forecasting:
    """Forecasts of jobs by namespace/name.

    Args:
        counts: where forecasts and failures are counted.
    """

    def __init__(self, counts: Counts) -> None:
        self.made: dict[str, Forecast | None] = {}
        """The latest."""
        self._counts = counts
        self._pool: ProcessPoolExecutor | None = None

    async def renew(self, wishes: dict[str, Wish]) -> None:
        """Foresee jobs one after the other, and forget all others."""
        for key in [key for key in self.made if key not in wishes]:
            del self.made[key]
        if not wishes:
            self.close()
            return
        try:
            for key, wish in wishes.items():
                self.made[key], seconds = await self._in_worker(_predict, key, wish)
                self._counts.forecasts += 1
                self._counts.forecast_seconds += seconds
            await self._in_worker(_forget, set(wishes))
        except (BrokenProcessPool, TimeoutError) as error:
            self._counts.errors["forecast"] += 1
            what = "hangs" if isinstance(error, TimeoutError) else "died"
            _LOG.warning("the worker for forecasts %s; starting another", what)
            self.close()

    async def _in_worker(self, work: Callable[..., T], *args: object) -> T:
        if self._pool is None:
            # A fresh interpreter: a copy of this one would carry its connections.
            self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _begin)
        async with asyncio.timeout(_PATIENCE_SECONDS):
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)

    def close(self) -> None:
        """End the worker, whatever it does."""
        if self._pool is None:
            return
        pool, self._pool = self._pool, None
        for process in multiprocessing.active_children():
            process.kill()
            process.join(1)
        pool.shutdown(wait=False, cancel_futures=True)
