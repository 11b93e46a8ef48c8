"""The simulator: waits, GPU-hours, cold starts, draining and seeds."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.scaling import oracle, policies
from benchmarks.scaling.policies import Schedule
from inferstack.scaling.errors import ScalingError
from inferstack.scaling.model import Distribution, Service
from inferstack.scaling.simulate import Trace, View, simulate

SERVICE = Service(rate=1.0, slots=1, gpus=2, cold_start=Distribution.fixed(30.0))


def trace(*arrivals: float, service_time: float = 10.0) -> Trace:
    count = len(arrivals)
    return Trace("t", np.array(arrivals), np.full(count, service_time), np.full(count, 0.5))


def test_waits_and_gpu_hours_match_manual_calculation() -> None:
    result = simulate(trace(0, 1, 2), Schedule("s", [(0, 1)]), SERVICE, start=1, end=100, seed=1)
    assert result.waits.tolist() == [0, 9, 18]
    assert result.gpu_hours == pytest.approx(2 * 100 / 3600)
    assert result.attainment(trace(0, 1, 2), 9.5) == pytest.approx(2 / 3)
    assert result.attainment(trace(0, 1, 2), 19.0, latency=True) == pytest.approx(2 / 3)


def test_new_replica_serves_after_cold_start_and_holds_gpus_from_its_start() -> None:
    result = simulate(trace(0, 1, 2), Schedule("s", [(0, 2)]), SERVICE, start=1, end=100, seed=1)
    assert result.waits.tolist() == [0, 9, 18]  # the second is Ready at 30
    assert result.gpu_hours == pytest.approx(2 * 200 / 3600)
    late = simulate(trace(0, 1, 2, service_time=40.0), Schedule("s", [(0, 2)]), SERVICE, start=1, end=100, seed=1)
    assert late.waits.tolist() == [0, 29, 38]


def test_removed_replica_finishes_its_requests() -> None:
    result = simulate(
        trace(0, 0, 20, 20, service_time=40.0), Schedule("s", [(0, 2), (10, 1)]), SERVICE, start=2, end=200, seed=1
    )
    assert result.waits.tolist() == [0, 0, 20, 60]
    assert result.gpu_hours == pytest.approx(2 * (200 + 40) / 3600)


def test_replicas_that_are_not_ready_are_removed_first() -> None:
    result = simulate(trace(0, 50), Schedule("s", [(0, 3), (10, 1)]), SERVICE, start=1, end=100, seed=1)
    assert result.gpu_hours == pytest.approx(2 * (100 + 10 + 10) / 3600)


def test_no_request_is_served_at_zero_replicas() -> None:
    result = simulate(trace(50), Schedule("s", [(0, 0)]), SERVICE, start=0, end=100, seed=1, grace=50)
    assert np.isinf(result.waits).all()
    assert result.attainment(trace(50), 1e9) == 0


class RecordingPolicy:
    """Records its views."""

    name = "recording"

    def __init__(self) -> None:
        self.views: list[tuple[float, float, float, int]] = []

    def act(self, view: View) -> int:
        self.views.append((view.now, view.load, view.waiting, view.ready))
        return view.replicas


def test_policies_see_only_the_last_scrape() -> None:
    policy = RecordingPolicy()
    simulate(trace(0, 1, 2, 12), policy, SERVICE, start=1, end=40, seed=1, limit=5.0)
    views = {now: rest for now, *rest in policy.views}
    assert views[5] == [0, 0, 1]
    assert views[10] == views[20] == [2, 1, 1]  # at 10: the second is served, the third waits
    assert views[25] == [2, 1, 1]


def test_seed_determines_cold_starts() -> None:
    varied = Service(rate=1.0, cold_start=Distribution(((0.0, 1.0), (1.0, 90.0))))
    load = trace(*range(0, 100, 5), service_time=7.0)

    def run(seed: int) -> list[float]:
        waits: list[float] = simulate(load, Schedule("s", [(0, 2)]), varied, start=1, end=100, seed=seed).waits.tolist()
        return waits

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_invalid_trace_is_rejected() -> None:
    with pytest.raises(ScalingError, match="arrivals are not in ascending order"):
        trace(3, 2)
    with pytest.raises(ScalingError, match="arrivals is empty"):
        trace()
    with pytest.raises(ScalingError, match="negative service_times"):
        trace(1, service_time=-1.0)
    with pytest.raises(ScalingError, match="differ in length"):
        Trace("t", np.array([1.0]), np.array([]), np.array([]))


def test_oracle_bound_and_schedule_match_manual_calculation() -> None:
    load = trace(0, 30, service_time=60.0)
    assert oracle.busy(load, 30.0, 120.0).tolist() == [1, 2, 1, 0]
    assert oracle.bound(load, SERVICE, 60.0) == pytest.approx((60 + 30) * 2 / 3600)
    # Started 30 s ahead; the start for the next interval bridges the gap of one interval.
    assert oracle.schedule([1, 1, 3, 1, 3, 1], 30.0, 30.0) == [(0, 1), (30, 3), (150, 1)]
    assert oracle.schedule([2, 1, 1, 1, 2], 30.0, 30.0) == [(0, 2), (30, 1), (90, 2)]


def test_benchmark_hpa_follows_a_step() -> None:
    rng = np.random.default_rng(1)
    rates = np.concatenate([rng.uniform(0, 600, 600), rng.uniform(600, 1800, 4800)])
    load = Trace("step", np.sort(rates), np.full(5400, 4.0), np.zeros(5400))
    result = simulate(load, policies.Hpa(8, 50), Service(rate=2.0, slots=8), start=1, end=1800, seed=1)
    final = result.timeline[-1][1]
    assert 3 <= final <= 5  # 4 requests/s of 4 s each at 6.4 per replica: 2.5, plus five minutes of noise
    assert result.timeline[0] == (0.0, 1, 1)
