"""The HPA's algorithm, on cases worked out by hand from the documentation of Kubernetes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstack.scaling.errors import ScalingError
from inferstack.scaling.reactive import (
    DOWN,
    UP,
    Keda,
    Memory,
    Pods,
    Policy,
    PolicyType,
    Rules,
    Shadow,
    Spec,
    from_pods,
    from_total,
    largest,
    step,
)

WIDE = Spec(1, 1000)


@pytest.mark.parametrize(
    ("current", "values", "target", "wanted"),
    [
        (3, [200, 200, 200], 100, 6),  # "200m where 100m is wanted doubles the replicas"
        (4, [50, 50, 50, 50], 100, 2),  # "50m halves them"
        (3, [109, 110, 110], 100, 3),  # within the tolerance of 0.1
        (3, [111, 111, 111], 100, 4),
        (10, [90] * 10, 100, 10),
        (10, [89] * 10, 100, 9),
        (1, [1], 3, 1),  # never to 0: ceil
    ],
)
def test_desired_is_current_times_ratio_rounded_up(
    current: int, values: list[float], target: float, wanted: int
) -> None:
    assert from_pods(current, target, Pods(values)) == wanted


def test_pods_without_a_metric_damp_in_both_directions() -> None:
    # Down: 2 at 40 of 100, 2 missing count as 100: (80 + 200) / 4 = 70 -> ceil(0.7 * 4) = 3, not ceil(0.4 * 2) = 1.
    assert from_pods(4, 100, Pods([40, 40], missing=2)) == 3
    # Up: 2 at 250, 1 missing counts as 0: 500 / 3 / 100 = 1.67 -> ceil(5) = 5.
    assert from_pods(3, 100, Pods([250, 250], missing=1)) == 5
    # Up, but with the missing ones as 0 it turns to down: 150 / 2 = 75 of 100.
    assert from_pods(2, 100, Pods([150], missing=1)) == 2
    # Pending pods count on the way up only.
    assert from_pods(4, 100, Pods([250, 250], pending=2)) == 5
    assert from_pods(4, 100, Pods([50, 50], pending=2)) == 1
    assert from_pods(2, 100, Pods([], missing=2)) is None
    # Exactly at the target nothing is to do, whoever is missing.
    assert from_pods(3, 100, Pods([100, 100], missing=1)) == 3


def test_of_several_metrics_the_largest_counts_and_a_missing_one_forbids_down() -> None:
    assert largest(5, [3, 8, 6]) == 8
    assert largest(5, [3, None]) == 5
    assert largest(5, [None, 9]) == 9
    assert largest(5, [None, None]) == 5


def test_a_total_is_divided_by_the_target() -> None:
    assert from_total(4, 10, 85) == 9
    assert from_total(4, 10, 43) == 4
    assert from_total(0, 10, 1) == 1
    assert from_total(3, 10, 30.000000001) == 3


def test_up_at_once_by_four_or_double_and_again_after_fifteen_seconds() -> None:
    replicas, memory = step(0, WIDE, Memory(), 1, [100])
    assert replicas == 5
    replicas, memory = step(5, WIDE, memory, replicas, [100])
    assert replicas == 5  # 4 pods or 100 % of what was there 15 s ago
    replicas, memory = step(15, WIDE, memory, replicas, [100])
    assert replicas == 10
    replicas, memory = step(30, WIDE, memory, replicas, [100])
    assert replicas == 20


def test_down_waits_for_the_highest_recommendation_of_five_minutes() -> None:
    replicas, memory = step(0, WIDE, Memory(), 10, [10])
    for now in range(15, 300, 15):
        replicas, memory = step(now, WIDE, memory, replicas, [4 if now != 150 else 7])
        assert replicas == 10, now
    replicas, memory = step(300, WIDE, memory, replicas, [4])
    assert replicas == 7
    replicas, memory = step(449, WIDE, memory, replicas, [4])
    assert replicas == 7
    replicas, _ = step(450, WIDE, memory, replicas, [4])
    assert replicas == 4


def test_the_documentations_example_of_policies() -> None:
    """80 replicas to 10 by 4 pods or 10 % a minute: 8 first, then 10 % of 72, rounded up to 8, at last 4."""
    policies = (Policy(PolicyType.PODS, 4, 60), Policy(PolicyType.PERCENT, 10, 60))
    spec = Spec(10, 100, down=Rules(0, policies))
    replicas, memory, seen = 80, Memory(), [80]
    for minute in range(1, 25):
        replicas, memory = step(60.0 * minute, spec, memory, replicas, [10])
        seen.append(replicas)
    assert seen[:3] == [80, 72, 64]
    by = [before - after for before, after in itertools.pairwise(seen)]
    assert by[:13] == [8, 8, 7, 6, 6, 5, 4, 4, 4, 4, 4, 4, 4]
    assert seen[-1] == 10
    least = Spec(10, 100, down=Rules(0, policies, "Min"))
    assert step(0, least, Memory(), 80, [10])[0] == 76
    assert step(0, Spec(10, 100, down=Rules(0, policies, "Disabled")), Memory(), 80, [10])[0] == 80


def test_bounds_are_kept_at_once_and_zero_pauses() -> None:
    assert step(0, Spec(5, 9), Memory(), 2, [1])[0] == 5
    assert step(0, Spec(5, 9), Memory(), 20, [1])[0] == 9
    assert step(0, Spec(1, 9), Memory(), 0, [7])[0] == 0
    assert step(0, Spec(1, 9), Memory(), 4, [None])[0] == 4


def test_the_window_on_the_way_up_takes_the_lowest() -> None:
    spec = Spec(1, 100, up=Rules(60, UP.policies))
    _, memory = step(0, spec, Memory(), 4, [4])
    assert step(30, spec, memory, 4, [8])[0] == 4
    _, memory = step(30, spec, memory, 4, [8])
    assert step(61, spec, memory, 4, [8])[0] == 8


def test_behavior_is_rendered_as_the_api_wants_it() -> None:
    assert DOWN.render() == {
        "stabilizationWindowSeconds": 300,
        "selectPolicy": "Max",
        "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
    }


def test_keda_goes_to_zero_after_the_cooldown_and_wakes_at_the_next_poll() -> None:
    keda = Keda()
    assert keda.step(0, 3, 5, 0) == (None, 0)
    assert keda.step(300, 3, 0, 0) == (None, 0)
    assert keda.step(301, 3, 0, 0) == (0, 0)
    assert keda.step(330, 0, 0, 0) == (None, 0)
    assert keda.step(360, 0, 1, 0) == (1, 360)
    assert Keda(activation=5).step(360, 0, 5, 0) == (None, 0)


def test_wrong_bounds_are_refused() -> None:
    with pytest.raises(ScalingError, match="minReplicas 3, maxReplicas 2"):
        Spec(3, 2)
    with pytest.raises(ScalingError, match="tolerance"):
        Spec(1, 2, tolerance=-1)


@given(
    current=st.integers(1, 200),
    asked=st.lists(st.integers(0, 400), min_size=1, max_size=30),
    low=st.integers(1, 20),
    more=st.integers(0, 200),
)
def test_any_run_stays_within_bounds_and_no_faster_than_the_policies(
    current: int, asked: list[int], low: int, more: int
) -> None:
    spec = Spec(low, low + more)
    memory, replicas = Memory(), current
    for index, wanted in enumerate(asked):
        before = replicas
        replicas, memory = step(15.0 * index, spec, memory, replicas, [wanted])
        assert low <= replicas <= low + more
        if low <= before <= low + more:
            assert replicas <= max(2 * before, before + 4)


@given(loads=st.lists(st.floats(0, 500), min_size=1, max_size=20))
def test_a_shadow_goes_on_from_what_it_held_itself(loads: list[float]) -> None:
    memory, seen = Memory(), []
    for index, load in enumerate(loads):
        held, memory = Shadow(Spec(1, 100), 7.0, memory).step(15.0 * index, 50 + index, load)
        seen.append(held)
    alone, replicas = Memory(), 50
    for index, load in enumerate(loads):
        replicas, alone = step(15.0 * index, Spec(1, 100), alone, replicas, [from_total(replicas, 7.0, load)])
        assert replicas == seen[index]
