"""The capacity of a replica, derived from measurements."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstack.api import InferenceJobSpec, RuntimeName
from inferstack.controllers.scaling import calibration
from inferstack.controllers.scaling.calibration import Capacity, CapacitySource, ReplicaLoad, capacity
from inferstack.scaling.model import Distribution, History

VLLM = RuntimeName.VLLM


def make_spec(metrics: list[dict[str, Any]] | None = None, args: list[str] | None = None) -> InferenceJobSpec:
    """Return the spec of a job."""
    limits = {"nvidia.com/gpu": 1}
    metrics = metrics or [{"type": "QueueDepth", "target": 5}]
    return InferenceJobSpec.model_validate(
        {
            "model": "meta-llama/Llama-3.1-8B",
            "resources": {"requests": limits, "limits": limits},
            "autoscale": {"metrics": metrics, "predictive": {"slo": {"milliseconds": 500}}},
            "args": args or [],
        }
    )


def batching(intercept: float, slope: float, running: float, waiting: float = 0.0) -> ReplicaLoad:
    """Return the load of a replica with a service time of ``intercept + slope * n`` seconds."""
    return ReplicaLoad(running / (intercept + slope * running), running, waiting)


@given(
    intercept=st.floats(0.05, 20),
    slope=st.floats(0, 0.5),
    slots=st.integers(4, 512),
    share=st.floats(0.2, 1.0),
)
def test_capacity_of_unsaturated_replica_is_extrapolated(
    intercept: float, slope: float, slots: int, share: float
) -> None:
    most = max(2.0, share * slots)
    loads = [batching(intercept, slope, most * part) for part in (0.2, 0.4, 0.6, 1.0)]
    result = capacity(loads, make_spec(args=["--max-num-seqs", str(slots)]), VLLM)
    assert result
    assert result.source is CapacitySource.CONCURRENCY
    assert result.slots == slots
    full = max(slots / (intercept + slope * slots), *(load.finished for load in loads))
    assert result.rate == pytest.approx(full, rel=1e-6)


@given(loads=st.lists(st.builds(ReplicaLoad, st.floats(0, 1e4), st.floats(0, 1e3), st.floats(0, 1e3)), max_size=30))
def test_capacity_is_valid_for_any_measurement(loads: list[ReplicaLoad]) -> None:
    result = capacity(loads, make_spec(), VLLM)
    if result is None:
        assert not any(load.is_busy for load in loads)
        return
    assert 0 < result.rate < math.inf
    assert result.slots >= 1
    # At least the highest measured rate, unless saturated.
    if result.source is CapacitySource.CONCURRENCY:
        assert result.rate >= max(load.finished for load in loads if load.is_busy)


def test_capacity_of_saturated_replica_is_measured() -> None:
    loads = [ReplicaLoad(9.8, 31.7, 12), ReplicaLoad(10.2, 32, 40), ReplicaLoad(10.0, 32, 3), ReplicaLoad(4.0, 7, 0)]
    assert capacity(loads, make_spec(), VLLM) == Capacity(10.0, 32, CapacitySource.SATURATION)


def test_one_saturated_step_is_not_enough() -> None:
    loads = [ReplicaLoad(10.0, 32, 12), batching(1, 0, 4), batching(1, 0, 8)]
    result = capacity(loads, make_spec(args=["--max-num-seqs=64"]), VLLM)
    assert result is not None
    assert (result.source, result.slots) == (CapacitySource.CONCURRENCY, 64)


def test_single_concurrency_is_not_extrapolated() -> None:
    assert capacity([batching(1, 0.1, 4)] * 9, make_spec(), VLLM) == Capacity(4 / 1.4, 4, CapacitySource.CONCURRENCY)


def test_target_of_job_counts_until_there_is_a_measurement() -> None:
    spec = make_spec([{"type": "RequestsPerSecond", "target": 12}])
    assert capacity([], spec, VLLM) == Capacity(12.0, 256, CapacitySource.TARGET)
    assert capacity([ReplicaLoad(0, 0, 0)], make_spec(), VLLM) is None


@pytest.mark.parametrize(
    ("args", "slots"),
    [
        ([], None),
        (["--max-num-seqs", "64"], 64),
        (["--max-num-seqs=128", "-x"], 128),
        (["--max-num-seqs"], None),
        (["--max-num-seqs", "many"], None),
        (["--max-batch-requests", "16"], 16),
    ],
)
def test_slots_from_args(args: list[str], slots: int | None) -> None:
    assert calibration.slots_from_args(args) == slots


@pytest.mark.parametrize(("spread", "low", "high"), [(1.0, 1.0, 1.35), (4.0, 3.0, 5.2)])
def test_burstiness_ignores_slow_trends(spread: float, low: float, high: float) -> None:
    """The variance of counts is a multiple of their mean, with a rising trend on top."""
    chance = random.Random(7)  # noqa: S311  # repeatable
    means = [60 + index / 10 for index in range(600)]
    rates = [max(0.0, chance.gauss(mean, math.sqrt(spread * mean))) / 60 for mean in means]
    assert low <= calibration.burstiness(History(0, 60, rates)) <= high


@pytest.mark.parametrize("rates", [[], [1.0] * 5, [0.0] * 100, [math.nan] * 100, [2.0] * 100])
def test_burstiness_of_insufficient_data_is_1(rates: list[float]) -> None:
    assert calibration.burstiness(History(0, 60, rates)) == 1.0


def test_variability_of_known_distributions() -> None:
    assert calibration.variability(Distribution.fixed(3)) == pytest.approx(0)
    uniform = Distribution(tuple((share / 100, share / 100) for share in range(101)))
    assert calibration.variability(uniform) == pytest.approx(1 / 3, rel=1e-3)
    shares = [index / 1000 for index in range(1000)]
    assert calibration.variability(calibration.exponential(2, shares)) == pytest.approx(1, abs=0.1)


@given(quantiles=st.lists(st.tuples(st.sampled_from((0.5, 0.9, 0.99)), st.floats()), unique_by=lambda pair: pair[0]))
def test_distribution_of_quantiles_is_monotonic(quantiles: list[tuple[float, float]]) -> None:
    distribution_of_quantiles = calibration.distribution(quantiles)
    good = [seconds for _, seconds in quantiles if math.isfinite(seconds) and seconds >= 0]
    assert (distribution_of_quantiles is None) == (not good)
    if distribution_of_quantiles:
        assert all(low[1] <= high[1] for low, high in itertools.pairwise(distribution_of_quantiles.points))
        assert distribution_of_quantiles.quantile(1.0) == max(good)


BUCKETS = [(0.1, 50.0), (0.5, 90.0), (1.0, 96.0), (math.inf, 100.0)]


@pytest.mark.parametrize(
    ("seconds", "share"),
    [(0.1, 0.5), (0.3, 0.3), (0.5, 0.1), (1.0, 0.04), (5.0, 0.04), (0.05, 0.75)],
)
def test_missed_fraction_is_interpolated_within_buckets(seconds: float, share: float) -> None:
    assert calibration.missed_fraction(BUCKETS, seconds) == pytest.approx(share)
    assert calibration.missed_fraction(reversed(BUCKETS), seconds) == pytest.approx(share)


@pytest.mark.parametrize(
    "buckets",
    [[], [(0.1, 0.0), (math.inf, 0.0)], [(0.1, 5.0)], [(0.1, math.nan), (math.inf, math.nan)]],
)
def test_missed_fraction_without_requests_is_none(buckets: list[tuple[float, float]]) -> None:
    assert calibration.missed_fraction(buckets, 1.0) is None


@given(
    counts=st.lists(st.floats(0, 1e6), min_size=2, max_size=8),
    seconds=st.floats(0.001, 100),
    more=st.floats(0, 10),
)
def test_missed_fraction_decreases_with_the_limit(counts: list[float], seconds: float, more: float) -> None:
    bounds = [2.0**index for index in range(len(counts) - 1)] + [math.inf]
    buckets = list(zip(bounds, itertools.accumulate(counts), strict=True))
    shorter, longer = (
        calibration.missed_fraction(buckets, seconds),
        calibration.missed_fraction(buckets, seconds + more),
    )
    if shorter is None or longer is None:
        assert shorter is longer
        assert sum(counts) == 0
    else:
        assert 0 <= longer <= shorter <= 1
