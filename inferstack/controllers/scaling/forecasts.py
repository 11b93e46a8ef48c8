"""Forecasts in a separate process: fitting a model takes seconds, a round of decisions comes every few seconds.

The worker starts with the first request, keeps one forecaster per job and runs at low priority. If it dies or hangs,
the next update starts another one; until then decisions use the last forecasts until these expire.
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

from inferstack.controllers.scaling.metrics import ScalerMetrics
from inferstack.scaling.model import Forecast, Forecaster, History

T = TypeVar("T")

_TIMEOUT_SECONDS = 300.0
"""For one job. Model selection takes seconds; a worker that takes minutes hangs."""
_NICE = 10
_LOG = logging.getLogger("scaler.forecasts")


@dataclass(frozen=True)
class ForecastRequest:
    """The forecast that a job needs."""

    history: History
    steps: int
    """Horizon, in steps after the end of the history."""
    confidence: float


_forecasters: dict[str, Forecaster] = {}
"""Forecasters of the worker process, by job."""


def _begin() -> None:
    os.nice(_NICE)


def _predict(key: str, request: ForecastRequest) -> tuple[Forecast | None, float]:
    """Run in the worker: return the forecast and the seconds that it took."""
    from inferstack.scaling.forecast import BacktestForecaster  # noqa: PLC0415  # only the worker imports numpy

    began = time.monotonic()
    forecaster = _forecasters.setdefault(key, BacktestForecaster())
    return forecaster.predict(request.history, request.steps, request.confidence), time.monotonic() - began


def _forget(kept: set[str]) -> None:
    for key in [key for key in _forecasters if key not in kept]:
        del _forecasters[key]


class ForecastWorker:
    """Computes forecasts of jobs in a worker process.

    Args:
        metrics: counts forecasts and failures.
    """

    def __init__(self, metrics: ScalerMetrics) -> None:
        self.latest: dict[str, Forecast | None] = {}
        """The latest forecast of each job, by namespace/name."""
        self._metrics = metrics
        self._pool: ProcessPoolExecutor | None = None

    async def update(self, requests: dict[str, ForecastRequest]) -> None:
        """Compute the requested forecasts one after the other, and drop those of all other jobs."""
        for key in [key for key in self.latest if key not in requests]:
            del self.latest[key]
        if not requests:
            self.close()
            return
        try:
            for key, request in requests.items():
                self.latest[key], seconds = await self._in_worker(_predict, key, request)
                self._metrics.forecasts += 1
                self._metrics.forecast_seconds += seconds
            await self._in_worker(_forget, set(requests))
        except (BrokenProcessPool, TimeoutError) as error:
            self._metrics.errors["forecast"] += 1
            what = "hangs" if isinstance(error, TimeoutError) else "died"
            _LOG.warning("the forecast worker %s; starting another one", what)
            self.close()

    async def _in_worker(self, work: Callable[..., T], *args: object) -> T:
        if self._pool is None:
            # Spawn: a forked process would inherit the connections of this one.
            self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _begin)
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            return await asyncio.get_running_loop().run_in_executor(self._pool, work, *args)

    def close(self) -> None:
        """Kill the worker."""
        if self._pool is None:
            return
        pool, self._pool = self._pool, None
        for process in multiprocessing.active_children():
            process.kill()
            process.join(1)
        pool.shutdown(wait=False, cancel_futures=True)
