"""Forecasts in a worker process, and its failures."""

from __future__ import annotations

import math
import multiprocessing
import os
from array import array

import pytest

from inferstack.controllers.scaling import forecasts
from inferstack.controllers.scaling.forecasts import ForecastRequest, ForecastWorker
from inferstack.controllers.scaling.metrics import ScalerMetrics
from inferstack.scaling.model import History

WAVE = array("d", (10 + 5 * math.sin(index / 40) for index in range(240)))
REQUEST = ForecastRequest(History(0.0, 60.0, WAVE), 8, 0.9)


async def test_worker_is_replaced_after_it_died_or_hung(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = ScalerMetrics()
    worker = ForecastWorker(metrics)
    try:
        await worker.update({"ml/chat": REQUEST, "ml/short": ForecastRequest(History(0.0, 60.0, WAVE[:5]), 8, 0.9)})
        forecast = worker.latest["ml/chat"]
        assert forecast is not None
        assert (forecast.start, len(forecast.mean), forecast.confidence) == (240 * 60.0, 8, 0.9)
        assert worker.latest["ml/short"] is None
        assert (metrics.forecasts, metrics.errors["forecast"]) == (2, 0)

        [process] = multiprocessing.active_children()
        process.kill()
        process.join()
        await worker.update({"ml/chat": REQUEST})
        assert metrics.errors["forecast"] == 1
        assert worker.latest == {"ml/chat": forecast}  # the last forecast is kept
        assert await worker._in_worker(os.getpid) != process.pid

        monkeypatch.setattr(forecasts, "_TIMEOUT_SECONDS", 0.0)
        await worker.update({"ml/chat": REQUEST})
        assert metrics.errors["forecast"] == 2
        assert not multiprocessing.active_children()
    finally:
        worker.close()


async def test_no_worker_without_requests() -> None:
    worker = ForecastWorker(ScalerMetrics())
    await worker.update({})
    assert not multiprocessing.active_children()
