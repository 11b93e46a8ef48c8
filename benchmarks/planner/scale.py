"""How long the planner takes: for 10,000 GPUs and 50,000 demands, and how that grows. CPU seconds of this process."""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.planner.cluster import room
from benchmarks.planner.peers import after
from benchmarks.planner.workload import GPUS_PER_NODE, MIXES, MODEL, batch
from inferstack.mig.fragmentation import open_starts
from inferstack.mig.planner import Budget, Demand, Fleet, FleetGpu, Instance, Plan, plan

SERVING = MIXES["serving"]


@dataclass(frozen=True)
class Timing:
    """One run."""

    size: int
    seconds: float
    served: int
    demanded: int


def empty(gpus: int) -> Fleet:
    """Return a fleet without any instance."""
    return Fleet(tuple(FleetGpu(f"g{g:05}", f"n{g // GPUS_PER_NODE:04}", MODEL) for g in range(gpus)))


def each(pods: Sequence[str]) -> list[Demand]:
    """Return a demand of one instance for each pod."""
    return [Demand(f"d{index:05}", 1, profile=profile) for index, profile in enumerate(pods)]


def cpu(work: Callable[[], Plan]) -> tuple[float, Plan]:
    """Return the CPU seconds of a piece of work, and its plan."""
    began = time.process_time()
    result = work()
    return time.process_time() - began, result


def first_fit(gpus: int, pods: Sequence[str]) -> tuple[float, int]:
    """Return the CPU seconds and the served pods of first fit in the order of creation.

    Nothing leaves here, so a GPU without room for a profile never gets any: each profile goes on where it was.
    """
    began = time.process_time()
    states = [(0, 0)] * gpus
    at: Counter[str] = Counter()
    served = 0
    for profile in pods:
        here = at[profile]
        while here < gpus and not room(states[here], profile):
            here += 1
        at[profile] = here
        if here < gpus:
            states[here] = after(*states[here], profile, open_starts(MODEL, *states[here], profile)[0])
            served += 1
    return time.process_time() - began, served


@dataclass
class Large:
    """CPU seconds of each round, and what was served."""

    pods: list[str]
    plan: Plan
    first_fit: int
    without_search: list[float]
    with_search: list[float]
    by_first_fit: list[float]


def large(seed: int, gpus: int, demands: int, rounds: int) -> Large:
    """Time the planner, without and with its exact search (which has no hope here), and first fit, in turns."""
    pods = batch(seed, demands, SERVING)
    fleet, requested = empty(gpus), each(pods)
    result = Large(pods, plan(fleet, requested, Budget(0)), 0, [], [], [])
    for _ in range(rounds):
        seconds, result.plan = cpu(lambda: plan(fleet, requested, Budget(0)))
        result.without_search.append(seconds)
        result.with_search.append(cpu(lambda: plan(fleet, requested))[0])
        seconds, result.first_fit = first_fit(gpus, pods)
        result.by_first_fit.append(seconds)
    return result


def by_gpus(seed: int, sizes: Sequence[int]) -> list[Timing]:
    """Time fleets of rising size, five demands of one instance for each GPU."""
    timings = []
    for gpus in sizes:
        demands, fleet = each(batch(seed, 5 * gpus, SERVING)), empty(gpus)
        timings.append(_timing(gpus, fleet, demands))
    return timings


def by_demands(seed: int, gpus: int, sizes: Sequence[int]) -> list[Timing]:
    """Time rising numbers of demands of one instance, on a fleet that stays."""
    fleet = empty(gpus)
    return [_timing(count, fleet, each(batch(seed, count, SERVING))) for count in sizes]


def by_shapes(gpus: int, sizes: Sequence[int]) -> list[Timing]:
    """Time rising numbers of demands that differ in more than their names: by priority."""
    names, fleet = sorted(SERVING), empty(gpus)
    timings = []
    for shapes in sizes:
        demands = [
            Demand(f"s{index:04}", max(1, 5 * gpus // shapes), index // len(names), names[index % len(names)])
            for index in range(shapes)
        ]
        timings.append(_timing(shapes, fleet, demands))
    return timings


def by_gpu_states(seed: int, gpus: int, sizes: Sequence[int]) -> list[Timing]:
    """Time fleets whose GPUs are in use in rising numbers of different ways, by pinned pods."""
    numbers = random.Random(seed)  # noqa: S311  # a fleet, no secret
    demands = [Demand(name, gpus // 4, profile=name) for name in sorted(SERVING)]
    states: dict[tuple[tuple[int, str], ...], None] = {}
    while len(states) < max(sizes):
        instances: list[tuple[int, str]] = []
        state = (0, 0)
        for profile in numbers.choices(sorted(SERVING), k=numbers.randint(0, 5)):
            starts = open_starts(MODEL, *state, profile)
            if starts:
                instances.append((numbers.choice(starts), profile))
                state = after(*state, profile, instances[-1][0])
        states[tuple(sorted(instances))] = None
    timings = []
    for count in sizes:
        kinds = list(states)[:count]
        fleet = Fleet(
            tuple(
                FleetGpu(
                    f"g{g:05}",
                    f"n{g // GPUS_PER_NODE:04}",
                    MODEL,
                    tuple(Instance(start, name, f"{g}-{start}", "", True) for start, name in kinds[g % count]),
                )
                for g in range(gpus)
            ),
            "instance",
        )
        timings.append(_timing(count, fleet, demands))
    return timings


def _timing(size: int, fleet: Fleet, demands: Sequence[Demand]) -> Timing:
    # No exact search: its own budget, not the size, would decide how long it takes.
    seconds, result = min((cpu(lambda: plan(fleet, demands, Budget(0))) for _ in range(2)), key=lambda run: run[0])
    return Timing(size, seconds, sum(result.served.values()), sum(demand.count for demand in demands))


def exponent(timings: Sequence[Timing]) -> float:
    """Return the slope of log time over log size, by least squares: 1 is linear."""
    points = [(math.log(timing.size), math.log(max(timing.seconds, 1e-4))) for timing in timings]
    x, y = (sum(values) / len(points) for values in zip(*points, strict=True))
    return float(sum((a - x) * (b - y) for a, b in points) / sum((a - x) ** 2 for a, _ in points))
