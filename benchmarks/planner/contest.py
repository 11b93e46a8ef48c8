"""All contestants on the same pods: all at once, and coming and going."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from benchmarks.planner import bounds, planner
from benchmarks.planner.cluster import Contestant, FleetUsage, measure_fleet
from benchmarks.planner.kube import BALANCED, DynamicMig, Layout, StaticMig, WholeGpus
from benchmarks.planner.peers import BestFit, FirstFit, GradientDescent, LeastBlocked
from benchmarks.planner.planner import Moves, Planner
from benchmarks.planner.serving import gpus_of
from benchmarks.planner.workload import MODEL, batch, churn, compute_slices, memory_slices
from inferstack.mig import catalogue
from inferstack.mig.fragmentation import Mix, used_slices
from inferstack.mig.placement import find_placement

DEFAULT = "default, "
PLANNER, PLANNER_ROOM, PLANNER_DEFRAGMENT = "planner, pods stay", "planner, moves for room", "planner, moves to tidy up"
_ALL = 64
"""Pods that a fixed layout is fitted to: the mix in whole numbers."""


def fitted(mix: Mix) -> list[Layout]:
    """Return the layouts that the planner gives the mix: for a fleet that is cut once, by what is expected."""
    total = sum(mix.values())
    pods = {name: round(share / total * _ALL) for name, share in mix.items()}
    _, fleet = planner.gpus_needed(pods, bounds.least_gpus(pods))
    return [[(instance.start, instance.profile) for instance in gpu.instances] for gpu in fleet.gpus]


def contestants(gpus: int, seed: int, mix: Mix) -> dict[str, Callable[[], Contestant]]:
    """Return what makes each contestant with that many GPUs."""
    layouts = fitted(mix)
    return {
        f"{DEFAULT}whole GPUs": lambda: WholeGpus(gpus, seed),
        f"{DEFAULT}all-balanced": lambda: StaticMig(gpus, seed, [BALANCED]),
        f"{DEFAULT}fitted layout": lambda: StaticMig(gpus, seed, layouts),
        f"{DEFAULT}dynamic MIG": lambda: DynamicMig(gpus, seed),
        "first fit": lambda: FirstFit(gpus),
        "best fit": lambda: BestFit(gpus),
        "least blocked (2511.18906)": lambda: LeastBlocked(gpus),
        "gradient descent (FGD)": lambda: GradientDescent(gpus, mix),
        PLANNER: lambda: Planner(gpus, Moves.NONE),
        PLANNER_ROOM: lambda: Planner(gpus, Moves.FOR_ROOM),
        PLANNER_DEFRAGMENT: lambda: Planner(gpus, Moves.TO_TIDY),
    }


@dataclass
class ChurnResult:
    """The result of one contestant for pods that come and go."""

    offered: int = 0
    accepted: int = 0
    moved: int = 0
    samples: list[FleetUsage] = field(default_factory=list)

    def mean(self, value: Callable[[FleetUsage], float]) -> float:
        """Return the mean over the samples."""
        return sum(map(value, self.samples)) / len(self.samples)


class Span(NamedTuple):
    """How long pods come and go, in mean lifetimes."""

    warm: float
    end: float
    every: float
    """Between two samples."""


def run_churn(contestant: Contestant, seed: int, load: float, mix: Mix, span: Span) -> ChurnResult:
    """Let pods come and go; what happens while the fleet fills up is not counted."""
    result = ChurnResult()
    sample_next = span.warm
    moved_before = 0
    for event in churn(seed, contestant.gpus, load, mix, span.end):
        while event.time >= sample_next:
            result.samples.append(contestant.usage(mix))
            sample_next += span.every
        if event.time < span.warm:
            moved_before = contestant.moved
        if not event.comes:
            contestant.leave(event.pod)
            continue
        taken = contestant.arrive(event.pod, event.profile)
        if event.time >= span.warm:
            result.offered += 1
            result.accepted += taken
    result.moved = contestant.moved - moved_before
    return result


def churn_bound(gpus: int, seed: int, load: float, mix: Mix, span: Span) -> float:
    """Return a mean utilisation that nobody can exceed: the most that GPUs could hold of all pods not yet gone."""
    alive: dict[int, str] = {}
    sample_next = span.warm
    most = []
    for event in churn(seed, gpus, load, mix, span.end):
        while event.time >= sample_next:
            most.append(bounds.most_used(Counter(alive.values()), gpus, by_memory=True))
            sample_next += span.every
        if event.comes:
            alive[event.pod] = event.profile
        else:
            del alive[event.pod]
    return sum(most) / len(most) / (gpus * catalogue.gpu(MODEL).memory_slices)


@dataclass(frozen=True)
class Needed:
    """GPUs that a contestant needs for pods that are all there at once."""

    gpus: int
    memory: float
    """Utilisation."""
    compute: float
    unusable: float
    """Of all memory slices."""


def needed(gpus: int, pods: Sequence[str], usage: FleetUsage) -> Needed:
    """Return the row of a contestant."""
    gpu_model = catalogue.gpu(MODEL)
    return Needed(
        gpus,
        sum(map(memory_slices, pods)) / (gpus * gpu_model.memory_slices),
        sum(map(compute_slices, pods)) / (gpus * gpu_model.compute_slices),
        usage.unusable / usage.slices,
    )


def smallest(make: Callable[[int], Contestant], pods: Sequence[str], least: int, mix: Mix) -> Needed | None:
    """Return the row of the smallest fleet, of ``least`` GPUs or more, that takes all pods; None where none does."""
    low, high = least, least
    while not _takes(make(high), pods):
        low, high = high + 1, high * 2
        if high > 8 * len(pods) + 8 * least:
            return None
    while low < high:
        middle = (low + high) // 2
        if _takes(make(middle), pods):
            high = middle
        else:
            low = middle + 1
    last = make(high)
    _takes(last, pods)
    return needed(high, pods, last.usage(mix))


def _takes(contestant: Contestant, pods: Sequence[str]) -> bool:
    return all(contestant.arrive(index, profile) for index, profile in enumerate(pods))


def all_at_once(seed: int, count: int, mix: Mix) -> tuple[int, dict[str, Needed | None]]:
    """Return the bound on GPUs, and each contestant's row; pods come one by one where a rule knows no batch."""
    pods = batch(seed, count, mix)
    least = bounds.least_gpus(Counter(pods))
    rows: dict[str, Needed | None] = {}
    for name in contestants(1, seed, mix):
        if name in (PLANNER, PLANNER_ROOM, PLANNER_DEFRAGMENT):
            continue
        rows[name] = smallest(lambda gpus, name=name: contestants(gpus, seed, mix)[name](), pods, least, mix)  # type: ignore[misc]  # mypy knows no types of defaults
    ways = bounds.patterns(tuple(sorted(set(pods))))
    chosen = gpus_of(Counter(pods), ways)
    states = [_state(way) for way in chosen]
    rows["MIG-serving (2109.11067)"] = needed(len(chosen), pods, measure_fleet(states, mix))
    gpus, fleet = planner.gpus_needed(dict(Counter(pods)), least)
    used = [used_slices(MODEL, [(s.start, s.profile) for s in gpu.instances if not s.idle]) for gpu in fleet.gpus]
    rows["planner"] = needed(gpus, pods, measure_fleet(used, mix))
    return least, rows


def _state(way: Mapping[str, int]) -> tuple[int, int]:
    placed = find_placement(catalogue.gpu(MODEL), way)
    assert placed is not None
    return used_slices(MODEL, [(placement.start, placement.profile) for placement in placed])
