"""Random small instances: is the planner's objective the brute force's?

The brute force is that of the unit tests (`tests.unit.mig.planner.fleets`): every seat for every movable pod and every
subset of seats for every demand. Instances for which it would take long are drawn again, so those here are one or two
GPUs with a handful of pods. All processors work on it.
"""

from __future__ import annotations

import concurrent.futures
import math
import os
import random
from dataclasses import dataclass

from inferstack.mig import catalogue
from inferstack.mig.planner import Demand, Fleet, FleetGpu, Instance, plan
from tests.unit.mig.planner.fleets import A100, H100, RTX, brute_force, fits

_MOST = 5_000
"""Assignments that the brute force may look at."""
_PROFILES = {
    A100: ["1g.5gb", "1g.10gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb"],
    H100: ["1g.10gb", "1g.20gb", "2g.20gb", "3g.40gb", "4g.40gb", "7g.80gb"],
    RTX: ["1g.24gb", "1g.24gb+me.all", "1g.24gb-me", "2g.48gb", "2g.48gb-me", "4g.96gb"],
}


@dataclass(frozen=True)
class Count:
    """How many of the instances came out how."""

    equal: int = 0
    worse: int = 0
    proven: int = 0
    """Those of which the plan says that it is optimal."""

    def plus(self, other: Count) -> Count:
        """Add up."""
        return Count(self.equal + other.equal, self.worse + other.worse, self.proven + other.proven)


def check(seed: int, instances: int) -> Count:
    """Compare that many instances; the same seed draws the same ones."""
    share = 50
    jobs = [(seed * 1_000_003 + at, min(share, instances - at)) for at in range(0, instances, share)]
    total = Count()
    with concurrent.futures.ProcessPoolExecutor(os.cpu_count()) as pool:
        for count in pool.map(_check, jobs):
            total = total.plus(count)
    return total


def _check(job: tuple[int, int]) -> Count:
    seed, instances = job
    numbers = random.Random(seed)  # noqa: S311  # instances, no secret
    total = Count()
    for _ in range(instances):
        fleet, demands = draw(numbers)
        result = plan(fleet, demands)
        equal = result.objective.key == brute_force(fleet, demands)
        total = total.plus(Count(int(equal), int(not equal), int(result.optimal)))
    return total


def draw(numbers: random.Random) -> tuple[Fleet, list[Demand]]:
    """Return an instance whose brute force is short."""
    while True:
        fleet = _fleet(numbers)
        demands = _demands(numbers, sorted({gpu.model for gpu in fleet.gpus}))
        if effort(fleet, demands) <= _MOST:
            return fleet, demands


def effort(fleet: Fleet, demands: list[Demand]) -> int:
    """Return how many assignments the brute force evaluates."""
    total = 1
    for gpu in fleet.gpus:
        for instance in gpu.instances:
            if instance.pod and not instance.pinned:
                alike = sum(other.model == gpu.model for other in fleet.gpus)
                total *= alike * len(catalogue.gpu(gpu.model).profiles[instance.profile].starts)
    for demand in demands:
        starts = sum(
            len(catalogue.gpu(gpu.model).profiles[name].starts) for gpu in fleet.gpus if (name := demand.on(gpu.model))
        )
        total *= sum(math.comb(starts, count) for count in range(demand.count + 1))
    return total


def _fleet(numbers: random.Random) -> Fleet:
    gpus = []
    for index in range(numbers.randint(1, 2)):
        model = numbers.choice(sorted(_PROFILES))
        placements: list[tuple[int, str]] = []
        instances = []
        for _ in range(numbers.randint(0, 4)):
            name = numbers.choice(_PROFILES[model])
            placement = numbers.choice(catalogue.gpu(model).profiles[name].starts), name
            if not fits(model, [*placements, placement]):
                continue
            placements.append(placement)
            use = numbers.choice(["idle", "pinned", "movable"])
            pod = "" if use == "idle" else f"pod-{index}-{placement[0]}"
            instances.append(Instance(*placement, pod, numbers.choice(["", "a"]) if pod else "", use == "pinned"))
        gpus.append(FleetGpu(f"gpu-{index}", f"node-{numbers.randint(0, 1)}", model, tuple(sorted(instances))))
    return Fleet(tuple(gpus), numbers.choice(["gpu", "node", "instance"]))


def _demands(numbers: random.Random, models: list[str]) -> list[Demand]:
    demands = []
    for name in "ab"[: numbers.randint(1, 2)]:
        count, priority = numbers.randint(1, 2), numbers.randint(0, 1)
        limit = numbers.choice([None, None, 1])
        if numbers.random() < 0.7:
            profile = numbers.choice(_PROFILES[numbers.choice(models)])
            demands.append(Demand(name, count, priority, profile, max_per_node=limit))
        else:
            need = numbers.choice([4000, 9000, 20000])
            demands.append(Demand(name, count, priority, "", need, numbers.randint(1, 4), limit))
    return demands
