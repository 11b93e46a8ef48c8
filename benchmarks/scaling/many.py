"""How the time of a round of decisions grows with the number of jobs that share a pool.

The forecast is not made anew in a decision (once a minute and job, and fitted every six hours), so it has a row of its
own.
"""

from __future__ import annotations

import time

import numpy as np
from rich.console import Console
from rich.table import Table

from inferstack.scaling import pool
from inferstack.scaling.forecast import Chooser
from inferstack.scaling.model import Bounds, Forecast, History, Service, Slo, State
from inferstack.scaling.plan import decide

MINUTE = 60.0


class Fixed:
    """A forecaster that says one thing."""

    def __init__(self, forecast: Forecast) -> None:
        self.forecast = forecast

    def predict(self, history: History, steps: int, confidence: float) -> Forecast | None:  # noqa: ARG002  # as Forecaster
        """Return it."""
        return self.forecast


def complexity(quick: bool) -> list[dict[str, float]]:
    """Print and return the seconds of a round of decisions, and of a forecast."""
    rng = np.random.default_rng(1)
    minutes = np.arange(7 * 1440)
    rates = rng.poisson((15 - 9 * np.cos(2 * np.pi * minutes / 1440)) * MINUTE) / MINUTE
    history = History(0.0, MINUTE, rates.tolist())
    chooser, took = Chooser(), []
    for _ in range(2):
        began = time.perf_counter()
        made = chooser.predict(history, 3, 0.95)
        took.append(time.perf_counter() - began)
        history = History(0.0, MINUTE, [*history.rates, 6.0])
    assert made is not None
    service, slo = Service(rate=1.3, slots=8), Slo(2.0)
    found = []
    shown = Table(title="Seconds of a round: decide for each job, share the pool")
    for column in ("jobs", "seconds", "ms a job"):
        shown.add_column(column, justify="right")
    for jobs in (10, 100, 1000) if quick else (10, 100, 1000, 5000):
        states = [State(8, 8, float(load), 0.0, 6.0) for load in rng.integers(20, 60, jobs)]
        began = time.perf_counter()
        claims = [
            pool.Claim.of(
                f"job-{index}",
                decide(history.end, history, service, slo, Bounds(), state, Fixed(made)),
                Bounds(),
                gpus=1 + index % 4,
                priority=index % 3,
                held=state.replicas,
            )
            for index, state in enumerate(states)
        ]
        pool.share(claims, jobs * 20)
        seconds = time.perf_counter() - began
        found.append({"jobs": float(jobs), "seconds": seconds})
        shown.add_row(f"{jobs:,}", f"{seconds:.3f}", f"{1000 * seconds / jobs:.2f}")
    Console(width=120).print(shown)
    print(
        f"  a forecast: chosen and fitted in {took[0]:.1f} s (every six hours), then {1000 * took[1]:.1f} ms a minute"
    )
    return found
