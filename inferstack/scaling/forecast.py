"""Forecasts of arrival rates with statsforecast; a rolling backtest selects the model.

A candidate is a seasonal profile times a level: the profile by the mean of the seasons or by MSTL (Bandara, Hyndman,
Bergmeir 2021), the level by exponential smoothing (AutoETS). The baseline is seasonal-naive, which is used unless a
candidate has a lower pinball loss. Prediction intervals are split-conformal: quantiles of the errors of the same model
in the backtest, scaled by the forecast or by its square root, whichever has the lower loss.

Only this module imports statsforecast, and only when a forecast is computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from inferstack.scaling.model import Forecast, History

Array = NDArray[np.float64]

DAY, WEEK = 86400.0, 7 * 86400.0
COARSE = 600.0
"""Step of a seasonal profile in seconds: finer steps are noise, and MSTL takes minutes on them."""
MIN_STEPS = 60
"""Minimum number of measured steps for a forecast."""
LEVEL_STEPS = 1440
"""Steps used to fit the level."""
ORIGINS = 300
"""Maximum number of forecasts in a backtest."""
POWERS = (0.5, 1.0)
MAX_MISSING = 0.5
"""Maximum fraction of missing steps for a forecast."""


class Model(Protocol):
    """A forecasting model."""

    name: str

    def fit(self, values: Array) -> None:
        """Fit the model to values that end now."""

    def predict(self, values: Array, steps: int, begin: int = 0) -> Array:
        """Return a forecast of the steps after the values.

        ``begin`` is the index of the first value, relative to the first value of the fit.
        """
        ...


class SeasonalNaive:
    """Repeats the value of one season before; with a season of 1, the last value."""

    def __init__(self, name: str, season: int) -> None:
        models = _models()
        self.name = name
        self._season = season
        self._model: Any = models.SeasonalNaive(season_length=season)

    def fit(self, values: Array) -> None:
        """Do nothing: the model has no parameters."""

    def predict(self, values: Array, steps: int, begin: int = 0) -> Array:  # noqa: ARG002  # as Model has it
        """Return the values of the previous season."""
        mean: Array = self._model.forward(values[-self._season :], h=steps)["mean"]
        return mean


class Level:
    """Exponential smoothing of values, after division by a seasonal profile."""

    def __init__(self, name: str, profile: Profile | None) -> None:
        models = _models()
        self.name = name
        self._profile = profile
        self._model: Any = models.AutoETS(season_length=1, model="AZN")

    def fit(self, values: Array) -> None:
        """Fit the profile to all values and the smoothing to the latest."""
        if self._profile is not None:
            self._profile.fit(values)
        self._model.fit(self._levels(values))

    def predict(self, values: Array, steps: int, begin: int = 0) -> Array:
        """Return the smoothed level times the profile."""
        mean: Array = self._model.forward(self._levels(values, begin), h=steps)["mean"].clip(min=0.0)
        return mean if self._profile is None else mean * self._profile.at(begin + len(values), steps)

    def _levels(self, values: Array, begin: int = 0) -> Array:
        recent = values[-LEVEL_STEPS:]
        if self._profile is None:
            return recent
        return recent / self._profile.at(begin + len(values) - len(recent), len(recent))


class Profile:
    """The seasonal profile; everywhere at least a twentieth of its mean."""

    def __init__(self, season: int, fold: int, *, mstl: bool) -> None:
        self._season = season
        self._fold = fold
        self._mstl = mstl
        self._shape: Array

    def fit(self, values: Array) -> None:
        """Fit the profile to whole seasons; a season starts with the first value."""
        width = self._season // self._fold
        usable = len(values) // self._fold * self._fold
        coarse = values[:usable].reshape(-1, self._fold).mean(axis=1)
        floor = max(0.05 * float(coarse.mean()), 1e-9)
        shape = self._by_mstl(coarse + floor, width) if self._mstl else self._by_mean(coarse + floor, width)
        # The middle of each coarse step, wrapped around the ends of the season.
        at = (np.arange(-1, width + 1) + 0.5) * self._fold - 0.5
        self._shape = np.interp(np.arange(self._season), at, np.concatenate([shape[-1:], shape, shape[:1]]))

    def at(self, begin: int, steps: int) -> Array:
        """Return the profile of steps from an index relative to the first value."""
        return self._shape[np.arange(begin, begin + steps) % self._season]

    @staticmethod
    def _by_mean(coarse: Array, width: int) -> Array:
        models = _models()
        seasons = len(coarse) // width
        model = models.SeasonalWindowAverage(season_length=width, window_size=seasons)
        shape: Array = model.forecast(coarse, h=width)["mean"]
        return np.roll(shape, len(coarse) % width)  # the forecast starts where the values end

    @staticmethod
    def _by_mstl(coarse: Array, width: int) -> Array:
        from statsforecast.mstl import mstl  # noqa: PLC0415  # as in _models

        parts = mstl(np.log(coarse), width)
        shape: Array = np.exp(parts["seasonal"].to_numpy()[-width:] + float(parts["trend"].to_numpy()[-width:].mean()))
        return np.roll(shape, len(coarse) % width)


@dataclass(frozen=True)
class Backtest:
    """The errors of a model on the last part of the history, which was not used to fit it."""

    model: Model
    loss: float
    """Sum of the pinball losses of the median and of the upper bound, in requests a second."""
    power: float
    """Errors scale with this power of the forecast: 0.5 for counts, 1 for relative changes."""
    errors: Array
    """Origins by steps: measured less forecast, in units of `error_scale`."""


@dataclass(frozen=True)
class _Fit:
    """The parameters that a model was fitted for."""

    start: float
    end: float
    step: float
    steps: int
    confidence: float

    def covers(self, history: History, steps: int, confidence: float, refresh: float) -> bool:
        """Return whether the fitted model can serve this forecast."""
        same = (history.step, confidence) == (self.step, self.confidence) and steps <= self.steps
        return same and self.end <= history.end < self.end + refresh


class BacktestForecaster:
    """The forecaster of one job: selects a model by backtest, and uses it until the next refresh.

    Args:
        refresh: seconds of history after which the selection is repeated.
        mstl: whether MSTL is a candidate, which adds about a second to each selection.
    """

    def __init__(self, refresh: float = 6 * 3600.0, *, mstl: bool = True) -> None:
        self.refresh = refresh
        self.mstl = mstl
        self._fit: _Fit | None = None
        self._best: Backtest
        self._explanation = ""
        self._cached: tuple[tuple[float, int, int, float], Forecast] | None = None

    def predict(self, history: History, steps: int, confidence: float) -> Forecast | None:
        """Return a forecast of the steps after the end of the history.

        None if fewer than `MIN_STEPS` steps are measured, or if more than half of them or the last few are missing.
        """
        key = (history.end, len(history.rates), steps, confidence)
        if self._cached is not None and self._cached[0] == key:
            return self._cached[1]
        values = filled(history)
        if values is None:
            return None
        offset = 0 if self._fit is None else (history.start - self._fit.start) / history.step
        covered = self._fit is not None and self._fit.covers(history, steps, confidence, self.refresh)
        if not covered or offset < 0 or abs(offset - round(offset)) > 1e-6:
            self._select(values, history, steps, confidence)
            self._fit = _Fit(history.start, history.end, history.step, steps, confidence)
            offset = 0
        forecast = self._forecast(values, history, steps, confidence, round(offset))
        self._cached = (key, forecast)
        return forecast

    def _select(self, values: Array, history: History, steps: int, confidence: float) -> None:
        naive, rivals = candidates(len(values), history.step, mstl=self.mstl)
        baseline = min((backtest(model, values, steps, confidence) for model in naive), key=lambda test: test.loss)
        tests = [backtest(model, values, steps, confidence) for model in rivals]
        best = min(tests, key=lambda test: test.loss, default=baseline)
        if best.loss < baseline.loss:
            self._best = best
            ratio = best.loss / baseline.loss
            self._explanation = f"{best.model.name} has {ratio:.2f} of the loss of {baseline.model.name}"
        else:
            self._best = baseline
            self._explanation = f"no model is better than {baseline.model.name}"
        self._best.model.fit(values)

    def _forecast(self, values: Array, history: History, steps: int, confidence: float, offset: int) -> Forecast:
        mean = self._best.model.predict(values, steps, offset)
        scale = error_scale(mean, self._best.power)
        errors = self._best.errors[:, :steps]
        upper = mean + scale * conformal(errors, confidence)
        lower = mean - scale * conformal(-errors, confidence)
        name = self._best.model.name
        return Forecast(
            name,
            history.end,
            history.step,
            tuple(mean.tolist()),
            tuple(np.clip(np.minimum(lower, mean), 0.0, None).tolist()),
            tuple(np.maximum(upper, mean).tolist()),
            confidence,
            self._explanation,
        )


def candidates(count: int, step: float, *, mstl: bool) -> tuple[list[Model], list[Model]]:
    """Return the seasonal-naive models and their rivals, for the seasons that the history is long enough for.

    A daily season needs two and a half days, a weekly season two and a half weeks: the backtest holds out a part of the
    history.
    """
    naive: list[Model] = [SeasonalNaive("naive", 1)]
    rivals: list[Model] = [Level("ETS", None)]
    for season_name, seconds in (("daily", DAY), ("weekly", WEEK)):
        season = round(seconds / step)
        fold = max(1, math.floor(COARSE / step))
        if abs(season * step - seconds) > 1e-6 or season % fold or count < 2.5 * season:
            continue
        naive.append(SeasonalNaive(f"seasonal-naive, {season_name}", season))
        rivals.append(Level(f"{season_name} mean and ETS", Profile(season, fold, mstl=False)))
        if mstl and season_name == "daily":
            rivals.append(Level(f"{season_name} MSTL and ETS", Profile(season, fold, mstl=True)))
    return naive, rivals


def backtest(model: Model, values: Array, steps: int, confidence: float) -> Backtest:
    """Forecast from many origins in the last part of the history; a forecast sees nothing after its origin.

    The part is a fifth of the history, and at most 2880 steps (two days of minutes). Its first half gives the intervals
    that the loss of the second half is measured with; all of it gives the intervals of later forecasts.
    """
    length = max(min(len(values) // 5, 2880), steps + 2)
    first = len(values) - length
    model.fit(values[:first])
    origins = np.unique(np.linspace(first, len(values) - steps, ORIGINS).astype(int))
    means = np.array([model.predict(values[:origin], steps) for origin in origins])
    truths = np.array([values[origin : origin + steps] for origin in origins])
    half = max(1, len(origins) // 2)
    tests = []
    for power in POWERS:
        scale = error_scale(means, power)
        errors = (truths - means) / scale
        upper = means[half:] + scale[half:] * conformal(errors[:half], confidence)
        loss = pinball(truths[half:], means[half:], 0.5) + pinball(truths[half:], upper, confidence)
        tests.append(Backtest(model, loss, power, errors))
    return min(tests, key=lambda test: test.loss)


def error_scale(mean: Array, power: float) -> Array:
    """Return the unit of errors at a forecast: a power of it, with a lower bound for idle times."""
    scale: Array = np.maximum(mean, 1e-2) ** power
    return scale


def conformal(errors: Array, probability: float) -> Array:
    """Return the quantile of the errors of each step, with the finite-sample correction of conformal prediction.

    Args:
        errors: origins by steps.
        probability: 0 to 1.
    """
    count = len(errors)
    rank = min(math.ceil((count + 1) * probability), count) - 1
    quantile: Array = np.sort(errors, axis=0)[rank]
    return quantile


def pinball(truth: Array, quantile: Array, probability: float) -> float:
    """Return the mean pinball loss of a quantile forecast; smaller is better."""
    miss = truth - quantile
    return float(np.mean(np.maximum(probability * miss, (probability - 1) * miss)))


def filled(history: History) -> Array | None:
    """Return the rates without gaps; None if too few are measured.

    A gap is filled from the previous day, a short gap by linear interpolation. A gap of more than 5 steps at the end
    cannot be filled, as the present is unknown.
    """
    values = np.asarray(history.rates, dtype=float)
    measured = np.isfinite(values)
    if measured.all():
        return values if len(values) >= MIN_STEPS else None
    if measured.sum() < MIN_STEPS or measured.mean() < 1 - MAX_MISSING or not measured[-5:].any():
        return None
    values = values.copy()
    day = round(DAY / history.step)
    for index in np.flatnonzero(~measured):
        if index >= day and np.isfinite(values[index - day]) and not _is_short_gap(measured, int(index)):
            values[index] = values[index - day]
    where = np.flatnonzero(np.isfinite(values))
    interpolated: Array = np.interp(np.arange(len(values)), where, values[where])
    return interpolated


def _models() -> Any:
    from statsforecast import models  # noqa: PLC0415  # takes seconds to import; reactive scaling does not need it

    return models


def _is_short_gap(measured: NDArray[np.bool_], index: int) -> bool:
    """Return whether the gap around a step is short enough for linear interpolation."""
    near: Sequence[bool] = measured[max(0, index - 5) : index + 6].tolist()
    return sum(near) >= 5
