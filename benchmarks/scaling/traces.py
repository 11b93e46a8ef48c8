"""Traces of requests, generated from a seed or read from a file, with the preceding days as history.

- ``diurnal``: two harmonics a day, lower weekends, variation of 8% between days and 3% between minutes, Poisson
  arrivals.
- ``bursts``: similar to BurstGPT (arXiv 2401.17644). As in the generator of its authors, interarrival times have a
  gamma distribution of shape 0.5 whose scale changes each minute; here by a random walk that reverts within 5 minutes.
- ``flash``: the diurnal trace with flash crowds at random times, up to six times the load within two minutes.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from inferstack.errors import UserError
from inferstack.scaling.simulate import Trace

Array = NDArray[np.float64]
MINUTE, DAY = 60.0, 86400.0
HISTORY_DAYS = 15
"""History before the simulated time; a weekly season needs two and a half weeks."""
PREFILL_SECONDS = 0.05
PREFILL_SECONDS_PER_TOKEN = 1e-4
DECODE_SECONDS_PER_TOKEN = 0.02
"""Order of magnitude for an 8B model on one GPU at 8 concurrent requests; a real service is measured."""


@dataclass(frozen=True)
class Workload:
    """A trace from time 0 and its history."""

    trace: Trace
    seconds: float
    """Length of the trace."""
    past: Array
    """Arrival rate in each minute before time 0."""
    past_service_times: Array
    """Sample of service times before time 0, in seconds."""
    past_first_token: Array
    past_burstiness: float
    """Squared coefficient of variation of interarrival times before time 0, normalized by the rate of each minute."""

    def minutes(self) -> Array:
        """Return the arrival rate in each whole minute of history and trace."""
        count = int(self.seconds // MINUTE)
        counts = np.bincount((self.trace.arrivals // MINUTE).astype(int), minlength=count)[:count]
        return np.concatenate([self.past, counts / MINUTE])


def make(name: str, seed: int, hours: float) -> Workload:
    """Return the workload of a seed; the trace starts on a Monday at 06:00."""
    rng = np.random.default_rng([seed, sum(name.encode())])
    ahead = math.ceil(hours * 60)
    minutes = HISTORY_DAYS * 1440 + ahead
    clock = np.arange(minutes) - HISTORY_DAYS * 1440 + 6 * 60
    shape = 1.0
    if name == "diurnal":
        rates = _diurnal(rng, clock)
    elif name == "bursts":
        rates, shape = _bursts(rng, clock), 0.5
    elif name == "flash":
        rates = _diurnal(rng, clock) * _flash(rng, minutes, ahead)
    else:
        raise ValueError(name)
    times = _arrivals(rng, rates, shape)
    split = HISTORY_DAYS * DAY
    before, after = times[times < split], times[times >= split] - split
    past = np.bincount((before // MINUTE).astype(int), minlength=HISTORY_DAYS * 1440) / MINUTE
    service_times, first_token = _durations(*_tokens(rng, len(after)))
    past_service_times, past_first_token = _durations(*_tokens(rng, 20_000))
    return Workload(
        Trace(name, after, service_times, first_token),
        ahead * MINUTE,
        past,
        past_service_times,
        past_first_token,
        _burstiness(before, past),
    )


def read(path: Path, hours: float) -> Workload:
    """Return the workload of a CSV file with one request per line: timestamp in seconds, input and output tokens.

    The trace is the last hours, at most half of the file; the rest is the history. The file may have a header line.

    Raises:
        UserError: the file cannot be read, a line is not three numbers, or there are fewer than 1,000 requests.
    """
    rows = []
    try:
        with path.open(newline="") as file:
            for number, row in enumerate(csv.reader(file), 1):
                try:
                    stamp, tokens_in, tokens_out = (float(field) for field in row[:3])
                except ValueError as error:
                    if number == 1:
                        continue
                    raise UserError(
                        f"{path}, line {number}: {','.join(row)[:60]!r} is not 'timestamp,input tokens,output tokens'"
                    ) from error
                if not all(math.isfinite(number) and number >= 0 for number in (stamp, tokens_in, tokens_out)):
                    raise UserError(f"{path}, line {number}: negative or infinite number")
                rows.append((stamp, tokens_in, tokens_out))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read as a CSV file: {error}") from error
    if len(rows) < 1000:
        raise UserError(f"{path}: has {len(rows)} requests; at least 1,000 are required to compare policies")
    table = np.array(sorted(rows))
    times = table[:, 0] - table[0, 0]
    ahead = min(hours * 3600, times[-1] / 2) // MINUTE * MINUTE
    if ahead < 10 * MINUTE:
        raise UserError(f"{path}: spans {times[-1]:.0f} s; at least 20 minutes are required")
    split = (times[-1] - ahead) // MINUTE * MINUTE
    late = times >= split
    service_times, first_token = _durations(table[:, 1], table[:, 2])
    past = np.bincount((times[~late] // MINUTE).astype(int), minlength=int(split // MINUTE)) / MINUTE
    trace = Trace(path.name, times[late] - split, service_times[late], first_token[late])
    return Workload(
        trace, float(times[-1] - split), past, service_times[~late], first_token[~late], _burstiness(times[~late], past)
    )


def _diurnal(rng: np.random.Generator, clock: NDArray[np.int64]) -> Array:
    phase = 2 * np.pi * clock / 1440
    day = clock // 1440
    shape = 1 - 0.55 * np.cos(phase - 0.6) + 0.15 * np.sin(2 * phase)
    levels = np.exp(rng.normal(0, 0.08, int(day.max() - day.min()) + 1))[day - day.min()]
    weekend = np.where(day % 7 >= 5, 0.7, 1.0)
    rates: Array = 15 * shape * levels * weekend * np.exp(_walk(rng, len(clock), 0.03, 10))
    return rates


def _bursts(rng: np.random.Generator, clock: NDArray[np.int64]) -> Array:
    rates: Array = 10 * (1 - 0.3 * np.cos(2 * np.pi * clock / 1440)) * np.exp(_walk(rng, len(clock), 0.5, 5))
    return rates


def _walk(rng: np.random.Generator, count: int, spread: float, minutes: float) -> Array:
    """Return a mean-reverting random walk with a standard deviation and a correlation time."""
    keep = math.exp(-1 / minutes)
    shocks = rng.normal(0, spread * math.sqrt(1 - keep * keep), count)
    walk = np.empty(count)
    value = 0.0
    for index, shock in enumerate(shocks.tolist()):
        value = keep * value + shock
        walk[index] = value
    return walk


def _flash(rng: np.random.Generator, minutes: int, ahead: int) -> Array:
    """Return the factors of flash crowds: one per day of history, one per eight hours of the trace."""
    factor = np.ones(minutes)
    begins = [day * 1440 + int(rng.integers(0, 1380)) for day in range(HISTORY_DAYS)]
    spans = max(1, ahead // 480)
    begins += [HISTORY_DAYS * 1440 + int((index + rng.uniform(0.2, 0.7)) * ahead / spans) for index in range(spans)]
    for begin in begins:
        height = rng.uniform(2, 5)
        curve = np.concatenate([np.linspace(0.5, 1, 2), np.ones(15), np.exp(-np.arange(40) / 8)]) * height
        until = min(begin + len(curve), minutes)
        factor[begin:until] += curve[: until - begin]
    return factor


def _arrivals(rng: np.random.Generator, rates: Array, shape: float) -> Array:
    """Return the arrival times of a renewal process of mean 1, time-changed by the rates."""
    clock = np.concatenate([[0.0], np.cumsum(rates) * MINUTE])
    total = clock[-1]
    gaps = rng.gamma(shape, 1 / shape, int(total + 10 * math.sqrt(total / shape)))
    stamps = np.cumsum(gaps)
    times: Array = np.interp(stamps[stamps < total], clock, np.arange(len(clock)) * MINUTE)
    return times


def _tokens(rng: np.random.Generator, count: int) -> tuple[Array, Array]:
    """Return input and output tokens, lognormal with means of 500 and 300."""
    spread = 0.8
    shift = -spread * spread / 2
    inputs = np.exp(rng.normal(math.log(500) + shift, spread, count)).clip(1, 8000)
    outputs = np.exp(rng.normal(math.log(300) + shift, spread, count)).clip(1, 4000)
    return inputs, outputs


def _durations(inputs: Array, outputs: Array) -> tuple[Array, Array]:
    """Return the service times of requests, and the times to first token without queueing."""
    first_token = PREFILL_SECONDS + PREFILL_SECONDS_PER_TOKEN * inputs + DECODE_SECONDS_PER_TOKEN
    return first_token + DECODE_SECONDS_PER_TOKEN * outputs, first_token


def _burstiness(times: Array, rates: Array) -> float:
    gaps = np.diff(times[-200_000:])
    minute = (times[-200_000:][1:] // MINUTE).astype(int)
    scaled = gaps * rates[np.minimum(minute, len(rates) - 1)]
    mean = float(scaled.mean())
    return float(scaled.var()) / (mean * mean) if mean > 0 else 1.0
