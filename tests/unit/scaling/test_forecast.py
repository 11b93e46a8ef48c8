"""Forecasts: seasons are found, seasonal-naive is the bar, gaps and short histories are handled."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import pytest

from inferstack.scaling.forecast import Array, Chooser, backtest, candidates, conformal, filled, pinball
from inferstack.scaling.model import History

STEP = 300.0
DAY = 288


def daily(days: float, seed: int = 1, noise: float = 0.5) -> Array:
    at = np.arange(int(days * DAY))
    rates: Array = 20 + 12 * np.sin(2 * np.pi * at / DAY) + np.random.default_rng(seed).normal(0, noise, len(at))
    return rates


def test_a_daily_season_is_found_and_beats_seasonal_naive() -> None:
    values = daily(10)
    made = Chooser(mstl=False).predict(History(0.0, STEP, values[: 9 * DAY].tolist()), DAY // 4, 0.95)
    assert made is not None
    assert "daily" in made.model
    assert "of the loss of" in made.why
    truth = values[9 * DAY : 9 * DAY + DAY // 4]
    assert np.abs(np.array(made.mean) - truth).mean() < 1.0
    assert made.start == 9 * DAY * STEP
    inside = np.mean((truth <= np.array(made.upper)) & (truth >= np.array(made.lower)))
    assert inside >= 0.75


def test_mstl_is_among_the_candidates_and_works() -> None:
    naive, rivals = candidates(5 * DAY, STEP, mstl=True)
    assert [model.name for model in naive] == ["naive", "seasonal-naive, daily"]
    (mstl,) = [model for model in rivals if "MSTL" in model.name]
    values = daily(5)
    found = backtest(mstl, values, 3, 0.9)
    bar = backtest(naive[1], values, 3, 0.9)
    assert found.loss < bar.loss


def test_seasonal_naive_is_used_where_nothing_is_better() -> None:
    """The same day over and over, without noise: the season before cannot be beaten."""
    day = np.random.default_rng(3).uniform(1, 40, DAY)
    made = Chooser(mstl=False).predict(History(0.0, STEP, np.tile(day, 6).tolist()), 4, 0.9)
    assert made is not None
    assert made.model == "seasonal-naive, daily"
    assert "no model is better" in made.why
    assert made.mean == pytest.approx(tuple(day[:4]))


def test_a_week_is_tried_from_two_and_a_half_weeks_on() -> None:
    names = [
        [model.name for group in candidates(days * 24, 3600.0, mstl=False) for model in group] for days in (17, 18)
    ]
    assert not any("weekly" in name for name in names[0])
    assert any("weekly" in name for name in names[1])


def test_too_little_is_said_to_be_too_little() -> None:
    chooser = Chooser(mstl=False)
    assert chooser.predict(History(0.0, STEP, [1.0] * 59), 3, 0.9) is None
    assert chooser.predict(History(0.0, STEP, []), 3, 0.9) is None
    assert chooser.predict(History(0.0, STEP, [1.0] * 100 + [math.nan] * 6), 3, 0.9) is None
    assert chooser.predict(History(0.0, STEP, [1.0, math.nan, math.nan] * 100), 3, 0.9) is None


def test_gaps_are_filled_from_the_day_before_or_by_a_line() -> None:
    values = daily(3, noise=0.0)
    holed = values.copy()
    holed[2 * DAY : 2 * DAY + 60] = np.nan
    holed[100] = np.nan
    whole = filled(History(0.0, STEP, holed.tolist()))
    assert whole is not None
    assert np.abs(whole - values).max() < 0.1
    assert np.isfinite(whole).all()


def test_nothing_but_zeros_foresees_zero() -> None:
    made = Chooser(mstl=False).predict(History(0.0, STEP, [0.0] * (3 * DAY)), 3, 0.95)
    assert made is not None
    assert max(made.upper) < 0.01
    assert min(made.lower) >= 0


def test_a_history_that_slides_on_is_not_fitted_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    values, fitted = daily(8), []
    chooser = Chooser(refresh=3600.0, mstl=False)

    def choose(values: Array, history: History, steps: int, confidence: float) -> None:
        fitted.append(history.start)
        Chooser._choose(chooser, values, history, steps, confidence)

    monkeypatch.setattr(chooser, "_choose", choose)
    for index in range(24):
        window = History(index * STEP, STEP, values[index : index + 6 * DAY].tolist())
        made = chooser.predict(window, 3, 0.9)
        assert made is not None
        truth = values[index + 6 * DAY : index + 6 * DAY + 3]
        assert np.abs(np.array(made.mean) - truth).max() < 3
    assert len(fitted) == 2
    assert chooser.predict(window, 3, 0.9) is made


def test_nothing_after_an_origin_is_seen() -> None:
    """What a backtest says of its first half does not change with what comes later."""
    naive, _ = candidates(3 * DAY, STEP, mstl=False)
    values = daily(3)
    other = values.copy()
    other[-10:] = 1000.0
    one, two = (backtest(naive[0], each, 2, 0.9) for each in (values, other))
    assert one.errors[:20] == pytest.approx(two.errors[:20])


def test_conformal_covers_and_pinball_prefers_the_quantile() -> None:
    errors = np.random.default_rng(1).normal(0, 1, (1000, 2))
    edge = conformal(errors, 0.9)
    fresh = np.random.default_rng(2).normal(0, 1, (5000, 2))
    assert np.mean(fresh <= edge) == pytest.approx(0.9, abs=0.02)
    assert pinball(fresh, np.full_like(fresh, 1.28), 0.9) < pinball(fresh, np.full_like(fresh, 0.5), 0.9)
    assert conformal(np.array([[1.0], [2.0]]), 0.99)[0] == 2.0


def test_statsforecast_is_imported_only_when_a_forecast_is_made() -> None:
    code = "import sys, inferstack.scaling.plan, inferstack.scaling.forecast; sys.exit('statsforecast' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0
    code = "import sys, inferstack.scaling.plan, inferstack.scaling.pool; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=120).returncode == 0
