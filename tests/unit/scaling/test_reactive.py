"""The HPA algorithm, on cases derived from the Kubernetes documentation."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstack.scaling.errors import ScalingError
from inferstack.scaling.reactive import (
    DOWN,
    UP,
    HpaSpec,
    HpaState,
    Keda,
    Pods,
    PolicyType,
    ReactiveBaseline,
    ScalingPolicy,
    ScalingRules,
    from_pods,
    from_total,
    largest,
    step,
)

WIDE = HpaSpec(1, 1000)


@pytest.mark.parametrize(
    ("current", "values", "target", "desired"),
    [
        (3, [200, 200, 200], 100, 6),  # "200m where 100m is desired doubles the replicas"
        (4, [50, 50, 50, 50], 100, 2),  # "50m halves them"
        (3, [109, 110, 110], 100, 3),  # within the tolerance of 0.1
        (3, [111, 111, 111], 100, 4),
        (10, [90] * 10, 100, 10),
        (10, [89] * 10, 100, 9),
        (1, [1], 3, 1),  # never to 0: ceil
    ],
)
def test_desired_replicas_are_current_times_ratio_rounded_up(
    current: int, values: list[float], target: float, desired: int
) -> None:
    assert from_pods(current, target, Pods(values)) == desired


def test_pods_without_metric_damp_scaling_in_both_directions() -> None:
    # Down: 2 at 40 of 100, 2 missing count as 100: (80 + 200) / 4 = 70 -> ceil(0.7 * 4) = 3, not ceil(0.4 * 2) = 1.
    assert from_pods(4, 100, Pods([40, 40], missing=2)) == 3
    # Up: 2 at 250, 1 missing counts as 0: 500 / 3 / 100 = 1.67 -> ceil(5) = 5.
    assert from_pods(3, 100, Pods([250, 250], missing=1)) == 5
    # Up, but counting missing pods as 0 reverses the direction: 150 / 2 = 75 of 100.
    assert from_pods(2, 100, Pods([150], missing=1)) == 2
    # Pending pods count only when scaling up.
    assert from_pods(4, 100, Pods([250, 250], pending=2)) == 5
    assert from_pods(4, 100, Pods([50, 50], pending=2)) == 1
    assert from_pods(2, 100, Pods([], missing=2)) is None
    # Exactly at the target nothing changes, whatever is missing.
    assert from_pods(3, 100, Pods([100, 100], missing=1)) == 3


def test_largest_metric_wins_and_missing_metric_prevents_scale_down() -> None:
    assert largest(5, [3, 8, 6]) == 8
    assert largest(5, [3, None]) == 5
    assert largest(5, [None, 9]) == 9
    assert largest(5, [None, None]) == 5


def test_total_is_divided_by_the_target() -> None:
    assert from_total(4, 10, 85) == 9
    assert from_total(4, 10, 43) == 4
    assert from_total(0, 10, 1) == 1
    assert from_total(3, 10, 30.000000001) == 3


def test_scale_up_adds_four_pods_or_doubles_every_fifteen_seconds() -> None:
    replicas, hpa_state = step(0, WIDE, HpaState(), 1, [100])
    assert replicas == 5
    replicas, hpa_state = step(5, WIDE, hpa_state, replicas, [100])
    assert replicas == 5  # 4 pods or 100% of the count 15 s ago
    replicas, hpa_state = step(15, WIDE, hpa_state, replicas, [100])
    assert replicas == 10
    replicas, hpa_state = step(30, WIDE, hpa_state, replicas, [100])
    assert replicas == 20


def test_scale_down_uses_highest_recommendation_of_five_minutes() -> None:
    replicas, hpa_state = step(0, WIDE, HpaState(), 10, [10])
    for now in range(15, 300, 15):
        replicas, hpa_state = step(now, WIDE, hpa_state, replicas, [4 if now != 150 else 7])
        assert replicas == 10, now
    replicas, hpa_state = step(300, WIDE, hpa_state, replicas, [4])
    assert replicas == 7
    replicas, hpa_state = step(449, WIDE, hpa_state, replicas, [4])
    assert replicas == 7
    replicas, _ = step(450, WIDE, hpa_state, replicas, [4])
    assert replicas == 4


def test_policies_match_the_example_of_the_documentation() -> None:
    """From 80 replicas to 10 by 4 pods or 10% a minute: first 8, then 10% of 72 rounded up to 8, finally 4."""
    policies = (ScalingPolicy(PolicyType.PODS, 4, 60), ScalingPolicy(PolicyType.PERCENT, 10, 60))
    spec = HpaSpec(10, 100, down=ScalingRules(0, policies))
    replicas, hpa_state, counts = 80, HpaState(), [80]
    for minute in range(1, 25):
        replicas, hpa_state = step(60.0 * minute, spec, hpa_state, replicas, [10])
        counts.append(replicas)
    assert counts[:3] == [80, 72, 64]
    by = [before - after for before, after in itertools.pairwise(counts)]
    assert by[:13] == [8, 8, 7, 6, 6, 5, 4, 4, 4, 4, 4, 4, 4]
    assert counts[-1] == 10
    least = HpaSpec(10, 100, down=ScalingRules(0, policies, "Min"))
    assert step(0, least, HpaState(), 80, [10])[0] == 76
    assert step(0, HpaSpec(10, 100, down=ScalingRules(0, policies, "Disabled")), HpaState(), 80, [10])[0] == 80


def test_bounds_apply_at_once_and_zero_pauses() -> None:
    assert step(0, HpaSpec(5, 9), HpaState(), 2, [1])[0] == 5
    assert step(0, HpaSpec(5, 9), HpaState(), 20, [1])[0] == 9
    assert step(0, HpaSpec(1, 9), HpaState(), 0, [7])[0] == 0
    assert step(0, HpaSpec(1, 9), HpaState(), 4, [None])[0] == 4


def test_scale_up_window_uses_lowest_recommendation() -> None:
    spec = HpaSpec(1, 100, up=ScalingRules(60, UP.policies))
    _, hpa_state = step(0, spec, HpaState(), 4, [4])
    assert step(30, spec, hpa_state, 4, [8])[0] == 4
    _, hpa_state = step(30, spec, hpa_state, 4, [8])
    assert step(61, spec, hpa_state, 4, [8])[0] == 8


def test_behavior_renders_as_autoscaling_v2() -> None:
    assert DOWN.render() == {
        "stabilizationWindowSeconds": 300,
        "selectPolicy": "Max",
        "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
    }


def test_keda_scales_to_zero_after_cooldown_and_wakes_at_next_poll() -> None:
    keda = Keda()
    assert keda.step(0, 3, 5, 0) == (None, 0)
    assert keda.step(300, 3, 0, 0) == (None, 0)
    assert keda.step(301, 3, 0, 0) == (0, 0)
    assert keda.step(330, 0, 0, 0) == (None, 0)
    assert keda.step(360, 0, 1, 0) == (1, 360)
    assert Keda(activation=5).step(360, 0, 5, 0) == (None, 0)


def test_invalid_spec_is_rejected() -> None:
    with pytest.raises(ScalingError, match=r"^HPA: minReplicas 3, maxReplicas 2"):
        HpaSpec(3, 2)
    with pytest.raises(ScalingError, match=r"^HPA: tolerance"):
        HpaSpec(1, 2, tolerance=-1)


@given(
    current=st.integers(1, 200),
    proposals=st.lists(st.integers(0, 400), min_size=1, max_size=30),
    low=st.integers(1, 20),
    more=st.integers(0, 200),
)
def test_replicas_stay_within_bounds_and_policies(current: int, proposals: list[int], low: int, more: int) -> None:
    spec = HpaSpec(low, low + more)
    hpa_state, replicas = HpaState(), current
    for index, desired in enumerate(proposals):
        before = replicas
        replicas, hpa_state = step(15.0 * index, spec, hpa_state, replicas, [desired])
        assert low <= replicas <= low + more
        if low <= before <= low + more:
            assert replicas <= max(2 * before, before + 4)


@given(loads=st.lists(st.floats(0, 500), min_size=1, max_size=20))
def test_reactive_baseline_continues_from_its_own_replicas(loads: list[float]) -> None:
    hpa_state, counts = HpaState(), []
    for index, load in enumerate(loads):
        held, hpa_state = ReactiveBaseline(HpaSpec(1, 100), 7.0, hpa_state).step(15.0 * index, 50 + index, load)
        counts.append(held)
    alone, replicas = HpaState(), 50
    for index, load in enumerate(loads):
        replicas, alone = step(15.0 * index, HpaSpec(1, 100), alone, replicas, [from_total(replicas, 7.0, load)])
        assert replicas == counts[index]
