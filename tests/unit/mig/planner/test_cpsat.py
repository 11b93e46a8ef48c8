"""The exact planner against CP-SAT, on fleets that a brute force would not end on."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings

from inferstack.mig import catalogue
from inferstack.mig.fleet import is_legal
from inferstack.mig.planner import Budget, Demand, Fleet, FleetGpu, Instance, plan
from tests.unit.mig.planner.cpsat import Model
from tests.unit.mig.planner.fleets import A100, H100, RTX, brute_force, demands, fleets

ENOUGH = 5_000_000


@settings(max_examples=25, deadline=None)
@given(fleets(), demands())
def test_cp_sat_is_asked_the_same_question(fleet: Fleet, wanted: list[Demand]) -> None:
    assert Model(fleet, wanted).best() == brute_force(fleet, wanted)


def _case(seed: int) -> tuple[Fleet, list[Demand]]:
    """Draw three to five GPUs of two boards with idle, pinned and movable instances, and three demands."""
    draw = random.Random(seed)  # noqa: S311  # seeded cases, no secrets
    boards = draw.sample([A100, H100, RTX], 2)
    gpus = []
    for index in range(draw.randint(3, 5)):
        board = draw.choice(boards)
        profiles = catalogue.gpu(board).profiles
        seats: tuple[Instance, ...] = ()
        for _ in range(draw.randint(0, 5)):
            name = draw.choice(list(profiles))
            start = draw.choice(profiles[name].starts)
            use = draw.choice(["idle", "pod", "pod", "pinned"])
            pod = "" if use == "idle" else f"pod-{index}-{start}"
            seat = Instance(start, name, pod, draw.choice(["", "a"]) if pod else "", use == "pinned")
            if is_legal(board, (*seats, seat)):
                seats = (*seats, seat)
        gpus.append(FleetGpu(f"gpu-{index}", f"node-{index // 2}", board, seats))
    wanted = []
    for name in "abc":
        board = draw.choice(boards)
        profile = draw.choice(list(catalogue.gpu(board).profiles))
        need = draw.random() < 0.3
        wanted.append(
            Demand(
                name,
                draw.randint(1, 4),
                draw.randint(0, 1),
                "" if need else profile,
                draw.choice([4000, 9000, 20000]) if need else 0,
                draw.randint(1, 3) if need else 0,
                draw.choice([None, None, 1, 2]),
            )
        )
    return Fleet(tuple(gpus), draw.choice(["gpu", "node", "instance"])), wanted


@pytest.mark.parametrize("seed", range(40))
def test_the_plan_is_cp_sats_optimum(seed: int) -> None:
    fleet, wanted = _case(seed)
    found = plan(fleet, wanted, Budget(ENOUGH))
    assert found.optimal
    assert found.objective.key == Model(fleet, wanted).best()
