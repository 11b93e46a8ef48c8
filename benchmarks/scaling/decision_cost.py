"""Duration of a round of decisions by the number of jobs that share a pool.

A decision uses an existing forecast, so forecasts are measured separately: one per job and minute, with a new model
selection every six hours.
"""

from __future__ import annotations

import time

import numpy as np
from rich.console import Console
from rich.table import Table

from inferstack.scaling import pool
from inferstack.scaling.forecast import BacktestForecaster
from inferstack.scaling.model import Bounds, Forecast, History, ObservedState, Service, Slo
from inferstack.scaling.plan import decide

MINUTE = 60.0


class FixedForecaster:
    """Returns always the same forecast."""

    def __init__(self, forecast: Forecast) -> None:
        self.forecast = forecast

    def predict(self, history: History, steps: int, confidence: float) -> Forecast | None:  # noqa: ARG002  # as Forecaster
        """Return the forecast."""
        return self.forecast


def measure_decisions(quick: bool) -> list[dict[str, float]]:
    """Print and return the duration of a round of decisions; print that of a forecast."""
    rng = np.random.default_rng(1)
    minutes = np.arange(7 * 1440)
    rates = rng.poisson((15 - 9 * np.cos(2 * np.pi * minutes / 1440)) * MINUTE) / MINUTE
    history = History(0.0, MINUTE, rates.tolist())
    forecaster, durations = BacktestForecaster(), []
    for _ in range(2):
        began = time.perf_counter()
        forecast = forecaster.predict(history, 3, 0.95)
        durations.append(time.perf_counter() - began)
        history = History(0.0, MINUTE, [*history.rates, 6.0])
    assert forecast is not None
    service, slo = Service(rate=1.3, slots=8), Slo(2.0)
    results = []
    table = Table(title="Duration of a round: decide for each job, share the pool")
    for column in ("jobs", "seconds", "ms per job"):
        table.add_column(column, justify="right")
    for jobs in (10, 100, 1000) if quick else (10, 100, 1000, 5000):
        states = [ObservedState(8, 8, float(load), 0.0, 6.0) for load in rng.integers(20, 60, jobs)]
        began = time.perf_counter()
        claims = [
            pool.Claim.of(
                f"job-{index}",
                decide(history.end, history, service, slo, Bounds(), state, FixedForecaster(forecast)),
                Bounds(),
                gpus=1 + index % 4,
                priority=index % 3,
                held=state.replicas,
            )
            for index, state in enumerate(states)
        ]
        pool.allocate(claims, jobs * 20)
        seconds = time.perf_counter() - began
        results.append({"jobs": float(jobs), "seconds": seconds})
        table.add_row(f"{jobs:,}", f"{seconds:.3f}", f"{1000 * seconds / jobs:.2f}")
    Console(width=120).print(table)
    print(f"  a forecast: {durations[0]:.1f} s with model selection (each 6 h), {1000 * durations[1]:.1f} ms without")
    return results
