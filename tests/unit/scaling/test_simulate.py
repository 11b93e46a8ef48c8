"""The simulator: accounts are right, draws come from the seed, replicas start and drain as told."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.scaling import oracle, policies
from benchmarks.scaling.policies import Schedule
from inferstack.scaling.errors import ScalingError
from inferstack.scaling.model import Distribution, Service
from inferstack.scaling.simulate import Trace, View, simulate

SERVICE = Service(rate=1.0, slots=1, gpus=2, cold_start=Distribution.fixed(30.0))


def trace(*arrivals: float, work: float = 10.0) -> Trace:
    count = len(arrivals)
    return Trace("t", np.array(arrivals), np.full(count, work), np.full(count, 0.5))


def test_waits_and_gpu_hours_by_hand() -> None:
    result = simulate(trace(0, 1, 2), Schedule("s", [(0, 1)]), SERVICE, start=1, end=100, seed=1)
    assert result.waits.tolist() == [0, 9, 18]
    assert result.gpu_hours == pytest.approx(2 * 100 / 3600)
    assert result.attainment(trace(0, 1, 2), 9.5) == pytest.approx(2 / 3)
    assert result.attainment(trace(0, 1, 2), 19.0, latency=True) == pytest.approx(2 / 3)


def test_a_new_replica_serves_after_its_cold_start_and_holds_its_gpus_before() -> None:
    result = simulate(trace(0, 1, 2), Schedule("s", [(0, 2)]), SERVICE, start=1, end=100, seed=1)
    assert result.waits.tolist() == [0, 9, 18]  # the second is Ready at 30
    assert result.gpu_hours == pytest.approx(2 * 200 / 3600)
    late = simulate(trace(0, 1, 2, work=40.0), Schedule("s", [(0, 2)]), SERVICE, start=1, end=100, seed=1)
    assert late.waits.tolist() == [0, 29, 38]


def test_a_removed_replica_ends_its_work_first() -> None:
    result = simulate(
        trace(0, 0, 20, 20, work=40.0), Schedule("s", [(0, 2), (10, 1)]), SERVICE, start=2, end=200, seed=1
    )
    assert result.waits.tolist() == [0, 0, 20, 60]
    assert result.gpu_hours == pytest.approx(2 * (200 + 40) / 3600)


def test_replicas_that_are_not_ready_go_first() -> None:
    result = simulate(trace(0, 50), Schedule("s", [(0, 3), (10, 1)]), SERVICE, start=1, end=100, seed=1)
    assert result.gpu_hours == pytest.approx(2 * (100 + 10 + 10) / 3600)


def test_nobody_serves_at_zero_replicas() -> None:
    result = simulate(trace(50), Schedule("s", [(0, 0)]), SERVICE, start=0, end=100, seed=1, grace=50)
    assert np.isinf(result.waits).all()
    assert result.attainment(trace(50), 1e9) == 0


class Looks:
    """Remembers what it saw."""

    name = "looks"

    def __init__(self) -> None:
        self.seen: list[tuple[float, float, float, int]] = []

    def act(self, view: View) -> int:
        self.seen.append((view.now, view.load, view.waiting, view.ready))
        return view.replicas


def test_policies_see_the_last_scrape_only() -> None:
    looks = Looks()
    simulate(trace(0, 1, 2, 12), looks, SERVICE, start=1, end=40, seed=1, limit=5.0)
    seen = {now: rest for now, *rest in looks.seen}
    assert seen[5] == [0, 0, 1]
    assert seen[10] == seen[20] == [2, 1, 1]  # at 10: the second works, the third waits
    assert seen[25] == [2, 1, 1]


def test_the_same_seed_gives_the_same_run_and_another_one_other_cold_starts() -> None:
    varied = Service(rate=1.0, cold_start=Distribution(((0.0, 1.0), (1.0, 90.0))))
    load = trace(*range(0, 100, 5), work=7.0)

    def run(seed: int) -> list[float]:
        waits: list[float] = simulate(load, Schedule("s", [(0, 2)]), varied, start=1, end=100, seed=seed).waits.tolist()
        return waits

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_wrong_traces_are_refused() -> None:
    with pytest.raises(ScalingError, match="back in time"):
        trace(3, 2)
    with pytest.raises(ScalingError, match="no requests"):
        trace()
    with pytest.raises(ScalingError, match="negative"):
        trace(1, work=-1.0)
    with pytest.raises(ScalingError, match="differ in length"):
        Trace("t", np.array([1.0]), np.array([]), np.array([]))


def test_the_oracles_arithmetic() -> None:
    load = trace(0, 30, work=60.0)
    assert oracle.busy(load, 30.0, 120.0).tolist() == [1, 2, 1, 0]
    assert oracle.bound(load, SERVICE, 60.0) == pytest.approx((60 + 30) * 2 / 3600)
    # Ordered 30 s ahead; the gap of one interval is bridged by the order that comes during it.
    assert oracle.schedule([1, 1, 3, 1, 3, 1], 30.0, 30.0) == [(0, 1), (30, 3), (150, 1)]
    assert oracle.schedule([2, 1, 1, 1, 2], 30.0, 30.0) == [(0, 2), (30, 1), (90, 2)]


def test_the_hpa_of_the_benchmark_follows_a_step() -> None:
    rng = np.random.default_rng(1)
    rates = np.concatenate([rng.uniform(0, 600, 600), rng.uniform(600, 1800, 4800)])
    load = Trace("step", np.sort(rates), np.full(5400, 4.0), np.zeros(5400))
    result = simulate(load, policies.Hpa(8, 50), Service(rate=2.0, slots=8), start=1, end=1800, seed=1)
    final = result.timeline[-1][1]
    assert 3 <= final <= 5  # 4 requests/s of 4 s each, 6.4 a replica: 2.5; the noise of five minutes on top
    assert result.timeline[0] == (0.0, 1, 1)
