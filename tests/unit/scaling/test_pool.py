"""One pool, several jobs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstack.scaling.errors import ScalingError
from inferstack.scaling.model import Bounds, History, Service, Slo, State
from inferstack.scaling.plan import decide
from inferstack.scaling.pool import Claim, share

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
def test_what_holds_of_every_share(claims: list[Claim], gpus: int) -> None:
    found = share(claims, gpus)
    used = sum(claim.gpus * found.replicas[claim.name] for claim in claims)
    assert used + found.free == gpus
    assert all(found.replicas[claim.name] <= claim.needed + claim.warm for claim in claims)
    for high in claims:
        if high.name not in found.short:
            continue
        for low in claims:
            if low.priority < high.priority:
                assert found.replicas[low.name] <= min(low.held, low.needed), (
                    "new ones while a higher priority is short"
                )
            assert found.replicas[low.name] <= low.needed, "warm ones while somebody is short"


@given(claims=CLAIMS, gpus=st.integers(0, 60), more=st.integers(1, 10))
def test_a_larger_pool_gives_nobody_less(claims: list[Claim], gpus: int, more: int) -> None:
    small, large = share(claims, gpus), share(claims, gpus + more)
    assert all(large.replicas[name] >= count for name, count in small.replicas.items())


@given(claims=CLAIMS, gpus=st.integers(0, 60))
def test_what_runs_and_is_needed_is_not_taken_away(claims: list[Claim], gpus: int) -> None:
    kept = {claim.name: min(claim.held, claim.needed) for claim in claims}
    if sum(claim.gpus * kept[claim.name] for claim in claims) <= gpus:
        found = share(claims, gpus)
        assert all(found.replicas[name] >= count for name, count in kept.items())


@given(claims=CLAIMS, gpus=st.integers(0, 60), data=st.data())
def test_who_needs_more_does_not_get_less(claims: list[Claim], gpus: int, data: st.DataObject) -> None:
    if not claims:
        return
    index = data.draw(st.integers(0, len(claims) - 1))
    one = claims[index]
    greedy = Claim(one.name, one.gpus, one.needed + 1, one.warm, one.priority, one.held)
    more = [*claims[:index], greedy, *claims[index + 1 :]]
    # Of what is needed: one replica more may take the place of one that was warm.
    before = min(share(claims, gpus).replicas[one.name], one.needed)
    if one.held <= one.needed:
        assert share(more, gpus).replicas[one.name] >= before


def test_by_hand() -> None:
    claims = [Claim("big", 4, 2, priority=1), Claim("small", 1, 4), Claim("idle", 1, 0, warm=1, priority=2)]
    assert share(claims, 13).replicas == {"big": 2, "small": 4, "idle": 1}
    assert share(claims, 12).replicas == {"big": 2, "small": 4, "idle": 0}
    short = share(claims, 7)
    assert (short.replicas, short.short, short.free) == ({"big": 1, "small": 0, "idle": 0}, {"big": 1, "small": 4}, 3)
    # Within a priority each gets the same part of its need.
    assert share([Claim("a", 1, 8), Claim("b", 1, 4)], 6).replicas == {"a": 4, "b": 2}


def test_a_decision_becomes_a_claim() -> None:
    history = History(0.0, 60.0, [])
    state = State(3, 3, 30.0)
    bounds = Bounds(warm=2, idle_seconds=60.0)
    made = decide(0.0, history, Service(rate=1.0, slots=8), Slo(2.0), bounds, state, None)
    claim = Claim.of("job", made, bounds, gpus=2, priority=5, held=3)
    assert (claim.needed + claim.warm, claim.warm) == (made.min_replicas, 2)
    asleep = State(1, 1, 0.0, last_request=-100.0)
    idle = decide(0.0, history, Service(rate=1.0), Slo(2.0), bounds, asleep, None)
    assert Claim.of("job", idle, bounds, gpus=1, priority=0, held=1).needed == 0


@pytest.mark.parametrize(
    ("claims", "gpus", "said"),
    [([Claim("a", 1, 1), Claim("a", 1, 1)], 3, "a claims twice"), ([], -1, "pool of -1")],
)
def test_wrong_input_is_named(claims: list[Claim], gpus: int, said: str) -> None:
    with pytest.raises(ScalingError, match=said):
        share(claims, gpus)
    with pytest.raises(ScalingError, match="needed is -1"):
        Claim("a", 1, -1)
    with pytest.raises(ScalingError, match="0 GPUs"):
        Claim("a", 0, 1)
