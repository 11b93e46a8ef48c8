"""Sharing of a GPU pool among jobs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inferstack.controllers.scaling.budget import PoolMember, share_gpus
from inferstack.controllers.scaling.calibration import Capacity, CapacitySource
from inferstack.controllers.scaling.decision import JobDecision
from inferstack.controllers.scaling.status import NoDecision
from inferstack.scaling.model import Decision, Reason
from inferstack.scaling.reactive import HpaState


def make_decision(floor: int, max_replicas: int = 100, replicas: int | None = None) -> JobDecision:
    """Return a decision with a floor of replicas."""
    decision = Decision(floor, max_replicas, 10.0, {}, replicas, Reason.FORECAST, "", floor, 1, None, HpaState(), ())
    return JobDecision(decision, Capacity(4, 32, CapacitySource.SATURATION), 60)


def make_member(
    priority: int = 0, gpus: int = 1, min_replicas: int = 1, held: int = 1, resource: str = "gpu"
) -> PoolMember:
    """Return a pool member."""
    return PoolMember(resource, gpus, min_replicas, priority, held)


def bounds_of(outcome: JobDecision | NoDecision) -> tuple[int, int]:
    """Return the bounds of a decision."""
    assert isinstance(outcome, JobDecision)
    return outcome.decision.min_replicas, outcome.decision.max_replicas


def test_higher_priority_is_served_first() -> None:
    decisions = {"ml/low": make_decision(6), "ml/high": make_decision(6)}
    shared = share_gpus(decisions, {"ml/low": make_member(0), "ml/high": make_member(1000)}, {"gpu": 8})
    assert bounds_of(shared["ml/high"]) == (6, 6)
    assert bounds_of(shared["ml/low"]) == (2, 2)
    low = shared["ml/low"]
    assert isinstance(low, JobDecision)
    assert (low.decision.reason, low.decision.message) == (
        Reason.BUDGET,
        "6 replicas are needed, the pool grants 2",
    )


def test_spare_gpus_raise_the_maximum_of_each_job() -> None:
    decisions = {"ml/a": make_decision(2), "ml/b": make_decision(1)}
    shared = share_gpus(decisions, {"ml/a": make_member(gpus=2), "ml/b": make_member()}, {"gpu": 11})
    assert bounds_of(shared["ml/a"]) == (2, 2 + 3)
    assert bounds_of(shared["ml/b"]) == (1, 1 + 6)


def test_job_without_decision_keeps_its_replicas() -> None:
    decisions: dict[str, JobDecision | NoDecision] = {"ml/a": make_decision(8), "ml/no-data": NoDecision("NoData", "")}
    shared = share_gpus(decisions, {"ml/a": make_member(priority=9), "ml/no-data": make_member(held=5)}, {"gpu": 8})
    assert bounds_of(shared["ml/a"]) == (3, 3)
    assert shared["ml/no-data"] is decisions["ml/no-data"]


def test_idle_job_releases_its_gpus() -> None:
    decisions = {"ml/idle": make_decision(4, replicas=0), "ml/busy": make_decision(8)}
    shared = share_gpus(
        decisions, {"ml/idle": make_member(priority=9, min_replicas=1), "ml/busy": make_member()}, {"gpu": 8}
    )
    assert bounds_of(shared["ml/busy"])[0] >= 7


def test_each_resource_has_its_own_pool() -> None:
    decisions = {"ml/a": make_decision(8), "ml/b": make_decision(8)}
    shared = share_gpus(
        decisions, {"ml/a": make_member(), "ml/b": make_member(resource="slice")}, {"gpu": 8, "slice": 3}
    )
    assert bounds_of(shared["ml/a"]) == (8, 8)
    assert bounds_of(shared["ml/b"]) == (3, 3)


JOBS = st.lists(
    st.tuples(st.integers(1, 40), st.integers(0, 3), st.integers(1, 4), st.integers(1, 3)), min_size=1, max_size=6
)


@given(jobs=JOBS, pool=st.integers(0, 100))
def test_floors_fit_into_the_pool_and_respect_min_replicas(jobs: list[tuple[int, int, int, int]], pool: int) -> None:
    decisions = {f"ml/j{i}": make_decision(max(floor, low)) for i, (floor, _, _, low) in enumerate(jobs)}
    members = {f"ml/j{i}": make_member(p, gpus, low) for i, (_, p, gpus, low) in enumerate(jobs)}
    shared = {key: bounds_of(outcome) for key, outcome in share_gpus(decisions, members, {"gpu": pool}).items()}
    guaranteed = sum(member.min_replicas * member.gpus for member in members.values())
    assert sum(low * members[key].gpus for key, (low, _) in shared.items()) <= pool + guaranteed
    for key, (low, high) in shared.items():
        assert members[key].min_replicas <= low <= high
    # No job may exceed its floor while another job is short.
    if any(low < bounds_of(decisions[key])[0] for key, (low, _) in shared.items()):
        assert all(low == high for low, high in shared.values())


@given(jobs=JOBS, pool=st.integers(0, 100), more=st.integers(0, 50))
def test_larger_pool_gives_no_job_less(jobs: list[tuple[int, int, int, int]], pool: int, more: int) -> None:
    decisions = {f"ml/j{i}": make_decision(max(floor, low)) for i, (floor, _, _, low) in enumerate(jobs)}
    members = {f"ml/j{i}": make_member(p, gpus, low) for i, (_, p, gpus, low) in enumerate(jobs)}
    small, large = (share_gpus(decisions, members, {"gpu": size}) for size in (pool, pool + more))
    for key in decisions:
        assert bounds_of(small[key])[0] <= bounds_of(large[key])[0]
