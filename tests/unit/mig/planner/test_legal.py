"""What the planner holds for possible is what `inferstack.mig.placement` can place, on every board."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferstack.mig import catalogue
from inferstack.mig.fleet import is_legal
from inferstack.mig.placement import find_placement
from inferstack.mig.planner import Budget, FleetGpu, Instance
from inferstack.mig.planner.patterns import make_patterns

BOARDS = sorted(catalogue.load().gpus)
RTX = "RTX-PRO-6000"


def _seats(draw: st.DrawFn, board: str, most: int) -> list[tuple[int, str]]:
    profiles = catalogue.gpu(board).profiles
    choices = [(start, name) for name, profile in profiles.items() for start in profile.starts]
    return draw(st.lists(st.sampled_from(choices), max_size=most))


@st.composite
def _boards_and_seats(draw: st.DrawFn, most: int = 7) -> tuple[str, list[tuple[int, str]]]:
    board = draw(st.sampled_from([*BOARDS, RTX, RTX]))
    seats: list[tuple[int, str]] = []
    for seat in _seats(draw, board, most):
        # Mostly free ones, so that legal sets are not rare.
        if draw(st.integers(0, 9)) == 0 or not _overlap(board, [*seats, seat]):
            seats.append(seat)
    return board, seats


def _overlap(board: str, seats: list[tuple[int, str]]) -> bool:
    sizes = catalogue.gpu(board).profiles
    units = [unit for start, name in seats for unit in range(start, start + sizes[name].memory_slices)]
    return len(units) != len(set(units))


@settings(max_examples=600, deadline=None)
@given(_boards_and_seats())
def test_seats_are_legal_where_they_do_not_overlap_and_placement_finds_some_place_for_them(
    given_seats: tuple[str, list[tuple[int, str]]],
) -> None:
    board, seats = given_seats
    placed = find_placement(catalogue.gpu(board), Counter(name for _, name in seats))
    expected = placed is not None and not _overlap(board, seats)
    assert is_legal(board, tuple(Instance(*seat) for seat in seats)) == expected
    if placed is not None:
        assert is_legal(board, tuple(Instance(found.start, found.profile) for found in placed))


@settings(max_examples=200, deadline=None)
@given(_boards_and_seats(4))
def test_placement_places_what_has_a_legal_start_each(given_seats: tuple[str, list[tuple[int, str]]]) -> None:
    board, seats = given_seats
    names = [name for _, name in seats]
    ways = itertools.product(*(catalogue.gpu(board).profiles[name].starts for name in names))
    possible = any(is_legal(board, tuple(map(Instance, starts, names))) for starts in ways)
    assert possible == (find_placement(catalogue.gpu(board), Counter(names)) is not None)


@pytest.mark.parametrize("board", BOARDS)
def test_the_patterns_of_an_empty_gpu_are_the_sets_that_can_be_placed(board: str) -> None:
    model = catalogue.gpu(board)
    asked = dict.fromkeys(model.profiles, 2)
    found = {
        tuple(sorted(Counter(name for _, name in pattern.added).items()))
        for pattern in make_patterns(FleetGpu("g", "n", board), asked, "gpu", Budget(10**7))
    }
    placeable = {
        tuple(sorted((name, count) for name, count in zip(asked, counts, strict=True) if count))
        for counts in itertools.product(range(3), repeat=len(asked))
        if sum(counts) <= 4 and find_placement(model, dict(zip(asked, counts, strict=True))) is not None
    }
    assert {counts for counts in found if sum(count for _, count in counts) <= 4} == placeable


def test_beside_all_media_engines_only_instances_without_any_fit() -> None:
    taken = FleetGpu("g", "n", RTX, (Instance(0, "1g.24gb+me.all", "pod", pinned=True),))
    asked = dict.fromkeys(catalogue.gpu(RTX).profiles, 4)
    found = make_patterns(taken, asked, "instance", Budget())
    assert {name for pattern in found for _, name in pattern.added} == {"1g.24gb-me", "2g.48gb-me"}
