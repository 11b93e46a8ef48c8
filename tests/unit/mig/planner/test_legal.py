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

MODELS = sorted(catalogue.load().gpus)
RTX = "RTX-PRO-6000"


def _placements(draw: st.DrawFn, model: str, most: int) -> list[tuple[int, str]]:
    profiles = catalogue.gpu(model).profiles
    choices = [(start, name) for name, profile in profiles.items() for start in profile.starts]
    return draw(st.lists(st.sampled_from(choices), max_size=most))


@st.composite
def _models_and_placements(draw: st.DrawFn, most: int = 7) -> tuple[str, list[tuple[int, str]]]:
    model = draw(st.sampled_from([*MODELS, RTX, RTX]))
    placements: list[tuple[int, str]] = []
    for placement in _placements(draw, model, most):
        # Mostly free ones, so that legal sets are not rare.
        if draw(st.integers(0, 9)) == 0 or not _overlap(model, [*placements, placement]):
            placements.append(placement)
    return model, placements


def _overlap(model: str, placements: list[tuple[int, str]]) -> bool:
    sizes = catalogue.gpu(model).profiles
    units = [unit for start, name in placements for unit in range(start, start + sizes[name].memory_slices)]
    return len(units) != len(set(units))


@settings(max_examples=600, deadline=None)
@given(_models_and_placements())
def test_placements_are_legal_if_disjoint_and_placeable(
    drawn: tuple[str, list[tuple[int, str]]],
) -> None:
    model, placements = drawn
    placed = find_placement(catalogue.gpu(model), Counter(name for _, name in placements))
    expected = placed is not None and not _overlap(model, placements)
    assert is_legal(model, tuple(Instance(*placement) for placement in placements)) == expected
    if placed is not None:
        assert is_legal(model, tuple(Instance(instance.start, instance.profile) for instance in placed))


@settings(max_examples=200, deadline=None)
@given(_models_and_placements(4))
def test_find_placement_succeeds_if_legal_starts_exist(drawn: tuple[str, list[tuple[int, str]]]) -> None:
    model, placements = drawn
    names = [name for _, name in placements]
    ways = itertools.product(*(catalogue.gpu(model).profiles[name].starts for name in names))
    possible = any(is_legal(model, tuple(map(Instance, starts, names))) for starts in ways)
    assert possible == (find_placement(catalogue.gpu(model), Counter(names)) is not None)


@pytest.mark.parametrize("model", MODELS)
def test_patterns_of_an_empty_gpu_are_the_sets_that_can_be_placed(model: str) -> None:
    gpu_model = catalogue.gpu(model)
    asked = dict.fromkeys(gpu_model.profiles, 2)
    patterns = {
        tuple(sorted(Counter(name for _, name in pattern.added).items()))
        for pattern in make_patterns(FleetGpu("g", "n", model), asked, "gpu", Budget(10**7))
    }
    placeable = {
        tuple(sorted((name, count) for name, count in zip(asked, counts, strict=True) if count))
        for counts in itertools.product(range(3), repeat=len(asked))
        if sum(counts) <= 4 and find_placement(gpu_model, dict(zip(asked, counts, strict=True))) is not None
    }
    assert {counts for counts in patterns if sum(count for _, count in counts) <= 4} == placeable


def test_gpu_without_media_engines_fits_only_instances_without_media() -> None:
    taken = FleetGpu("g", "n", RTX, (Instance(0, "1g.24gb+me.all", "pod", pinned=True),))
    asked = dict.fromkeys(catalogue.gpu(RTX).profiles, 4)
    patterns = make_patterns(taken, asked, "instance", Budget())
    assert {name for pattern in patterns for _, name in pattern.added} == {"1g.24gb-me", "2g.48gb-me"}
