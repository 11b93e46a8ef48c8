"""How many replicas a Deployment shall have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstack.api import Autoscale
from inferstack.operator.replicas import bounds, decide


def make_autoscale(low: int, high: int | None) -> Autoscale:
    """Return an autoscale section with these bounds."""
    metrics = [{"type": "QueueDepth", "target": 5}]
    return Autoscale.model_validate({"minReplicas": low, "maxReplicas": high, "metrics": metrics})


COUNT = st.integers(1, 1000)
SCALES = st.tuples(COUNT, st.none() | COUNT).filter(lambda pair: pair[1] is None or pair[0] <= pair[1])
MAYBE = st.none() | st.integers(0, 2000)


@given(replicas=st.integers(0, 1000), applied=MAYBE, live=MAYBE)
def test_without_an_autoscaler_the_jobs_number(replicas: int, applied: int | None, live: int | None) -> None:
    assert decide(replicas, None, applied=applied, live=live) == replicas


@given(replicas=COUNT, scale=SCALES, applied=MAYBE, live=MAYBE)
def test_with_one_always_within_the_bounds(
    replicas: int, scale: tuple[int, int | None], applied: int | None, live: int | None
) -> None:
    autoscale = make_autoscale(*scale)
    low, high = bounds(replicas, autoscale)
    assert 1 <= low <= high <= 1000
    assert low <= decide(replicas, autoscale, applied=applied, live=live) <= high


@given(replicas=COUNT, scale=SCALES, live=COUNT)
def test_the_autoscalers_number_stays_where_it_is_allowed(
    replicas: int, scale: tuple[int, int | None], live: int
) -> None:
    autoscale = make_autoscale(*scale)
    low, high = bounds(replicas, autoscale)
    decided = decide(replicas, autoscale, applied=replicas, live=live)
    assert decided == (live if low <= live <= high else min(max(live, low), high))


@given(replicas=COUNT, scale=SCALES, applied=MAYBE, live=MAYBE)
def test_what_was_decided_is_decided_again(
    replicas: int, scale: tuple[int, int | None], applied: int | None, live: int | None
) -> None:
    autoscale = make_autoscale(*scale)
    once = decide(replicas, autoscale, applied=applied, live=live)
    assert decide(replicas, autoscale, applied=replicas, live=once) == once


@pytest.mark.parametrize(
    ("replicas", "applied", "live", "decided"),
    [
        (8, None, None, 8),  # new
        (8, 8, 13, 13),  # the autoscaler went up
        (8, 8, 40, 16),  # beyond twice the job's number
        (6, 8, 13, 6),  # a person changed it
        (0, 8, 13, 0),  # paused
        (8, 0, 0, 8),  # goes on after a pause
    ],
)
def test_by_example(replicas: int, applied: int | None, live: int | None, decided: int) -> None:
    assert decide(replicas, make_autoscale(1, None), applied=applied, live=live) == decided
