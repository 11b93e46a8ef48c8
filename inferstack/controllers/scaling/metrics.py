"""What the scaler reports about itself: Prometheus metrics, and a log of failures without repetitions."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field

_PREFIX = "inferstack_scaler_"
_LOG = logging.getLogger("scaler")


@dataclass
class ScalerMetrics:
    """Counters and gauges of one scaler process."""

    jobs: int = 0
    """Jobs that currently request predictive scaling."""
    rounds: int = 0
    round_seconds: float = 0.0
    """Total duration of all rounds."""
    last_round_seconds: float = 0.0
    questions: int = 0
    """Prometheus queries."""
    question_seconds: float = 0.0
    forecasts: int = 0
    forecast_seconds: float = 0.0
    writes: int = 0
    """Writes of status.scaling."""
    decisions: Counter[str] = field(default_factory=Counter)
    """Decisions by reason; each job counts once per round."""
    errors: Counter[str] = field(default_factory=Counter)
    """Errors by kind: prometheus, kubernetes, forecast, decision."""

    def render(self) -> str:
        """Return the metrics in the Prometheus text format."""
        gauges = (
            ("jobs", "InferenceJobs that request predictive scaling", self.jobs),
            ("last_round_seconds", "Duration of the last round over all jobs", self.last_round_seconds),
        )
        totals = (
            ("rounds_total", "Rounds over all jobs", self.rounds),
            ("round_seconds_total", "Total duration of all rounds", self.round_seconds),
            ("questions_total", "Prometheus queries", self.questions),
            ("question_seconds_total", "Total duration of Prometheus queries", self.question_seconds),
            ("forecasts_total", "Forecasts", self.forecasts),
            ("forecast_seconds_total", "Total duration of forecasts in the worker", self.forecast_seconds),
            ("writes_total", "Decisions written to the status of a job", self.writes),
        )
        lines = [line for name, text, value in gauges for line in _family(name, text, "gauge", {"": value})]
        lines += [line for name, text, value in totals for line in _family(name, text, "counter", {"": value})]
        for name, text, label, counter in (
            ("decisions_total", "Decisions by reason", "reason", self.decisions),
            ("errors_total", "Errors by kind", "kind", self.errors),
        ):
            lines += _family(name, text, "counter", {f'{{{label}="{key}"}}': counter[key] for key in sorted(counter)})
        return "\n".join(lines) + "\n"


class FailureLog:
    """Counts every failure, and logs a failure when it begins, when its message changes and when it ends."""

    def __init__(self, metrics: ScalerMetrics) -> None:
        self._metrics = metrics
        self._current: dict[str, str] = {}

    def failed(self, kind: str, error: Exception) -> None:
        """Record a failure of a kind of ``ScalerMetrics.errors``."""
        self._metrics.errors[kind] += 1
        if self._current.get(kind) != str(error):
            self._current[kind] = str(error)
            _LOG.warning("%s: %s", kind, error)

    def succeeded(self, kind: str) -> None:
        """Record a success."""
        if self._current.pop(kind, None) is not None:
            _LOG.info("%s: works again", kind)


def _family(name: str, text: str, kind: str, values: dict[str, float]) -> list[str]:
    head = [f"# HELP {_PREFIX}{name} {text}", f"# TYPE {_PREFIX}{name} {kind}"]
    return head + [f"{_PREFIX}{name}{labels} {value:g}" for labels, value in values.items()]
