"""What is said of a job, when it is written and what an Event tells."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstack.api import ScalingStatus
from inferstack.controllers.scaling import status
from inferstack.controllers.scaling.calibrate import Capacity, Source
from inferstack.controllers.scaling.status import Trouble, make_scaling, make_trouble, must_write
from inferstack.k8s.events import Transition
from inferstack.scaling.model import Decision, Forecast, Reason
from inferstack.scaling.reactive import DOWN, UP, Memory

Object = dict[str, Any]
NOW = 1_800_000_000.4
FORECAST = Forecast("daily mean and ETS", NOW, 60, (4.0, 8.0), (3.0, 6.5), (5.0, 9.1234), 0.95)
BEHAVIOR = {"scaleUp": UP.render(), "scaleDown": DOWN.render()}


def make_decision(**rest: Any) -> Decision:
    """Return a decision."""
    given = {
        "min_replicas": 3,
        "max_replicas": 9,
        "target": 21.5,
        "behavior": BEHAVIOR,
        "replicas": None,
        "reason": Reason.FORECAST,
        "sentence": "more is to come",
        "needed": 3,
        "reactive": 2,
        "forecast": FORECAST,
        "memory": Memory(),
        "floors": (),
    }
    return Decision(**{**given, **rest})


def say(now: float = NOW, *, asleep: bool = False, **rest: Any) -> Object:
    """Return the status of a decision."""
    return make_scaling(
        make_decision(**rest),
        Capacity(4.25, 32, Source.SATURATION),
        generation=7,
        asleep=asleep,
        cold=44.2,
        horizon=59.2,
        now=now,
        validity=60,
    )


def test_the_whole() -> None:
    assert say() == {
        "observedGeneration": 7,
        "minReplicas": 3,
        "maxReplicas": 9,
        "target": "21500m",
        "behavior": BEHAVIOR,
        "needed": 3,
        "reactive": 2,
        "reason": "Forecast",
        "message": "more is to come",
        "forecast": {
            "model": "daily mean and ETS",
            "lower": "3",
            "mean": "4",
            "upper": "5",
            "horizonSeconds": 60,
        },
        "service": {"requestsPerSecond": "4.25", "slots": 32, "coldStartSeconds": 45, "source": "Saturation"},
        "observedTime": "2027-01-15T08:00:00Z",
        "validUntil": "2027-01-15T08:01:00Z",
    }
    ScalingStatus.model_validate(say())


@given(
    target=st.floats(1e-6, 1e6),
    rate=st.floats(1e-9, 1e9),
    upper=st.floats(0, 1e12),
    replicas=st.none() | st.integers(0, 1000),
    reason=st.sampled_from(Reason),
    asleep=st.booleans(),
)
def test_whatever_was_decided_the_api_server_takes_it(
    target: float, rate: float, upper: float, replicas: int | None, reason: Reason, asleep: bool
) -> None:
    forecast = Forecast("x" * 99, NOW, 60, (0.0,), (0.0,), (upper,), 0.95)
    decision = make_decision(target=target, replicas=replicas, reason=reason, sentence="y" * 2000, forecast=forecast)
    made = make_scaling(
        decision,
        Capacity(rate, 1, Source.TARGET),
        generation=1,
        asleep=asleep,
        cold=0.0,
        horizon=15,
        now=NOW,
        validity=60,
    )
    ScalingStatus.model_validate(made)
    if asleep and reason is Reason.IDLE:
        assert made["replicas"] == 0


def test_a_trouble_leaves_the_decision_to_end_at_its_time() -> None:
    before = say()
    made = make_trouble(Trouble("PrometheusUnreachable", "it does not answer"), before, NOW + 20)
    changed = {"reason", "message", "observedTime"}
    assert {key: value for key, value in made.items() if key not in changed} == {
        key: value for key, value in before.items() if key not in changed
    }
    assert (made["reason"], made["message"]) == ("PrometheusUnreachable", "it does not answer")
    ScalingStatus.model_validate(made)
    first = make_trouble(Trouble("NoData", "nothing yet"), None, NOW)
    assert set(first) == changed
    ScalingStatus.model_validate(first)


@pytest.mark.parametrize(
    ("after", "seconds", "written"),
    [
        ({}, 0, False),
        ({}, 29, False),
        ({}, 31, True),  # half of its time is over
        ({"sentence": "the same in other words", "needed": 2}, 5, False),
        ({"min_replicas": 4}, 5, True),
        ({"max_replicas": 8}, 5, True),
        ({"target": 30.0}, 5, True),
        ({"replicas": 0}, 5, True),
        ({"reason": Reason.BURST}, 5, True),
    ],
)
def test_when_it_is_written(after: Object, seconds: float, written: bool) -> None:
    now = NOW + seconds
    assert must_write(say(), say(now, **after), now, 60) is written


def test_the_first_word_and_a_new_trouble_are_written_at_once_and_an_old_one_never_again() -> None:
    trouble = make_trouble(Trouble("NoData", "nothing yet"), None, NOW)
    assert must_write(None, say(), NOW, 60)
    assert must_write(None, trouble, NOW, 60)
    assert must_write(say(), make_trouble(Trouble("NoData", "nothing yet"), say(), NOW), NOW, 60)
    assert not must_write(trouble, make_trouble(Trouble("NoData", "nothing yet"), trouble, NOW + 900), NOW + 900, 60)
    assert must_write(trouble, make_trouble(Trouble("NoData", "another thing"), trouble, NOW), NOW, 60)
    assert must_write(trouble, say(NOW + 5), NOW + 5, 60)


def test_turns() -> None:
    assert status.turn(say(), say(min_replicas=4, sentence="still")) is None
    assert status.turn(None, say()) == Transition("Normal", "Forecast", "more is to come")
    budget = say(reason=Reason.BUDGET, sentence="more are needed")
    assert status.turn(say(), budget) == Transition("Warning", "Budget", "more are needed")
    trouble = make_trouble(Trouble("NoData", "nothing"), say(), NOW)
    assert status.turn(say(), trouble) == Transition("Warning", "NoData", "nothing")


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (-1e-9, "0"), (12, "12"), (0.0004, "0"), (1.5, "1.5"), (1e6, "1000000")]
)
def test_numbers(number: float, text: str) -> None:
    assert status.decimal(number) == text
