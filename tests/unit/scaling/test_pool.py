"""Allocation of one pool to several jobs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstack.scaling.errors import ScalingError
from inferstack.scaling.model import Bounds, History, ObservedState, Service, Slo
from inferstack.scaling.plan import decide
from inferstack.scaling.pool import Claim, allocate

CLAIMS = st.lists(
    st.builds(
        Claim,
        name=st.sampled_from("abcdef"),
        gpus=st.integers(1, 4),
        needed=st.integers(0, 6),
        warm=st.integers(0, 2),
        priority=st.integers(0, 2),
        held=st.integers(0, 4),
    ),
    max_size=6,
    unique_by=lambda claim: claim.name,
)


@given(claims=CLAIMS, gpus=st.integers(0, 60))
def test_allocation_respects_pool_size_and_priorities(claims: list[Claim], gpus: int) -> None:
    allocation = allocate(claims, gpus)
    used = sum(claim.gpus * allocation.replicas[claim.name] for claim in claims)
    assert used + allocation.free == gpus
    assert all(allocation.replicas[claim.name] <= claim.needed + claim.warm for claim in claims)
    for high in claims:
        if high.name not in allocation.short:
            continue
        for low in claims:
            if low.priority < high.priority:
                assert allocation.replicas[low.name] <= min(low.held, low.needed), (
                    "new replicas while a higher priority is short"
                )
            assert allocation.replicas[low.name] <= low.needed, "warm replicas while a job is short"


@given(claims=CLAIMS, gpus=st.integers(0, 60), more=st.integers(1, 10))
def test_larger_pool_gives_no_job_less(claims: list[Claim], gpus: int, more: int) -> None:
    small, large = allocate(claims, gpus), allocate(claims, gpus + more)
    assert all(large.replicas[name] >= count for name, count in small.replicas.items())


@given(claims=CLAIMS, gpus=st.integers(0, 60))
def test_held_and_needed_replicas_are_kept(claims: list[Claim], gpus: int) -> None:
    kept = {claim.name: min(claim.held, claim.needed) for claim in claims}
    if sum(claim.gpus * kept[claim.name] for claim in claims) <= gpus:
        allocation = allocate(claims, gpus)
        assert all(allocation.replicas[name] >= count for name, count in kept.items())


@given(claims=CLAIMS, gpus=st.integers(0, 60), data=st.data())
def test_larger_need_does_not_get_less(claims: list[Claim], gpus: int, data: st.DataObject) -> None:
    if not claims:
        return
    index = data.draw(st.integers(0, len(claims) - 1))
    claim = claims[index]
    greedy = Claim(claim.name, claim.gpus, claim.needed + 1, claim.warm, claim.priority, claim.held)
    more = [*claims[:index], greedy, *claims[index + 1 :]]
    # Compare needed replicas: one more may replace a warm one.
    before = min(allocate(claims, gpus).replicas[claim.name], claim.needed)
    if claim.held <= claim.needed:
        assert allocate(more, gpus).replicas[claim.name] >= before


def test_allocation_matches_manual_examples() -> None:
    claims = [Claim("big", 4, 2, priority=1), Claim("small", 1, 4), Claim("idle", 1, 0, warm=1, priority=2)]
    assert allocate(claims, 13).replicas == {"big": 2, "small": 4, "idle": 1}
    assert allocate(claims, 12).replicas == {"big": 2, "small": 4, "idle": 0}
    short = allocate(claims, 7)
    assert (short.replicas, short.short, short.free) == ({"big": 1, "small": 0, "idle": 0}, {"big": 1, "small": 4}, 3)
    # Within a priority each job gets the same fraction of its need.
    assert allocate([Claim("a", 1, 8), Claim("b", 1, 4)], 6).replicas == {"a": 4, "b": 2}


def test_claim_of_decision_separates_warm_replicas() -> None:
    history = History(0.0, 60.0, [])
    state = ObservedState(3, 3, 30.0)
    bounds = Bounds(warm=2, idle_seconds=60.0)
    decision = decide(0.0, history, Service(rate=1.0, slots=8), Slo(2.0), bounds, state, None)
    claim = Claim.of("job", decision, bounds, gpus=2, priority=5, held=3)
    assert (claim.needed + claim.warm, claim.warm) == (decision.min_replicas, 2)
    asleep = ObservedState(1, 1, 0.0, last_request=-100.0)
    idle = decide(0.0, history, Service(rate=1.0), Slo(2.0), bounds, asleep, None)
    assert Claim.of("job", idle, bounds, gpus=1, priority=0, held=1).needed == 0


@pytest.mark.parametrize(
    ("claims", "gpus", "error"),
    [([Claim("a", 1, 1), Claim("a", 1, 1)], 3, "^a: more than one claim"), ([], -1, "^pool: -1")],
)
def test_invalid_input_names_the_field(claims: list[Claim], gpus: int, error: str) -> None:
    with pytest.raises(ScalingError, match=error):
        allocate(claims, gpus)
    with pytest.raises(ScalingError, match=r"^a: needed: -1"):
        Claim("a", 1, -1)
    with pytest.raises(ScalingError, match=r"^a: gpus: 0"):
        Claim("a", 0, 1)
