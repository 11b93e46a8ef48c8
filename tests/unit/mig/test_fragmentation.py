"""Fragmentation and utilisation: by hand, and what holds of every GPU."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstack.mig import catalogue
from inferstack.mig.errors import LayoutError
from inferstack.mig.fragmentation import by_node, even_mix, gpu_fragmentation, measure, measure_slices, unusable
from inferstack.mig.planner import FleetGpu, Instance
from tests.unit.mig.planner.fleets import A100, H100, RTX, fits

MIX = {"1g.10gb": 3.0, "3g.40gb": 1.0}


def _gpu(*placements: tuple[int, str], name: str = "gpu", node: str = "n", model: str = H100) -> FleetGpu:
    return FleetGpu(name, node, model, tuple(Instance(s, p, f"{name}-{s}", "d") for s, p in sorted(placements)))


@st.composite
def gpus(draw: st.DrawFn) -> list[FleetGpu]:
    drawn = []
    for index in range(draw(st.integers(1, 4))):
        model = draw(st.sampled_from([A100, H100, RTX]))
        choices = [(start, name) for name, profile in catalogue.gpu(model).profiles.items() for start in profile.starts]
        placements: list[tuple[int, str]] = []
        for placement in draw(st.lists(st.sampled_from(choices), max_size=7)):
            if fits(model, [*placements, placement]):
                placements.append(placement)
        drawn.append(_gpu(*placements, name=f"g{index}", node=f"n{draw(st.integers(0, 1))}", model=model))
    return drawn


def test_fragmentation_of_1g_in_the_middle() -> None:
    measured = measure([_gpu((2, "1g.10gb"))], MIX)
    # Blocked: 1g at 2; 1g.20gb and 2g at 2; 3g and 4g at 0; 7g does not count, as its slices do not suffice.
    assert measured.blocked == 1 + 2 + 2 + 4 + 4
    assert measured.open_and_blocked == 7 * 1 + 4 * 2 + 3 * 2 + 2 * 4 + 1 * 4
    assert measured.blocked_ratio == pytest.approx(13 / 33)
    assert (measured.memory_used, measured.compute_used) == (1, 1)
    assert (measured.memory_utilisation, measured.compute_utilisation) == (1 / 8, 1 / 7)
    assert measured.unusable == 0, "a 3g still fits at 4"


def test_unusable_slices_of_two_1g() -> None:
    # Free are 1, 2, 3, 5 and 6, 7: no 3g fits, and each 1g does.
    measured = measure([_gpu((0, "1g.10gb"), (4, "1g.10gb"))], MIX)
    assert measured.unusable == pytest.approx(6 * 1 / 4)
    assert measured.unusable_ratio == pytest.approx(1 / 4)
    # Two 3g leave one compute slice, and no memory that would be free.
    assert measure([_gpu((0, "3g.40gb"), (4, "3g.40gb"))], MIX).unusable_ratio == 0
    # Seven 1g leave an eighth of the memory, which no compute slice can go with.
    full = measure([_gpu(*((start, "1g.10gb") for start in range(7)))], MIX)
    assert (full.unusable, full.unusable_ratio, full.blocked) == (1, 1, 0)


@pytest.mark.parametrize("model", [name for name, gpu in catalogue.load().gpus.items() if gpu.profiles])
def test_empty_and_full_gpus_have_no_fragmentation(model: str) -> None:
    empty = measure([_gpu(model=model)])
    assert (empty.memory_used, empty.compute_used, empty.blocked, empty.unusable) == (0, 0, 0, 0)
    assert empty.open_and_blocked > 0
    gpu_model = catalogue.gpu(model)
    largest = max((p for p in gpu_model.profiles.values() if "+" not in p.name), key=lambda p: p.memory_slices)
    full = measure([_gpu((0, largest.name), model=model)])
    assert (full.memory_utilisation, full.compute_utilisation) == (1, 1)
    assert (full.blocked_ratio, full.unusable_ratio) == (0, 0)


@pytest.mark.parametrize("model", [name for name, gpu in catalogue.load().gpus.items() if gpu.profiles])
def test_only_one_slice_profiles_start_between_alternate_slices(model: str) -> None:
    gpu_model = catalogue.gpu(model)
    mask = sum(1 << unit for unit in range(0, gpu_model.memory_slices, 2))
    measured = measure_slices(model, mask, 0)
    short = {p.starts for p in gpu_model.profiles.values() if p.memory_slices == 1 and not p.media_extensions}
    free = sum(start % 2 for starts in short for start in starts)
    assert measured.blocked == measured.open_and_blocked - free
    assert (measured.blocked_ratio == 1) == (not free)


def test_idle_instances_are_free() -> None:
    idle = FleetGpu("g", "n", H100, (Instance(0, "3g.40gb"), Instance(4, "1g.10gb", "pod", "d")))
    assert measure([idle]) == measure([_gpu((4, "1g.10gb"))])


@given(gpus())
def test_ratios_are_between_0_and_1_and_blocked_equals_planner(fleet: list[FleetGpu]) -> None:
    measured = measure(fleet)
    for ratio in (
        measured.blocked_ratio,
        measured.unusable_ratio,
        measured.memory_utilisation,
        measured.compute_utilisation,
    ):
        assert 0 <= ratio <= 1 + 1e-9
    assert measured.blocked == sum(gpu_fragmentation(gpu) for gpu in fleet)
    assert measured.gpus == len(fleet)


@given(gpus())
def test_order_of_gpus_does_not_matter_and_nodes_add_up(fleet: list[FleetGpu]) -> None:
    measured = measure(fleet)
    for other in itertools.islice(itertools.permutations(fleet), 6):
        again = measure(other)
        assert again.unusable == pytest.approx(measured.unusable)
        assert (again.blocked, again.open_and_blocked) == (measured.blocked, measured.open_and_blocked)
    nodes = by_node(fleet)
    assert set(nodes) == {gpu.node for gpu in fleet}
    assert sum(node.blocked for node in nodes.values()) == measured.blocked
    assert sum(node.memory_used for node in nodes.values()) == measured.memory_used
    assert sum(node.unusable for node in nodes.values()) == pytest.approx(measured.unusable)


def test_only_the_ratios_of_a_mix_matter_and_unknown_profiles_are_left_out() -> None:
    args = (H100, 0b00010001, 2)
    expected = unusable(*args, MIX)
    assert unusable(*args, {name: 10 * share for name, share in MIX.items()}) == pytest.approx(expected)
    assert unusable(*args, {**MIX, "1g.5gb": 7.0}) == pytest.approx(expected)
    assert unusable(*args, {"1g.5gb": 1.0}) == 0
    assert sorted(even_mix(H100)) == ["1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"]
    with pytest.raises(LayoutError, match=r"share of 3g\.40gb is below 0"):
        unusable(*args, {"3g.40gb": -1.0})


def test_empty_fleet_has_no_fragmentation() -> None:
    nothing = measure([])
    assert (nothing.gpus, nothing.blocked_ratio, nothing.unusable_ratio, nothing.memory_utilisation) == (0, 0, 0, 0)
    assert nothing.compute_utilisation == Fraction(0)
