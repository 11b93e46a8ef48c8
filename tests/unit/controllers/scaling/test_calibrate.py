"""What one replica can do, by what replicas did."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstack.api import InferenceJobSpec, RuntimeName
from inferstack.controllers.scaling import calibrate
from inferstack.controllers.scaling.calibrate import Capacity, Load, Source, capacity
from inferstack.scaling.model import Distribution, History

VLLM = RuntimeName.VLLM


def make_spec(metrics: list[dict[str, Any]] | None = None, args: list[str] | None = None) -> InferenceJobSpec:
    """Return the spec of a job."""
    one = {"nvidia.com/gpu": 1}
    metrics = metrics or [{"type": "QueueDepth", "target": 5}]
    return InferenceJobSpec.model_validate(
        {
            "model": "meta-llama/Llama-3.1-8B",
            "resources": {"requests": one, "limits": one},
            "autoscale": {"metrics": metrics, "predictive": {"slo": {"milliseconds": 500}}},
            "args": args or [],
        }
    )


def batching(alone: float, slope: float, running: float, waiting: float = 0.0) -> Load:
    """Return what a replica does of which a request takes ``alone + slope * n`` seconds."""
    return Load(running / (alone + slope * running), running, waiting)


@given(
    alone=st.floats(0.05, 20),
    slope=st.floats(0, 0.5),
    slots=st.integers(4, 512),
    share=st.floats(0.2, 1.0),
)
def test_a_replica_that_was_never_full_is_extrapolated(alone: float, slope: float, slots: int, share: float) -> None:
    most = max(2.0, share * slots)
    loads = [batching(alone, slope, most * part) for part in (0.2, 0.4, 0.6, 1.0)]
    found = capacity(loads, make_spec(args=["--max-num-seqs", str(slots)]), VLLM)
    assert found
    assert found.source is Source.CONCURRENCY
    assert found.slots == slots
    full = max(slots / (alone + slope * slots), *(load.finished for load in loads))
    assert found.rate == pytest.approx(full, rel=1e-6)


@given(loads=st.lists(st.builds(Load, st.floats(0, 1e4), st.floats(0, 1e3), st.floats(0, 1e3)), max_size=30))
def test_whatever_was_measured_the_capacity_is_one(loads: list[Load]) -> None:
    found = capacity(loads, make_spec(), VLLM)
    if found is None:
        assert not any(load.works for load in loads)
        return
    assert 0 < found.rate < math.inf
    assert found.slots >= 1
    # No less than what a replica has done, unless it was at its limit.
    if found.source is Source.CONCURRENCY:
        assert found.rate >= max(load.finished for load in loads if load.works)


def test_at_its_limit_it_is_seen() -> None:
    loads = [Load(9.8, 31.7, 12), Load(10.2, 32, 40), Load(10.0, 32, 3), Load(4.0, 7, 0)]
    assert capacity(loads, make_spec(), VLLM) == Capacity(10.0, 32, Source.SATURATION)


def test_one_overloaded_step_is_no_limit() -> None:
    loads = [Load(10.0, 32, 12), batching(1, 0, 4), batching(1, 0, 8)]
    found = capacity(loads, make_spec(args=["--max-num-seqs=64"]), VLLM)
    assert found is not None
    assert (found.source, found.slots) == (Source.CONCURRENCY, 64)


def test_one_number_of_requests_tells_nothing_of_others() -> None:
    assert capacity([batching(1, 0.1, 4)] * 9, make_spec(), VLLM) == Capacity(4 / 1.4, 4, Source.CONCURRENCY)


def test_the_jobs_own_number_until_there_is_a_measurement() -> None:
    spec = make_spec([{"type": "RequestsPerSecond", "target": 12}])
    assert capacity([], spec, VLLM) == Capacity(12.0, 256, Source.TARGET)
    assert capacity([Load(0, 0, 0)], make_spec(), VLLM) is None


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
def test_slots_that_the_job_tells(args: list[str], slots: int | None) -> None:
    assert calibrate.told_slots(args) == slots


@pytest.mark.parametrize(("spread", "low", "high"), [(1.0, 1.0, 1.35), (4.0, 3.0, 5.2)])
def test_burstiness(spread: float, low: float, high: float) -> None:
    """Counts of a variance that is so many times the mean, over a rise that must not count."""
    chance = random.Random(7)  # noqa: S311  # to be repeated
    means = [60 + index / 10 for index in range(600)]
    rates = [max(0.0, chance.gauss(mean, math.sqrt(spread * mean))) / 60 for mean in means]
    assert low <= calibrate.burstiness(History(0, 60, rates)) <= high


@pytest.mark.parametrize("rates", [[], [1.0] * 5, [0.0] * 100, [math.nan] * 100, [2.0] * 100])
def test_burstiness_of_what_says_nothing_is_poissons(rates: list[float]) -> None:
    assert calibrate.burstiness(History(0, 60, rates)) == 1.0


def test_variability() -> None:
    assert calibrate.variability(Distribution.fixed(3)) == pytest.approx(0)
    even = Distribution(tuple((share / 100, share / 100) for share in range(101)))
    assert calibrate.variability(even) == pytest.approx(1 / 3, rel=1e-3)
    shares = [index / 1000 for index in range(1000)]
    assert calibrate.variability(calibrate.exponential(2, shares)) == pytest.approx(1, abs=0.1)


@given(quantiles=st.lists(st.tuples(st.sampled_from((0.5, 0.9, 0.99)), st.floats()), unique_by=lambda pair: pair[0]))
def test_quantiles_become_a_distribution(quantiles: list[tuple[float, float]]) -> None:
    made = calibrate.distribution(quantiles)
    good = [seconds for _, seconds in quantiles if math.isfinite(seconds) and seconds >= 0]
    assert (made is None) == (not good)
    if made:
        assert all(one[1] <= other[1] for one, other in itertools.pairwise(made.points))
        assert made.quantile(1.0) == max(good)


BUCKETS = [(0.1, 50.0), (0.5, 90.0), (1.0, 96.0), (math.inf, 100.0)]


@pytest.mark.parametrize(
    ("seconds", "share"),
    [(0.1, 0.5), (0.3, 0.3), (0.5, 0.1), (1.0, 0.04), (5.0, 0.04), (0.05, 0.75)],
)
def test_the_share_that_missed_a_limit(seconds: float, share: float) -> None:
    assert calibrate.missed(BUCKETS, seconds) == pytest.approx(share)
    assert calibrate.missed(reversed(BUCKETS), seconds) == pytest.approx(share)


@pytest.mark.parametrize(
    "buckets",
    [[], [(0.1, 0.0), (math.inf, 0.0)], [(0.1, 5.0)], [(0.1, math.nan), (math.inf, math.nan)]],
)
def test_without_requests_nobody_missed_and_nobody_kept_a_limit(buckets: list[tuple[float, float]]) -> None:
    assert calibrate.missed(buckets, 1.0) is None


@given(
    counts=st.lists(st.floats(0, 1e6), min_size=2, max_size=8),
    seconds=st.floats(0.001, 100),
    more=st.floats(0, 10),
)
def test_a_longer_limit_is_missed_by_no_more(counts: list[float], seconds: float, more: float) -> None:
    bounds = [2.0**index for index in range(len(counts) - 1)] + [math.inf]
    buckets = list(zip(bounds, itertools.accumulate(counts), strict=True))
    shorter, longer = calibrate.missed(buckets, seconds), calibrate.missed(buckets, seconds + more)
    if shorter is None or longer is None:
        assert shorter is longer
        assert sum(counts) == 0
    else:
        assert 0 <= longer <= shorter <= 1
