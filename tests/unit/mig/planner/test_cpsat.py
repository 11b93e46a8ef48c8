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
def test_cp_sat_model_equals_brute_force(fleet: Fleet, demands: list[Demand]) -> None:
    assert Model(fleet, demands).best() == brute_force(fleet, demands)


def _case(seed: int) -> tuple[Fleet, list[Demand]]:
    """Draw three to five GPUs of two boards with idle, pinned and movable instances, and three demands."""
    draw = random.Random(seed)  # noqa: S311  # seeded cases, no secrets
    models = draw.sample([A100, H100, RTX], 2)
    gpus = []
    for index in range(draw.randint(3, 5)):
        model = draw.choice(models)
        profiles = catalogue.gpu(model).profiles
        instances: tuple[Instance, ...] = ()
        for _ in range(draw.randint(0, 5)):
            name = draw.choice(list(profiles))
            start = draw.choice(profiles[name].starts)
            use = draw.choice(["idle", "pod", "pod", "pinned"])
            pod = "" if use == "idle" else f"pod-{index}-{start}"
            instance = Instance(start, name, pod, draw.choice(["", "a"]) if pod else "", use == "pinned")
            if is_legal(model, (*instances, instance)):
                instances = (*instances, instance)
        gpus.append(FleetGpu(f"gpu-{index}", f"node-{index // 2}", model, instances))
    demands = []
    for name in "abc":
        model = draw.choice(models)
        profile = draw.choice(list(catalogue.gpu(model).profiles))
        need = draw.random() < 0.3
        demands.append(
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
    return Fleet(tuple(gpus), draw.choice(["gpu", "node", "instance"])), demands


@pytest.mark.parametrize("seed", range(40))
def test_plan_equals_cp_sat_optimum(seed: int) -> None:
    fleet, demands = _case(seed)
    result = plan(fleet, demands, Budget(ENOUGH))
    assert result.optimal
    assert result.objective.key == Model(fleet, demands).best()
