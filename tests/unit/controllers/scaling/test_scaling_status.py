"""The format of status.scaling, when it is written, and its Events."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstack.api import ScalingStatus
from inferstack.apimachinery.objects import Object
from inferstack.controllers.scaling import status
from inferstack.controllers.scaling.calibration import Capacity, CapacitySource
from inferstack.controllers.scaling.status import NoDecision, format_decision, format_no_decision, must_publish
from inferstack.k8s.events import Transition
from inferstack.scaling.model import Decision, Forecast, Reason
from inferstack.scaling.reactive import DOWN, UP, HpaState

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
        "message": "load is rising",
        "needed": 3,
        "reactive": 2,
        "forecast": FORECAST,
        "hpa_state": HpaState(),
        "floors": (),
    }
    return Decision(**{**given, **rest})


def formatted(now: float = NOW, *, asleep: bool = False, **rest: Any) -> Object:
    """Return the status of a decision."""
    return format_decision(
        make_decision(**rest),
        Capacity(4.25, 32, CapacitySource.SATURATION),
        generation=7,
        asleep=asleep,
        cold_start=44.2,
        horizon=59.2,
        now=now,
        validity=60,
    )


def test_format_of_a_decision() -> None:
    assert formatted() == {
        "observedGeneration": 7,
        "minReplicas": 3,
        "maxReplicas": 9,
        "target": "21500m",
        "behavior": BEHAVIOR,
        "needed": 3,
        "reactive": 2,
        "reason": "Forecast",
        "message": "load is rising",
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
    ScalingStatus.model_validate(formatted())


@given(
    target=st.floats(1e-6, 1e6),
    rate=st.floats(1e-9, 1e9),
    upper=st.floats(0, 1e12),
    replicas=st.none() | st.integers(0, 1000),
    reason=st.sampled_from(Reason),
    asleep=st.booleans(),
)
def test_any_decision_is_a_valid_status(
    target: float, rate: float, upper: float, replicas: int | None, reason: Reason, asleep: bool
) -> None:
    forecast = Forecast("x" * 99, NOW, 60, (0.0,), (0.0,), (upper,), 0.95)
    decision = make_decision(target=target, replicas=replicas, reason=reason, message="y" * 2000, forecast=forecast)
    scaling = format_decision(
        decision,
        Capacity(rate, 1, CapacitySource.TARGET),
        generation=1,
        asleep=asleep,
        cold_start=0.0,
        horizon=15,
        now=NOW,
        validity=60,
    )
    ScalingStatus.model_validate(scaling)
    if asleep and reason is Reason.IDLE:
        assert scaling["replicas"] == 0


def test_no_decision_keeps_the_previous_one_until_it_expires() -> None:
    previous = formatted()
    scaling = format_no_decision(NoDecision("PrometheusUnreachable", "it does not answer"), previous, NOW + 20)
    changed = {"reason", "message", "observedTime"}
    assert {key: value for key, value in scaling.items() if key not in changed} == {
        key: value for key, value in previous.items() if key not in changed
    }
    assert (scaling["reason"], scaling["message"]) == ("PrometheusUnreachable", "it does not answer")
    ScalingStatus.model_validate(scaling)
    first = format_no_decision(NoDecision("NoData", "nothing yet"), None, NOW)
    assert set(first) == changed
    ScalingStatus.model_validate(first)


@pytest.mark.parametrize(
    ("after", "seconds", "written"),
    [
        ({}, 0, False),
        ({}, 29, False),
        ({}, 31, True),  # half of its validity has passed
        ({"message": "another message", "needed": 2}, 5, False),
        ({"min_replicas": 4}, 5, True),
        ({"max_replicas": 8}, 5, True),
        ({"target": 30.0}, 5, True),
        ({"replicas": 0}, 5, True),
        ({"reason": Reason.BURST}, 5, True),
    ],
)
def test_must_publish_changes_and_renewals(after: Object, seconds: float, written: bool) -> None:
    now = NOW + seconds
    assert must_publish(formatted(), formatted(now, **after), now, 60) is written


def test_first_status_and_new_reason_are_published_once() -> None:
    no_data = format_no_decision(NoDecision("NoData", "nothing yet"), None, NOW)
    assert must_publish(None, formatted(), NOW, 60)
    assert must_publish(None, no_data, NOW, 60)
    assert must_publish(formatted(), format_no_decision(NoDecision("NoData", "nothing yet"), formatted(), NOW), NOW, 60)
    assert not must_publish(
        no_data, format_no_decision(NoDecision("NoData", "nothing yet"), no_data, NOW + 900), NOW + 900, 60
    )
    assert must_publish(no_data, format_no_decision(NoDecision("NoData", "another thing"), no_data, NOW), NOW, 60)
    assert must_publish(no_data, formatted(NOW + 5), NOW + 5, 60)


def test_transition_is_a_change_of_the_reason() -> None:
    assert status.transition(formatted(), formatted(min_replicas=4, message="still")) is None
    assert status.transition(None, formatted()) == Transition("Normal", "Forecast", "load is rising")
    budget = formatted(reason=Reason.BUDGET, message="more are needed")
    assert status.transition(formatted(), budget) == Transition("Warning", "Budget", "more are needed")
    no_data = format_no_decision(NoDecision("NoData", "nothing"), formatted(), NOW)
    assert status.transition(formatted(), no_data) == Transition("Warning", "NoData", "nothing")


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0"), (-1e-9, "0"), (12, "12"), (0.0004, "0"), (1.5, "1.5"), (1e6, "1000000")]
)
def test_decimal_has_three_places(number: float, text: str) -> None:
    assert status.decimal(number) == text
