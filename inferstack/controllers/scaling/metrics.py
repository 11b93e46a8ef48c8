"""What the scaler shows of itself to Prometheus, as text."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

_PREFIX = "inferstack_scaler_"


@dataclass
class Counts:
    """What was done so far."""

    jobs: int = 0
    """Jobs that ask for predictive scaling now."""
    rounds: int = 0
    round_seconds: float = 0.0
    """Time that all rounds took together."""
    last_round_seconds: float = 0.0
    questions: int = 0
    """Asked of Prometheus."""
    question_seconds: float = 0.0
    forecasts: int = 0
    forecast_seconds: float = 0.0
    writes: int = 0
    """Of status.scaling."""
    decisions: Counter[str] = field(default_factory=Counter)
    """Jobs decided on, by reason; a job counts in each round."""
    errors: Counter[str] = field(default_factory=Counter)
    """By what did not work: prometheus, kubernetes, forecast, decision."""

    def render(self) -> str:
        """Return the page in Prometheus' text format."""
        gauges = (
            ("jobs", "InferenceJobs that ask for predictive scaling", self.jobs),
            ("last_round_seconds", "Time of the last round over all jobs", self.last_round_seconds),
        )
        totals = (
            ("rounds_total", "Rounds over all jobs", self.rounds),
            ("round_seconds_total", "Time of all rounds", self.round_seconds),
            ("questions_total", "Questions to Prometheus", self.questions),
            ("question_seconds_total", "Time until they were answered", self.question_seconds),
            ("forecasts_total", "Forecasts", self.forecasts),
            ("forecast_seconds_total", "Time that they took in the worker", self.forecast_seconds),
            ("writes_total", "Decisions written into a job's status", self.writes),
        )
        lines = [line for name, text, value in gauges for line in _family(name, text, "gauge", {"": value})]
        lines += [line for name, text, value in totals for line in _family(name, text, "counter", {"": value})]
        for name, text, label, counted in (
            ("decisions_total", "Decisions by reason", "reason", self.decisions),
            ("errors_total", "What did not work", "kind", self.errors),
        ):
            lines += _family(name, text, "counter", {f'{{{label}="{key}"}}': counted[key] for key in sorted(counted)})
        return "\n".join(lines) + "\n"


def _family(name: str, text: str, kind: str, values: dict[str, float]) -> list[str]:
    head = [f"# HELP {_PREFIX}{name} {text}", f"# TYPE {_PREFIX}{name} {kind}"]
    return head + [f"{_PREFIX}{name}{labels} {value:g}" for labels, value in values.items()]
