"""The bounds, the workloads and MIG-serving's greedy rule of the planner's benchmark."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.planner import bounds, optimal, planner
from benchmarks.planner.contest import Span, churn_bound, run_churn
from benchmarks.planner.peers import FirstFit
from benchmarks.planner.scale import Timing, exponent, first_fit
from benchmarks.planner.serving import gpus_of
from benchmarks.planner.workload import MIXES, MODEL, batch, churn, mean_memory
from inferstack.mig import catalogue
from inferstack.mig.placement import find_placement

MIX = MIXES["serving"]


def test_bounds_of_small_workloads() -> None:
    assert bounds.least_gpus({"3g.40gb": 3}) == 2
    assert bounds.least_gpus({"1g.10gb": 14}) == 2
    assert bounds.least_gpus({"1g.10gb": 15}) == 3
    # Three 1g.10gb go beside a 4g.40gb, not a 3g.40gb and a seventh slice of another.
    assert bounds.least_gpus({"4g.40gb": 2, "1g.10gb": 6}) == 2
    assert bounds.most_used({"7g.80gb": 3, "1g.10gb": 1}, 2, by_memory=True) == pytest.approx(16)
    assert bounds.most_used({"7g.80gb": 3, "1g.10gb": 1}, 2, by_memory=False) == pytest.approx(2 - 1 / 7 + 1)
    assert bounds.most_used({"1g.10gb": 0}, 2, by_memory=True) == 0


@settings(max_examples=15, deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(MIX)), st.integers(1, 6), min_size=1))
def test_no_plan_beats_bound(pods: dict[str, int]) -> None:
    least = bounds.least_gpus(pods)
    assert planner.gpus_needed(pods, 1)[0] >= least
    chosen = gpus_of(pods, bounds.patterns(tuple(sorted(pods))))
    assert len(chosen) >= least
    served: Counter[str] = Counter()
    for way in chosen:
        assert find_placement(catalogue.gpu(MODEL), way) is not None
        served.update(way)
    assert served == Counter(pods)


def test_patterns_are_maximal_and_legal() -> None:
    ways = bounds.patterns(("1g.10gb", "3g.40gb", "7g.80gb"))
    assert sorted(ways, key=str) == sorted(
        [{"7g.80gb": 1}, {"3g.40gb": 2}, {"1g.10gb": 4, "3g.40gb": 1}, {"1g.10gb": 3, "3g.40gb": 1}, {"1g.10gb": 7}],
        key=str,
    )


def test_mig_serving_takes_configuration_that_completes_most_demand() -> None:
    ways = [{"7g.80gb": 1}, {"3g.40gb": 2}]
    # One of one 7g adds 1, two of four 3g a half; then 3g at 1 - 0 and again at 1 - 1/2.
    assert gpus_of({"7g.80gb": 1, "3g.40gb": 4}, ways) == [{"7g.80gb": 1}, {"3g.40gb": 2}, {"3g.40gb": 2}]
    assert gpus_of({"7g.80gb": 4, "3g.40gb": 2}, ways, most=1) == [{"3g.40gb": 2}]
    with pytest.raises(ValueError, match=r"no configuration serves 1g\.10gb"):
        gpus_of({"1g.10gb": 1}, ways)


def test_workload_is_reproducible_and_has_requested_load() -> None:
    assert batch(1, 50, MIX) == batch(1, 50, MIX) != batch(2, 50, MIX)
    events = list(churn(3, 32, 0.9, MIX, 30))
    assert events == list(churn(3, 32, 0.9, MIX, 30))
    assert [event.time for event in events] == sorted(event.time for event in events)
    come = [event for event in events if event.comes]
    assert len(come) / 30 * mean_memory(MIX) == pytest.approx(0.9 * 32 * 8, rel=0.1)
    born = {event.pod: event for event in come}
    gone = [event for event in events if not event.comes]
    assert all(event.time >= born[event.pod].time and event.profile == born[event.pod].profile for event in gone)
    assert len({event.pod for event in gone}) == len(gone)


def test_utilisation_never_exceeds_bound() -> None:
    span = Span(1, 3, 0.1)
    for load in (0.5, 1.3):
        result = run_churn(FirstFit(8), 5, load, MIX, span)
        bound = churn_bound(8, 5, load, MIX, span)
        assert result.mean(lambda usage: usage.used / usage.slices) <= bound + 1e-9 <= 1 + 2e-9
        assert 0 < result.accepted <= result.offered
        assert len(result.samples) == pytest.approx(20, abs=1)


def test_fast_first_fit_equals_first_fit() -> None:
    pods = batch(4, 60, MIX)
    slow = FirstFit(9)
    assert first_fit(9, pods)[1] == sum(slow.arrive(index, profile) for index, profile in enumerate(pods))


def test_exponent_is_slope_of_log_log_fit() -> None:
    assert exponent([Timing(n, 3e-3 * n**1.5, 0, 0) for n in (10, 100, 1000)]) == pytest.approx(1.5)


def test_small_instances_are_reproducible_and_equal_brute_force() -> None:
    instance, again = (optimal.draw(random.Random(5)) for _ in range(2))  # noqa: S311  # instances, no secret
    assert instance == again
    assert optimal.effort(*instance) >= 1
    result = optimal.check(11, 8)
    assert (result.equal, result.worse) == (8, 0)
