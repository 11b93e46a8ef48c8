"""Forecasts: model selection against seasonal-naive, gaps and short histories."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from inferstack.scaling.forecast import Array, BacktestForecaster, backtest, candidates, conformal, filled, pinball
from inferstack.scaling.model import History

STEP = 300.0
DAY = 288


def daily(days: float, seed: int = 1, noise: float = 0.5) -> Array:
    at = np.arange(int(days * DAY))
    rates: Array = 20 + 12 * np.sin(2 * np.pi * at / DAY) + np.random.default_rng(seed).normal(0, noise, len(at))
    return rates


def test_daily_season_is_detected_and_beats_seasonal_naive() -> None:
    values = daily(10)
    forecast = BacktestForecaster(mstl=False).predict(History(0.0, STEP, values[: 9 * DAY].tolist()), DAY // 4, 0.95)
    assert forecast is not None
    assert "daily" in forecast.model
    assert "of the loss of" in forecast.explanation
    truth = values[9 * DAY : 9 * DAY + DAY // 4]
    assert np.abs(np.array(forecast.mean) - truth).mean() < 1.0
    assert forecast.start == 9 * DAY * STEP
    inside = np.mean((truth <= np.array(forecast.upper)) & (truth >= np.array(forecast.lower)))
    assert inside >= 0.75


def test_mstl_is_a_candidate_and_beats_seasonal_naive() -> None:
    naive, rivals = candidates(5 * DAY, STEP, mstl=True)
    assert [model.name for model in naive] == ["naive", "seasonal-naive, daily"]
    (mstl,) = [model for model in rivals if "MSTL" in model.name]
    values = daily(5)
    mstl_test = backtest(mstl, values, 3, 0.9)
    baseline = backtest(naive[1], values, 3, 0.9)
    assert mstl_test.loss < baseline.loss


def test_seasonal_naive_is_used_if_no_model_is_better() -> None:
    """On a noiseless repetition of one day, no model beats the previous season."""
    day = np.random.default_rng(3).uniform(1, 40, DAY)
    forecast = BacktestForecaster(mstl=False).predict(History(0.0, STEP, np.tile(day, 6).tolist()), 4, 0.9)
    assert forecast is not None
    assert forecast.model == "seasonal-naive, daily"
    assert "no model is better" in forecast.explanation
    assert forecast.mean == pytest.approx(tuple(day[:4]))


def test_weekly_season_needs_two_and_a_half_weeks() -> None:
    names = [
        [model.name for group in candidates(days * 24, 3600.0, mstl=False) for model in group] for days in (17, 18)
    ]
    assert not any("weekly" in name for name in names[0])
    assert any("weekly" in name for name in names[1])


def test_insufficient_history_yields_no_forecast() -> None:
    forecaster = BacktestForecaster(mstl=False)
    assert forecaster.predict(History(0.0, STEP, [1.0] * 59), 3, 0.9) is None
    assert forecaster.predict(History(0.0, STEP, []), 3, 0.9) is None
    assert forecaster.predict(History(0.0, STEP, [1.0] * 100 + [math.nan] * 6), 3, 0.9) is None
    assert forecaster.predict(History(0.0, STEP, [1.0, math.nan, math.nan] * 100), 3, 0.9) is None


def test_gaps_are_filled_from_previous_day_or_interpolated() -> None:
    values = daily(3, noise=0.0)
    incomplete = values.copy()
    incomplete[2 * DAY : 2 * DAY + 60] = np.nan
    incomplete[100] = np.nan
    complete = filled(History(0.0, STEP, incomplete.tolist()))
    assert complete is not None
    assert np.abs(complete - values).max() < 0.1
    assert np.isfinite(complete).all()


def test_zero_history_forecasts_zero() -> None:
    forecast = BacktestForecaster(mstl=False).predict(History(0.0, STEP, [0.0] * (3 * DAY)), 3, 0.95)
    assert forecast is not None
    assert max(forecast.upper) < 0.01
    assert min(forecast.lower) >= 0


def test_model_is_selected_again_only_after_refresh(monkeypatch: pytest.MonkeyPatch) -> None:
    values, fitted = daily(8), []
    forecaster = BacktestForecaster(refresh=3600.0, mstl=False)

    def select(values: Array, history: History, steps: int, confidence: float) -> None:
        fitted.append(history.start)
        BacktestForecaster._select(forecaster, values, history, steps, confidence)

    monkeypatch.setattr(forecaster, "_select", select)
    for index in range(24):
        window = History(index * STEP, STEP, values[index : index + 6 * DAY].tolist())
        forecast = forecaster.predict(window, 3, 0.9)
        assert forecast is not None
        truth = values[index + 6 * DAY : index + 6 * DAY + 3]
        assert np.abs(np.array(forecast.mean) - truth).max() < 3
    assert len(fitted) == 2
    assert forecaster.predict(window, 3, 0.9) is forecast


def test_backtest_does_not_see_values_after_the_origin() -> None:
    """The errors of the first half of a backtest do not depend on later values."""
    naive, _ = candidates(3 * DAY, STEP, mstl=False)
    values = daily(3)
    changed = values.copy()
    changed[-10:] = 1000.0
    first, second = (backtest(naive[0], series, 2, 0.9) for series in (values, changed))
    assert first.errors[:20] == pytest.approx(second.errors[:20])


def test_conformal_interval_has_coverage_and_pinball_prefers_the_quantile() -> None:
    errors = np.random.default_rng(1).normal(0, 1, (1000, 2))
    bound = conformal(errors, 0.9)
    fresh = np.random.default_rng(2).normal(0, 1, (5000, 2))
    assert np.mean(fresh <= bound) == pytest.approx(0.9, abs=0.02)
    assert pinball(fresh, np.full_like(fresh, 1.28), 0.9) < pinball(fresh, np.full_like(fresh, 0.5), 0.9)
    assert conformal(np.array([[1.0], [2.0]]), 0.99)[0] == 2.0


def test_statsforecast_is_imported_only_for_a_forecast() -> None:
    code = "import sys, inferstack.scaling.plan, inferstack.scaling.forecast; sys.exit('statsforecast' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0
    code = "import sys, inferstack.scaling.plan, inferstack.scaling.pool; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0
