"""What the operator shows of itself to Prometheus, as text."""

from __future__ import annotations

_PREFIX = "inferstack_operator_"


def render(*, jobs: int, waiting: int, listed: bool) -> str:
    """Return the page in Prometheus' text format.

    Args:
        jobs: InferenceJobs in view.
        waiting: jobs that wait for a run.
        listed: whether the first lists are in, so that jobs are served.
    """
    shown = (
        ("up_to_date", "Whether the first lists are in and jobs are served", int(listed)),
        ("jobs", "InferenceJobs in view", jobs),
        ("queue_length", "Jobs that wait for a run", waiting),
    )
    return "".join(
        f"# HELP {_PREFIX}{name} {text}\n# TYPE {_PREFIX}{name} gauge\n{_PREFIX}{name} {value}\n"
        for name, text, value in shown
    )
