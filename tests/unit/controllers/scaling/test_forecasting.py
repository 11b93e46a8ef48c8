"""Forecasts come from a process of their own, and its death is no one else's."""

from __future__ import annotations

import math
import multiprocessing
import os
from array import array

import pytest

from inferstack.controllers.scaling import forecasting
from inferstack.controllers.scaling.forecasting import Forecasting, Wish
from inferstack.controllers.scaling.metrics import Counts
from inferstack.scaling.model import History

WAVE = array("d", (10 + 5 * math.sin(index / 40) for index in range(240)))
WISH = Wish(History(0.0, 60.0, WAVE), 8, 0.9)


async def test_a_worker_foresees_and_another_follows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = Counts()
    made = Forecasting(counts)
    try:
        await made.renew({"ml/chat": WISH, "ml/short": Wish(History(0.0, 60.0, WAVE[:5]), 8, 0.9)})
        forecast = made.made["ml/chat"]
        assert forecast is not None
        assert (forecast.start, len(forecast.mean), forecast.confidence) == (240 * 60.0, 8, 0.9)
        assert made.made["ml/short"] is None
        assert (counts.forecasts, counts.errors["forecast"]) == (2, 0)

        [worker] = multiprocessing.active_children()
        worker.kill()
        worker.join()
        await made.renew({"ml/chat": WISH})
        assert counts.errors["forecast"] == 1
        assert made.made == {"ml/chat": forecast}  # what was foreseen is still of use
        assert await made._in_worker(os.getpid) != worker.pid

        monkeypatch.setattr(forecasting, "_PATIENCE_SECONDS", 0.0)
        await made.renew({"ml/chat": WISH})
        assert counts.errors["forecast"] == 2
        assert not multiprocessing.active_children()
    finally:
        made.close()


async def test_without_jobs_there_is_no_worker() -> None:
    made = Forecasting(Counts())
    await made.renew({})
    assert not multiprocessing.active_children()
