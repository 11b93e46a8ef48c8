"""Small fleets and demands for property tests, and the planner's brute force: every way to give every pod a seat."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator

from hypothesis import strategies as st

from inferstack.mig import catalogue
from inferstack.mig.planner import Demand, Fleet, FleetGpu, Instance

A100 = "A100-SXM4-40GB"
H100 = "H100-80GB-HBM3"
RTX = "RTX-PRO-6000"
Placement = tuple[int, int, str]
"""Index of the GPU, start, profile."""


def covers(model: str, start: int, profile: str) -> set[int]:
    return set(range(start, start + catalogue.gpu(model).profiles[profile].memory_slices))


def fits(model: str, placements: list[tuple[int, str]]) -> bool:
    """Say whether instances at these starts can be together, from the catalogue alone."""
    profiles = catalogue.gpu(model).profiles
    taken = [unit for start, profile in placements for unit in covers(model, start, profile)]
    return (
        len(taken) == len(set(taken))
        and all(start in profiles[profile].starts for start, profile in placements)
        and sum(profiles[profile].compute_slices for _, profile in placements) <= catalogue.gpu(model).compute_slices
        and sum(profiles[profile].media_extensions for _, profile in placements) <= 1
        and all(
            sum(profiles[profile].engines[engine] for _, profile in placements) <= catalogue.gpu(model).engines[engine]
            for engine in ("decoder", "encoder", "jpeg", "ofa")
        )
    )


def broken_up(model: str, placements: list[tuple[int, str]]) -> int:
    """Return the fragmentation, from its definition."""
    gpu_model = catalogue.gpu(model)
    taken = {unit for start, profile in placements for unit in covers(model, start, profile)}
    compute = gpu_model.compute_slices - sum(gpu_model.profiles[profile].compute_slices for _, profile in placements)
    return sum(
        profile.memory_slices
        for profile in gpu_model.profiles.values()
        if profile.name.endswith("gb")  # the other media engines change neither slices nor starts
        and profile.memory_slices <= gpu_model.memory_slices - len(taken)
        and profile.compute_slices <= compute
        for start in profile.starts
        if covers(model, start, profile.name) & taken
    )


def brute_force(fleet: Fleet, demands: list[Demand]) -> tuple[tuple[int, ...], int, int, int]:
    """Return the least key of an objective over every placement of movable pods and demanded instances."""
    fixed: list[list[tuple[int, str, str]]] = [
        [(instance.start, instance.profile, instance.demand) for instance in gpu.instances if instance.pinned]
        for gpu in fleet.gpus
    ]
    pods = [(index, s) for index, gpu in enumerate(fleet.gpus) for s in gpu.instances if s.pod and not s.pinned]
    homes = [
        [
            (at, start, instance.profile)
            for at, gpu in enumerate(fleet.gpus)
            if gpu.model == fleet.gpus[index].model
            for start in catalogue.gpu(gpu.model).profiles[instance.profile].starts
        ]
        for index, instance in pods
    ]
    best = []
    for chosen in itertools.product(*homes):
        for extra in itertools.product(*(list(_subsets(fleet, demand)) for demand in demands)):
            objective = _evaluate(fleet, demands, fixed, pods, list(chosen), list(extra))
            if objective is not None:
                best.append(objective)
    return min(best)


def _subsets(fleet: Fleet, demand: Demand) -> Iterator[tuple[Placement, ...]]:
    starts = [
        (index, start, profile)
        for index, gpu in enumerate(fleet.gpus)
        if (profile := demand.on(gpu.model))
        for start in catalogue.gpu(gpu.model).profiles[profile].starts
    ]
    for count in range(demand.count + 1):
        yield from itertools.combinations(starts, count)


def _evaluate(
    fleet: Fleet,
    demands: list[Demand],
    fixed: list[list[tuple[int, str, str]]],
    pods: list[tuple[int, Instance]],
    homes: list[Placement],
    extra: list[tuple[Placement, ...]],
) -> tuple[tuple[int, ...], int, int, int] | None:
    used = [list(placements) for placements in fixed]
    stays: Counter[int] = Counter()
    moved = 0
    for (index, instance), home in zip(pods, homes, strict=True):
        used[home[0]].append((home[1], home[2], instance.demand))
        away = home != (index, instance.start, instance.profile)
        moved += away
        stays[index] += not away
    for demand, given in zip(demands, extra, strict=True):
        for index, start, profile in given:
            used[index].append((start, profile, demand.name))
    total = 0
    created: set[int] = set()
    for index, (gpu, placements) in enumerate(zip(fleet.gpus, used, strict=True)):
        plain = [(start, profile) for start, profile, _ in placements]
        if not fits(gpu.model, plain):
            return None
        if not set(plain) <= {(instance.start, instance.profile) for instance in gpu.instances}:
            created.add(index)
        total += broken_up(gpu.model, plain)
    for index, gpu in enumerate(fleet.gpus):
        alike = [index] if fleet.scope == "gpu" else [i for i, other in enumerate(fleet.gpus) if other.node == gpu.node]
        if fleet.scope != "instance" and created & set(alike):
            if fixed[index]:
                return None
            moved += stays[index]  # stopped and started again where they were
    for demand in demands:
        for node in {gpu.node for gpu in fleet.gpus}:
            here = [index for index, gpu in enumerate(fleet.gpus) if gpu.node == node]
            now = sum(instance.demand == demand.name for index in here for instance in fleet.gpus[index].instances)
            held = sum(name == demand.name for index in here for _, _, name in used[index])
            if demand.max_per_node is not None and held > max(demand.max_per_node, now):
                return None
    classes = sorted({demand.priority for demand in demands}, reverse=True)
    served = tuple(
        -sum(len(placements) for demand, placements in zip(demands, extra, strict=True) if demand.priority == priority)
        for priority in classes
    )
    return served, total, len(created), moved


@st.composite
def fleets(draw: st.DrawFn, most_gpus: int = 2, most_movable: int = 2) -> Fleet:
    """Draw GPUs with idle instances, pinned and movable pods."""
    gpus = []
    movable = 0
    for index in range(draw(st.integers(1, most_gpus))):
        model = draw(st.sampled_from([A100, A100, H100, RTX]))
        choices = [(start, name) for name, profile in catalogue.gpu(model).profiles.items() for start in profile.starts]
        placements: list[tuple[int, str]] = []
        instances = []
        for placement in draw(st.lists(st.sampled_from(choices), max_size=5)):
            if not fits(model, [*placements, placement]):
                continue
            placements.append(placement)
            use = draw(st.sampled_from(["idle", "pinned", "movable"]))
            movable += use == "movable"
            if use == "idle" or (use == "movable" and movable > most_movable):
                instances.append(Instance(*placement))
                continue
            demand = draw(st.sampled_from(["", "a"]))
            instances.append(Instance(*placement, f"pod-{index}-{placement[0]}", demand, use == "pinned"))
        gpus.append(FleetGpu(f"gpu-{index}", f"node-{draw(st.integers(0, 1))}", model, tuple(instances)))
    return Fleet(tuple(gpus), draw(st.sampled_from(["gpu", "node", "instance"])))


@st.composite
def demands(draw: st.DrawFn, most: int = 2, most_each: int = 2) -> list[Demand]:
    """Draw demands by profile and by need."""
    names = ["1g.5gb", "1g.10gb", "2g.10gb", "2g.20gb", "3g.20gb", "4g.40gb", "7g.40gb"]
    names += ["1g.24gb", "1g.24gb+me.all", "2g.48gb-me"]
    drawn = []
    for name in "abc"[: draw(st.integers(1, most))]:
        count, priority = draw(st.integers(0, most_each)), draw(st.integers(0, 1))
        limit = draw(st.sampled_from([None, None, 1]))
        if draw(st.booleans()):
            drawn.append(Demand(name, count, priority, draw(st.sampled_from(names)), max_per_node=limit))
        else:
            memory, compute = draw(st.sampled_from([4000, 9000, 20000])), draw(st.integers(1, 4))
            drawn.append(Demand(name, count, priority, "", memory, compute, limit))
    return drawn
