"""Which sets of profiles fit one GPU."""

from __future__ import annotations

import dataclasses
import itertools
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstack.mig import catalogue
from inferstack.mig.catalogue import Gpu
from inferstack.mig.errors import LayoutError
from inferstack.mig.placement import Placement, find_placement, require_placement

A100 = catalogue.gpu("A100-SXM4-40GB")
H100 = catalogue.gpu("H100-80GB-HBM3")
RTX = catalogue.gpu("RTX-PRO-6000")

# The combinations of NVIDIA's MIG user guide for seven-slice GPUs, by compute slices.
DOCUMENTED = [
    (7,), (4, 3), (4, 2, 1), (4, 1, 1, 1), (3, 3), (3, 2, 1), (3, 1, 1, 1), (3, 2, 2), (3, 2, 1, 1), (3, 1, 1, 1, 1),
    (2, 2, 2, 1), (2, 2, 1, 1, 1), (2, 1, 1, 1, 1, 1), (1, 1, 1, 1, 1, 1, 1), (2, 2, 3), (4,), (3,), (2,), (1,),
]  # fmt: skip


def _plain(model: Gpu, slices: int) -> str:
    fitting = [p for p in model.profiles.values() if p.compute_slices == slices and not p.media_extensions]
    return max(fitting, key=lambda p: p.max_count).name


def _counts(model: Gpu, slices: tuple[int, ...]) -> dict[str, int]:
    names = [_plain(model, s) for s in slices]
    return {name: names.count(name) for name in names}


@pytest.mark.parametrize("slices", DOCUMENTED, ids=str)
@pytest.mark.parametrize("name", [gpu.name for gpu in catalogue.load().gpus.values() if gpu.compute_slices == 7])
def test_documented_combinations_fit(name: str, slices: tuple[int, ...]) -> None:
    model = catalogue.gpu(name)
    assert find_placement(model, _counts(model, slices)) is not None


# The configurations that NVIDIA's guide draws for GPUs of four slices.
@pytest.mark.parametrize("slices", [(4,), (2, 2), (2, 1, 1), (1, 1, 1, 1)], ids=str)
@pytest.mark.parametrize("name", ["A30", "RTX-PRO-6000"])
def test_documented_combinations_of_four_slices_fit(name: str, slices: tuple[int, ...]) -> None:
    model = catalogue.gpu(name)
    assert find_placement(model, _counts(model, slices)) is not None


@pytest.mark.parametrize(
    "counts",
    [
        {"2g.48gb": 1, "1g.24gb+gfx": 1, "1g.24gb+me": 1},
        {"1g.24gb+me.all": 1, "1g.24gb-me": 3},
        {"2g.48gb+me.all": 1, "2g.48gb-me": 1},
        {"2g.48gb+me.all": 1, "1g.24gb-me": 2},
        {"1g.24gb+gfx": 2, "1g.24gb": 2},
    ],
    ids=str,
)
def test_media_engines_are_shared_out(counts: dict[str, int]) -> None:
    require_placement(RTX, counts)


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"1g.24gb+me.all": 1, "1g.24gb": 1}, r"needs 5 decoder engines, RTX-PRO-6000 has 4"),
        ({"2g.48gb+me.all": 1, "1g.24gb+gfx": 1, "1g.24gb-me": 1}, r"needs 5 decoder engines, RTX-PRO-6000 has 4"),
        ({"1g.24gb+me": 1, "1g.24gb+me.all": 1}, r"media extensions \(\+me\)"),
        ({"2g.48gb": 2, "1g.24gb-me": 1}, r"needs 5 compute slices, RTX-PRO-6000 has 4"),
    ],
)
def test_media_engines_that_are_gone_say_so(counts: dict[str, int], message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        require_placement(RTX, counts)


def test_guides_examples_are_placed_where_the_driver_puts_them() -> None:
    assert find_placement(A100, {"1g.5gb": 1, "2g.10gb": 1, "4g.20gb": 1}) == (
        Placement(0, 4, "4g.20gb"),
        Placement(4, 2, "2g.10gb"),
        Placement(6, 1, "1g.5gb"),
    )


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({"7g.40gb": 1, "1g.5gb": 1}, r"1 x 1g.5gb, 1 x 7g.40gb: needs 8 compute slices, A100-SXM4-40GB has 7"),
        ({"3g.20gb": 2, "1g.5gb": 1}, r"2 x 3g.20gb: needs 9 memory slices, A100-SXM4-40GB has 8"),
        ({"4g.20gb": 2}, r"2 x 4g.20gb: A100-SXM4-40GB holds at most 1 of 4g.20gb"),
        ({"3g.20gb": 3}, r"holds at most 2 of 3g.20gb"),
        ({"2g.10gb": 4}, r"holds at most 3 of 2g.10gb"),
        ({"1g.5gb": 8}, r"holds at most 7 of 1g.5gb"),
        ({"1g.5gb+me": 2}, r"holds at most 1 of 1g.5gb\+me"),
        ({"1g.5gb": 7, "1g.5gb+me": 1}, r"needs 8 compute slices"),
        ({"1g.10gb": 5}, r"holds at most 4 of 1g.10gb"),
        ({"4g.20gb": 1, "2g.10gb": 2}, r"needs 8 compute slices"),
        ({"1g.18gb": 1}, r"A100-SXM4-40GB has no MIG profile '1g.18gb'"),
        ({"1g.5gb": -1}, r"1g.5gb: a count of -1 is below 0"),
    ],
)
def test_impossible_placement_error_gives_reason(counts: dict[str, int], message: str) -> None:
    with pytest.raises(LayoutError, match=message):
        require_placement(A100, counts)


@pytest.mark.parametrize(
    "counts",
    [
        {"1g.5gb": 6, "1g.5gb+me": 1},
        {"1g.5gb": 6, "1g.10gb": 1},
        {"2g.10gb": 3, "1g.10gb": 1},
        {"3g.20gb": 1, "1g.10gb": 2},
        {"4g.20gb": 1, "1g.10gb": 1, "1g.5gb": 2},
        {},
        {"7g.40gb": 0},
    ],
    ids=str,
)
def test_possible_sets(counts: dict[str, int]) -> None:
    require_placement(A100, counts)


def test_starts_decide_where_sums_do_not() -> None:
    rows = A100.profiles
    late = dataclasses.replace(rows["3g.20gb"], starts=(4,), max_count=1)
    model = dataclasses.replace(
        A100,
        profiles=MappingProxyType(
            {**rows, "3g.20gb": late, "4g.20gb": dataclasses.replace(rows["4g.20gb"], starts=(2,))}
        ),
    )
    with pytest.raises(LayoutError, match="no placement on A100-SXM4-40GB"):
        require_placement(model, {"3g.20gb": 1, "4g.20gb": 1})


def test_one_media_engine_for_all_kinds_of_me() -> None:
    rows = A100.profiles
    second = dataclasses.replace(rows["2g.10gb"], name="2g.10gb+me", max_count=1)
    model = dataclasses.replace(A100, profiles=MappingProxyType({**rows, second.name: second}))
    with pytest.raises(LayoutError, match=r"media extensions \(\+me\)"):
        require_placement(model, {"1g.5gb+me": 1, "2g.10gb+me": 1})


models = st.sampled_from(list(catalogue.load().gpus.values()))


@st.composite
def sets(draw: st.DrawFn) -> tuple[Gpu, dict[str, int]]:
    model = draw(models)
    names = draw(st.lists(st.sampled_from(list(model.profiles)), max_size=7))
    return model, {name: names.count(name) for name in names}


@given(sets())
def test_placements_never_overlap_and_hold_what_was_asked(case: tuple[Gpu, dict[str, int]]) -> None:
    model, counts = case
    placements = find_placement(model, counts)
    if placements is None:
        return
    taken: set[int] = set()
    for placement in placements:
        units = set(range(placement.start, placement.start + placement.size))
        assert not taken & units
        assert placement.start in model.profile(placement.profile).starts
        assert max(units) < model.memory_slices
        taken |= units
    names = [placement.profile for placement in placements]
    assert {name: names.count(name) for name in names} == counts


@given(sets(), st.data())
def test_legal_set_stays_legal_when_one_is_taken_away(case: tuple[Gpu, dict[str, int]], data: st.DataObject) -> None:
    model, counts = case
    if not counts or find_placement(model, counts) is None:
        return
    removed = data.draw(st.sampled_from(sorted(counts)))
    assert find_placement(model, {**counts, removed: counts[removed] - 1}) is not None


def _by_trying_all(model: Gpu, counts: dict[str, int]) -> bool:
    """Try every start for every instance: slow and obviously right."""
    flat = [model.profile(name) for name, count in counts.items() for _ in range(count)]
    if any(count > model.profile(name).max_count for name, count in counts.items()):
        return False
    if sum(p.compute_slices for p in flat) > model.compute_slices or sum(p.media_extensions for p in flat) > 1:
        return False
    for engine in ("decoder", "encoder", "jpeg", "ofa"):
        whole = max(model.profiles.values(), key=lambda p: p.memory_slices).engines[engine]
        if sum(p.engines[engine] for p in flat) > whole:
            return False
    for starts in itertools.product(*(p.starts for p in flat)):
        units = [u for p, s in zip(flat, starts, strict=True) for u in range(s, s + p.memory_slices)]
        if len(units) == len(set(units)):
            return True
    return False


@given(sets().filter(lambda case: sum(case[1].values()) <= 4))
def test_placement_search_is_exact(case: tuple[Gpu, dict[str, int]]) -> None:
    model, counts = case
    assert (find_placement(model, counts) is not None) == _by_trying_all(model, counts)
