"""The contestants of the planner's benchmark: they place legally, and obey their rules on cases worked by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.planner import contest, planner
from benchmarks.planner.cluster import GPU_MODEL, Cluster, Contestant
from benchmarks.planner.kube import BALANCED, DynamicMig, StaticMig, WholeGpus
from benchmarks.planner.peers import BestFit, FirstFit, GradientDescent, LeastBlocked
from benchmarks.planner.planner import Moves, Planner
from benchmarks.planner.workload import MIXES, MODEL, compute_slices, memory_slices
from inferstack.mig import catalogue
from inferstack.mig.fragmentation import open_starts
from inferstack.mig.placement import find_placement
from tests.unit.mig.planner.fleets import fits

MIX = MIXES["serving"]
STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 30), st.sampled_from(sorted(MIX))), max_size=18)
MAKERS: dict[str, Callable[[int], Contestant]] = {
    "first fit": FirstFit,
    "best fit": BestFit,
    "least blocked": LeastBlocked,
    "gradient descent": lambda gpus: GradientDescent(gpus, MIX),
    "whole": lambda gpus: WholeGpus(gpus, 1),
    "static": lambda gpus: StaticMig(gpus, 1, [BALANCED]),
    "dynamic": lambda gpus: DynamicMig(gpus, 1),
    "planner": lambda gpus: Planner(gpus, Moves.NONE),
    "planner for room": lambda gpus: Planner(gpus, Moves.FOR_ROOM),
    "planner tidies": lambda gpus: Planner(gpus, Moves.TO_TIDY),
}


def by_gpu(contestant: Contestant) -> list[list[tuple[int, str]]]:
    """Return the placements on each GPU, as the contestant's own books have them."""
    placements: list[list[tuple[int, str]]] = [[] for _ in range(contestant.gpus)]
    if isinstance(contestant, Cluster):
        for pod, (gpu, start) in contestant.placements.items():
            placements[gpu].append((start, contestant.pods[pod]))
    elif isinstance(contestant, Planner):
        placements = [[(instance.start, instance.profile) for instance in gpu.instances] for gpu in contestant.fleet]
    elif isinstance(contestant, (StaticMig, WholeGpus)):
        for gpu, start, kind in contestant.held.values():
            placements[gpu].append((start, kind or "7g.80gb"))
    return placements


@pytest.mark.parametrize("name", MAKERS)
@settings(max_examples=8, deadline=None)
@given(steps=STEPS)
def test_churned_pods_are_placed_legally_and_counted(name: str, steps: list[tuple[bool, int, str]]) -> None:
    contestant = MAKERS[name](4)
    alive: dict[int, str] = {}
    for comes, pod, profile in steps:
        if not comes:
            contestant.leave(pod)
            alive.pop(pod, None)
        elif pod not in alive and contestant.arrive(pod, profile):
            alive[pod] = profile
    assert contestant.pods == alive
    placements = by_gpu(contestant)
    assert all(fits(MODEL, gpu) for gpu in placements)
    assert sum(map(len, placements)) == len(alive)
    if name not in ("whole", "static"):
        assert sorted(profile for gpu in placements for _, profile in gpu) == sorted(alive.values())
    usage = contestant.usage(MIX)
    assert (usage.used, usage.compute_used) == (
        sum(map(memory_slices, alive.values())),
        sum(map(compute_slices, alive.values())),
    )
    assert usage.gpus_used == sum(map(bool, placements))
    assert 0 <= usage.unusable <= usage.slices - usage.used + 1e-9
    if not name.startswith("planner "):
        assert contestant.moved == 0


@pytest.mark.parametrize("name", [name for name in MAKERS if name not in ("whole", "static")])
@settings(max_examples=8, deadline=None)
@given(profiles=st.lists(st.sampled_from(sorted(MIX)), min_size=1, max_size=14))
def test_contestant_accepts_pod_that_fits(name: str, profiles: list[str]) -> None:
    contestant = MAKERS[name](3)
    for pod, profile in enumerate(profiles):
        states = [
            (
                sum(((1 << memory_slices(p)) - 1) << start for start, p in gpu),
                sum(compute_slices(p) for _, p in gpu),
            )
            for gpu in by_gpu(contestant)
        ]
        has_room = any(open_starts(MODEL, *state, profile) for state in states)
        taken = contestant.arrive(pod, profile)
        assert taken or not has_room
        assert taken <= has_room or "for room" in name or "tidies" in name


def filled(contestant: Cluster, *placements: tuple[int, int, str]) -> Cluster:
    """Put pods where the case wants them: GPU, start, profile."""
    for number, (gpu, start, profile) in enumerate(placements):
        contestant.masks[gpu] |= ((1 << memory_slices(profile)) - 1) << start
        contestant.computes[gpu] += compute_slices(profile)
        contestant.placements[-1 - number], contestant.pods[-1 - number] = (gpu, start), profile
    return contestant


def test_first_fit_takes_the_first_gpu_and_best_fit_the_fullest() -> None:
    case = [(0, 0, "1g.10gb"), (1, 0, "3g.40gb")]
    assert filled(FirstFit(3), *case).choose("2g.20gb") == (0, 2)
    assert filled(BestFit(3), *case).choose("2g.20gb") == (1, 4)
    assert filled(BestFit(3), *case).choose("7g.80gb") == (2, 0)


def test_least_blocked_leaves_the_largest_starts_open() -> None:
    # On an empty GPU a 1g blocks least at 6, where only 1g.20gb and 3g at 4 are in its way, and no 4g.
    assert LeastBlocked(1).choose("1g.10gb") == (0, 6)
    # Beside a 3g at 4 the half with the 4g is broken up already where a 1g sits: the next joins it.
    case = [(0, 4, "3g.40gb"), (0, 0, "1g.10gb"), (1, 4, "3g.40gb")]
    assert filled(LeastBlocked(2), *case).choose("1g.10gb") == (0, 1)


def test_gradient_descent_follows_workload_mix() -> None:
    # Only 7g come: a GPU that is used already is lost for them, an empty one is not.
    only_7g = GradientDescent(2, {"1g.10gb": 0.0, "7g.80gb": 1.0})
    assert filled(only_7g, (1, 0, "1g.10gb")).choose("1g.10gb") == (1, 1)
    # Only 1g come: every free slice is of use anywhere, so the first place is as good.
    only_1g = GradientDescent(2, {"1g.10gb": 1.0})
    assert filled(only_1g, (1, 0, "1g.10gb")).choose("1g.10gb") == (0, 0)


def test_default_scheduler_spreads_over_nodes_by_cpu_and_memory() -> None:
    for contestant in (WholeGpus(16, 3), StaticMig(16, 3, [BALANCED])):
        for pod in range(4):
            assert contestant.arrive(pod, "1g.10gb")
        nodes = [gpu // 8 for gpu, _, _ in contestant.held.values()]
        assert sorted(nodes) == [0, 0, 1, 1]
    dynamic = DynamicMig(16, 3)
    for pod in range(4):
        assert dynamic.arrive(pod, "1g.10gb")
    assert sorted(gpu for gpu, _ in dynamic.placements.values()) == [0, 0, 8, 8], "the first fit of each node"


def test_default_scheduler_score() -> None:
    nodes = WholeGpus(8, 0).nodes
    # 3 of 192 cores and 24 of 2,048 GiB: 98 and 98 free, and the shares differ by 0.4 hundredths.
    assert nodes.score(0, "1g.10gb") == 98 + int((1 - abs(3 / 192 - 24 / 2048) / 2) * 100)


def test_free_slices_of_fixed_devices_are_unusable_to_others() -> None:
    whole = WholeGpus(2, 0)
    assert whole.arrive(0, "1g.10gb")
    usage = whole.usage({"1g.10gb": 1.0})
    assert (usage.used, usage.unusable, usage.gpus_used) == (1, 7, 1)
    static = StaticMig(1, 0, [BALANCED])
    assert not static.arrive(0, "7g.80gb")
    assert static.arrive(1, "3g.40gb")
    assert not static.arrive(2, "3g.40gb")
    # 4 of 8 are free: of use to a 1g and a 2g, not to a 3g.
    assert static.usage({"1g.10gb": 1, "2g.20gb": 1, "3g.40gb": 2}).unusable == pytest.approx(4 / 2)
    static.leave(1)
    assert static.arrive(3, "3g.40gb")


def test_balanced_layout_is_legal() -> None:
    counts = {"1g.10gb": 2, "2g.20gb": 1, "3g.40gb": 1}
    placed = find_placement(catalogue.gpu(MODEL), counts)
    assert placed is not None
    assert fits(MODEL, list(BALANCED))
    assert sorted(name for _, name in BALANCED) == sorted(placement.profile for placement in placed)


def test_planner_moves_pods_only_if_allowed() -> None:
    def broken(moves: Moves) -> Planner:
        contestant = Planner(2, moves)
        for pod in range(4):
            assert contestant.arrive(pod, "3g.40gb")
        for pod in (0, 2):
            contestant.leave(pod)
        return contestant

    fixed, for_room, defragments = (broken(moves) for moves in Moves)
    halves = [
        sorted({at for at, gpu in enumerate(contestant.fleet) if gpu.instances}) for contestant in (fixed, for_room)
    ]
    assert halves == [[0, 1], [0, 1]], "one 3g on each GPU"
    assert not fixed.arrive(9, "7g.80gb")
    assert for_room.arrive(9, "7g.80gb")
    assert defragments.arrive(9, "7g.80gb")
    assert (fixed.moved, for_room.moved) == (0, 1)
    assert defragments.moved >= 1


def test_planner_serves_batch_on_fewest_gpus() -> None:
    gpus, fleet = planner.gpus_needed({"3g.40gb": 3, "1g.10gb": 3}, 1)
    assert gpus == 2
    assert sum(not instance.idle for gpu in fleet.gpus for instance in gpu.instances) == 6


def test_fitted_layout_is_legal() -> None:
    layouts = contest.fitted(MIX)
    assert all(fits(MODEL, list(layout)) for layout in layouts)
    profiles = set(itertools.chain.from_iterable([name for _, name in layout] for layout in layouts))
    assert profiles == set(MIX)
    assert GPU_MODEL.memory_slices == 8
