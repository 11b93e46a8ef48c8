"""Who may have how many GPUs of those that jobs share."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from inferstack.controllers.scaling.calibrate import Capacity, Source
from inferstack.controllers.scaling.deciding import Made
from inferstack.controllers.scaling.sharing import Member, shared
from inferstack.controllers.scaling.status import Trouble
from inferstack.scaling.model import Decision, Reason
from inferstack.scaling.reactive import Memory


def wants(floor: int, most: int = 100, replicas: int | None = None) -> Made:
    """Return a decision that asks for so many replicas."""
    decision = Decision(floor, most, 10.0, {}, replicas, Reason.FORECAST, "", floor, 1, None, Memory(), ())
    return Made(decision, Capacity(4, 32, Source.SATURATION), 60)


def claim(priority: int = 0, gpus: int = 1, least: int = 1, holds: int = 1, resource: str = "gpu") -> Member:
    """Return what a job brings."""
    return Member(resource, gpus, least, priority, holds)


def bounds_of(word: Made | Trouble) -> tuple[int, int]:
    """Return the bounds of a decision."""
    assert isinstance(word, Made)
    return word.decision.min_replicas, word.decision.max_replicas


def test_the_higher_priority_goes_first() -> None:
    said = {"ml/low": wants(6), "ml/high": wants(6)}
    found = shared(said, {"ml/low": claim(0), "ml/high": claim(1000)}, {"gpu": 8})
    assert bounds_of(found["ml/high"]) == (6, 6)
    assert bounds_of(found["ml/low"]) == (2, 2)
    low = found["ml/low"]
    assert isinstance(low, Made)
    assert (low.decision.reason, low.decision.sentence) == (
        Reason.BUDGET,
        "6 replicas are needed, the pool grants 2",
    )


def test_what_nobody_needs_each_may_take() -> None:
    said = {"ml/a": wants(2), "ml/b": wants(1)}
    found = shared(said, {"ml/a": claim(gpus=2), "ml/b": claim()}, {"gpu": 11})
    assert bounds_of(found["ml/a"]) == (2, 2 + 3)
    assert bounds_of(found["ml/b"]) == (1, 1 + 6)


def test_a_job_that_cannot_be_decided_on_keeps_what_it_has() -> None:
    said: dict[str, Made | Trouble] = {"ml/a": wants(8), "ml/blind": Trouble("NoData", "")}
    found = shared(said, {"ml/a": claim(priority=9), "ml/blind": claim(holds=5)}, {"gpu": 8})
    assert bounds_of(found["ml/a"]) == (3, 3)
    assert found["ml/blind"] is said["ml/blind"]


def test_an_idle_job_leaves_its_gpus_to_others() -> None:
    said = {"ml/idle": wants(4, replicas=0), "ml/busy": wants(8)}
    found = shared(said, {"ml/idle": claim(priority=9, least=1), "ml/busy": claim()}, {"gpu": 8})
    assert bounds_of(found["ml/busy"])[0] >= 7


def test_pools_of_other_resources_do_not_count() -> None:
    said = {"ml/a": wants(8), "ml/b": wants(8)}
    found = shared(said, {"ml/a": claim(), "ml/b": claim(resource="slice")}, {"gpu": 8, "slice": 3})
    assert bounds_of(found["ml/a"]) == (8, 8)
    assert bounds_of(found["ml/b"]) == (3, 3)


JOBS = st.lists(
    st.tuples(st.integers(1, 40), st.integers(0, 3), st.integers(1, 4), st.integers(1, 3)), min_size=1, max_size=6
)


@given(jobs=JOBS, pool=st.integers(0, 100))
def test_floors_fit_into_the_pool_and_nobody_falls_below_its_least(
    jobs: list[tuple[int, int, int, int]], pool: int
) -> None:
    said = {f"ml/j{i}": wants(max(floor, least)) for i, (floor, _, _, least) in enumerate(jobs)}
    claims = {f"ml/j{i}": claim(p, gpus, least) for i, (_, p, gpus, least) in enumerate(jobs)}
    found = {key: bounds_of(word) for key, word in shared(said, claims, {"gpu": pool}).items()}
    least_of_all = sum(one.least * one.gpus for one in claims.values())
    assert sum(low * claims[key].gpus for key, (low, _) in found.items()) <= pool + least_of_all
    for key, (low, high) in found.items():
        assert claims[key].least <= low <= high
    # Nobody may go beyond its floor while another is short of its own.
    if any(low < bounds_of(said[key])[0] for key, (low, _) in found.items()):
        assert all(low == high for low, high in found.values())


@given(jobs=JOBS, pool=st.integers(0, 100), more=st.integers(0, 50))
def test_a_larger_pool_takes_nothing_from_anybody(jobs: list[tuple[int, int, int, int]], pool: int, more: int) -> None:
    said = {f"ml/j{i}": wants(max(floor, least)) for i, (floor, _, _, least) in enumerate(jobs)}
    claims = {f"ml/j{i}": claim(p, gpus, least) for i, (_, p, gpus, least) in enumerate(jobs)}
    small, large = (shared(said, claims, {"gpu": size}) for size in (pool, pool + more))
    for key in said:
        assert bounds_of(small[key])[0] <= bounds_of(large[key])[0]
