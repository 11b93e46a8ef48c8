"""Forecasts of arrivals with statsforecast, chosen by a rolling backtest against seasonal-naive.

Candidates are a season's profile times a level: the profile by the mean of the seasons or by MSTL (Bandara, Hyndman,
Bergmeir 2021), the level by exponential smoothing (AutoETS). Seasonal-naive is always among them, and wins where none
is better by pinball loss. Intervals are split-conformal: quantiles of the errors that the same model made in the
backtest, in units of the forecast or of its square root, whichever serves better.

This module alone imports statsforecast, and only when a forecast is asked for.
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
"""Step of the profile of a season, seconds: finer ones are noise, and MSTL takes minutes on them."""
LEAST_STEPS = 60
"""Below so many measured steps nothing is foreseen."""
LEVEL_STEPS = 1440
"""Steps that the level is fitted on."""
ORIGINS = 300
"""Forecasts in a backtest."""
POWERS = (0.5, 1.0)
MOST_GAPS = 0.5
"""Share of steps without a measurement above which nothing is foreseen."""


class Model(Protocol):
    """A way to forecast."""

    name: str

    def fit(self, values: Array) -> None:
        """Learn from all values, the last one being now."""

    def predict(self, values: Array, steps: int, begin: int = 0) -> Array:
        """Return the next steps after values.

        ``begin`` is the place of the first value, counted from the first that was learned from.
        """
        ...


class SeasonalNaive:
    """The value one season before; with a season of 1 the last value."""

    def __init__(self, name: str, season: int) -> None:
        models = _models()
        self.name = name
        self._season = season
        self._model: Any = models.SeasonalNaive(season_length=season)

    def fit(self, values: Array) -> None:
        """Learn nothing."""

    def predict(self, values: Array, steps: int, begin: int = 0) -> Array:  # noqa: ARG002  # as Model has it
        """Return the values of the season before."""
        mean: Array = self._model.forward(values[-self._season :], h=steps)["mean"]
        return mean


class Level:
    """Exponential smoothing of the values, each divided by its place in a season's profile."""

    def __init__(self, name: str, profile: Profile | None) -> None:
        models = _models()
        self.name = name
        self._profile = profile
        self._model: Any = models.AutoETS(season_length=1, model="AZN")

    def fit(self, values: Array) -> None:
        """Learn the profile from all values, the level's smoothing from the last."""
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
    """The shape of one season, at least a twentieth of its mean everywhere."""

    def __init__(self, season: int, fold: int, *, mstl: bool) -> None:
        self._season = season
        self._fold = fold
        self._mstl = mstl
        self._shape: Array

    def fit(self, values: Array) -> None:
        """Learn it from whole seasons up to the end; the first value is the season's beginning."""
        width = self._season // self._fold
        usable = len(values) // self._fold * self._fold
        coarse = values[:usable].reshape(-1, self._fold).mean(axis=1)
        floor = max(0.05 * float(coarse.mean()), 1e-9)
        shape = self._by_mstl(coarse + floor, width) if self._mstl else self._by_mean(coarse + floor, width)
        # The middle of each coarse step, and its neighbours around the corner of the season.
        at = (np.arange(-1, width + 1) + 0.5) * self._fold - 0.5
        self._shape = np.interp(np.arange(self._season), at, np.concatenate([shape[-1:], shape, shape[:1]]))

    def at(self, begin: int, steps: int) -> Array:
        """Return the shape from a step on, counted from the first value."""
        return self._shape[np.arange(begin, begin + steps) % self._season]

    @staticmethod
    def _by_mean(coarse: Array, width: int) -> Array:
        models = _models()
        seasons = len(coarse) // width
        model = models.SeasonalWindowAverage(season_length=width, window_size=seasons)
        shape: Array = model.forecast(coarse, h=width)["mean"]
        return np.roll(shape, len(coarse) % width)  # it begins where the values end

    @staticmethod
    def _by_mstl(coarse: Array, width: int) -> Array:
        from statsforecast.mstl import mstl  # noqa: PLC0415  # as in _models

        parts = mstl(np.log(coarse), width)
        shape: Array = np.exp(parts["seasonal"].to_numpy()[-width:] + float(parts["trend"].to_numpy()[-width:].mean()))
        return np.roll(shape, len(coarse) % width)


@dataclass(frozen=True)
class Backtest:
    """How a model did on the last part of the history, of which it had learned nothing."""

    model: Model
    loss: float
    """Pinball loss of the median and of the upper end together, requests a second."""
    power: float
    """Errors scatter like this power of the forecast: 0.5 as counts do, 1 as a rate that goes up and down by shares."""
    errors: Array
    """Origins by steps: measured less forecast, in units of `scatter`."""


@dataclass(frozen=True)
class _Chosen:
    """For what the models were fitted."""

    start: float
    end: float
    step: float
    steps: int
    confidence: float

    def fits(self, history: History, steps: int, confidence: float, refresh: float) -> bool:
        """Tell whether the choice still serves."""
        same = (history.step, confidence) == (self.step, self.confidence) and steps <= self.steps
        return same and self.end <= history.end < self.end + refresh


class Chooser:
    """The forecaster of one job: chooses and fits now and then, predicts at once.

    Args:
        refresh: seconds of history after which models are fitted and chosen anew.
        mstl: whether MSTL is tried, which takes a second or so at each choice.
    """

    def __init__(self, refresh: float = 6 * 3600.0, *, mstl: bool = True) -> None:
        self.refresh = refresh
        self.mstl = mstl
        self._chosen: _Chosen | None = None
        self._best: Backtest
        self._why = ""
        self._said: tuple[tuple[float, int, int, float], Forecast] | None = None

    def predict(self, history: History, steps: int, confidence: float) -> Forecast | None:
        """Return a forecast of so many steps after the history's end.

        None where fewer than `LEAST_STEPS` steps are measured, more than half of them or the last few are missing.
        """
        asked = (history.end, len(history.rates), steps, confidence)
        if self._said is not None and self._said[0] == asked:
            return self._said[1]
        values = filled(history)
        if values is None:
            return None
        place = 0 if self._chosen is None else (history.start - self._chosen.start) / history.step
        fits = self._chosen is not None and self._chosen.fits(history, steps, confidence, self.refresh)
        if not fits or place < 0 or abs(place - round(place)) > 1e-6:
            self._choose(values, history, steps, confidence)
            self._chosen = _Chosen(history.start, history.end, history.step, steps, confidence)
            place = 0
        forecast = self._say(values, history, steps, confidence, round(place))
        self._said = (asked, forecast)
        return forecast

    def _choose(self, values: Array, history: History, steps: int, confidence: float) -> None:
        naive, others = candidates(len(values), history.step, mstl=self.mstl)
        ranked = sorted((backtest(model, values, steps, confidence) for model in naive), key=lambda found: found.loss)
        base = ranked[0]
        tried = [backtest(model, values, steps, confidence) for model in others]
        best = min(tried, key=lambda found: found.loss, default=base)
        if best.loss < base.loss:
            self._best = best
            self._why = f"{best.model.name} has {best.loss / base.loss:.2f} of the loss of {base.model.name}"
        else:
            self._best = base
            self._why = f"no model is better than {base.model.name}"
        self._best.model.fit(values)

    def _say(self, values: Array, history: History, steps: int, confidence: float, place: int) -> Forecast:
        mean = self._best.model.predict(values, steps, place)
        scale = scatter(mean, self._best.power)
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
            self._why,
        )


def candidates(count: int, step: float, *, mstl: bool) -> tuple[list[Model], list[Model]]:
    """Return the seasonal-naive models and their rivals, as far as so many steps show a season.

    A day counts as a season from two and a half days on, a week from two and a half weeks: the profile is learned on
    all but the part that the backtest needs.
    """
    naive: list[Model] = [SeasonalNaive("naive", 1)]
    rivals: list[Model] = [Level("ETS", None)]
    for word, seconds in (("daily", DAY), ("weekly", WEEK)):
        season = round(seconds / step)
        fold = max(1, math.floor(COARSE / step))
        if abs(season * step - seconds) > 1e-6 or season % fold or count < 2.5 * season:
            continue
        naive.append(SeasonalNaive(f"seasonal-naive, {word}", season))
        rivals.append(Level(f"{word} mean and ETS", Profile(season, fold, mstl=False)))
        if mstl and word == "daily":
            rivals.append(Level(f"{word} MSTL and ETS", Profile(season, fold, mstl=True)))
    return naive, rivals


def backtest(model: Model, values: Array, steps: int, confidence: float) -> Backtest:
    """Forecast from many origins in the last part of the history; what comes after an origin is not seen.

    The part is a fifth of the history, at most two days' worth of it in steps of a minute. Its first half gives the
    interval by which the second half's loss is judged; all of it gives the interval that is used later.
    """
    length = max(min(len(values) // 5, 2880), steps + 2)
    first = len(values) - length
    model.fit(values[:first])
    origins = np.unique(np.linspace(first, len(values) - steps, ORIGINS).astype(int))
    means = np.array([model.predict(values[:origin], steps) for origin in origins])
    truths = np.array([values[origin : origin + steps] for origin in origins])
    half = max(1, len(origins) // 2)
    tried = []
    for power in POWERS:
        scale = scatter(means, power)
        errors = (truths - means) / scale
        upper = means[half:] + scale[half:] * conformal(errors[:half], confidence)
        loss = pinball(truths[half:], means[half:], 0.5) + pinball(truths[half:], upper, confidence)
        tried.append(Backtest(model, loss, power, errors))
    return min(tried, key=lambda found: found.loss)


def scatter(mean: Array, power: float) -> Array:
    """Return the unit of errors at a forecast: a power of it, with a floor for quiet times."""
    found: Array = np.maximum(mean, 1e-2) ** power
    return found


def conformal(errors: Array, share: float) -> Array:
    """Return for each step the error that a share of forecasts does not exceed, for the sample's size corrected.

    Args:
        errors: origins by steps.
        share: 0 to 1.
    """
    count = len(errors)
    rank = min(math.ceil((count + 1) * share), count) - 1
    found: Array = np.sort(errors, axis=0)[rank]
    return found


def pinball(truth: Array, quantile: Array, share: float) -> float:
    """Return the mean pinball loss of a quantile forecast; smaller is better."""
    miss = truth - quantile
    return float(np.mean(np.maximum(share * miss, (share - 1) * miss)))


def filled(history: History) -> Array | None:
    """Return the rates without gaps; None where too little is measured.

    A gap takes the values of the day before, where they are there, else a straight line. A gap that reaches the end,
    of more than 5 steps, cannot be filled: the present is unknown.
    """
    values = np.asarray(history.rates, dtype=float)
    known = np.isfinite(values)
    if known.all():
        return values if len(values) >= LEAST_STEPS else None
    if known.sum() < LEAST_STEPS or known.mean() < 1 - MOST_GAPS or not known[-5:].any():
        return None
    values = values.copy()
    day = round(DAY / history.step)
    for index in np.flatnonzero(~known):
        if index >= day and np.isfinite(values[index - day]) and not _short(known, int(index)):
            values[index] = values[index - day]
    where = np.flatnonzero(np.isfinite(values))
    line: Array = np.interp(np.arange(len(values)), where, values[where])
    return line


def _models() -> Any:
    from statsforecast import models  # noqa: PLC0415  # takes seconds to import, and reactive scaling needs none of it

    return models


def _short(known: NDArray[np.bool_], index: int) -> bool:
    """Tell whether the gap around a step is short enough for a straight line."""
    near: Sequence[bool] = known[max(0, index - 5) : index + 6].tolist()
    return sum(near) >= 5
