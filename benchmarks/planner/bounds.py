"""What nobody can beat: linear programmes over all that one GPU can carry, solved by OR-tools' GLOP.

The cutting stock relaxation (Gilmore and Gomory, 1961): GPUs may be cut by fractions of patterns. So fewer GPUs than
the programme needs, rounded up, can never carry the pods, and more slices than it finds can never be in use.
"""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Mapping

from ortools.linear_solver.python import model_builder

from benchmarks.planner.workload import MODEL, compute_slices, memory_slices
from inferstack.mig.fragmentation import open_starts

_TINY = 1e-6


@functools.cache
def patterns(profiles: tuple[str, ...]) -> tuple[Mapping[str, int], ...]:
    """Return what one GPU can carry of these profiles, by counts; only what no further instance fits beside."""
    maximal: set[tuple[tuple[str, int], ...]] = set()
    visited: set[tuple[int, int, tuple[tuple[str, int], ...]]] = set()
    stack: list[tuple[int, int, tuple[tuple[str, int], ...]]] = [(0, 0, ())]
    while stack:
        mask, compute, counts = stack.pop()
        full = True
        for name in profiles:
            for start in open_starts(MODEL, mask, compute, name):
                full = False
                more = Counter(dict(counts))
                more[name] += 1
                bits = ((1 << memory_slices(name)) - 1) << start
                state = mask | bits, compute + compute_slices(name), tuple(sorted(more.items()))
                if state not in visited:
                    visited.add(state)
                    stack.append(state)
        if full:
            maximal.add(counts)
    return tuple(dict(counts) for counts in sorted(maximal))


def least_gpus(pods: Mapping[str, int]) -> int:
    """Return a number of GPUs below which these pods, by profile, never fit."""
    demanded = {name: count for name, count in pods.items() if count}
    model = model_builder.Model()  # type: ignore[no-untyped-call]  # OR-tools gives it none
    ways = patterns(tuple(sorted(demanded)))
    times = [model.new_num_var(0, math.inf, "") for _ in ways]
    for name, count in demanded.items():
        model.add(sum(way.get(name, 0) * x for way, x in zip(ways, times, strict=True)) >= count)
    model.minimize(sum(times))
    return math.ceil(_solve(model) - _TINY)


def most_used(pods: Mapping[str, int], gpus: int, *, by_memory: bool) -> float:
    """Return the most memory slices, or pods, of these that GPUs can ever hold at once."""
    demanded = {name: count for name, count in pods.items() if count}
    if not demanded:
        return 0.0
    model = model_builder.Model()  # type: ignore[no-untyped-call]  # OR-tools gives it none
    ways = patterns(tuple(sorted(demanded)))
    times = [model.new_num_var(0, math.inf, "") for _ in ways]
    held = {name: model.new_num_var(0, count, "") for name, count in demanded.items()}
    model.add(sum(times) <= gpus)
    for name, amount in held.items():
        model.add(sum(way.get(name, 0) * x for way, x in zip(ways, times, strict=True)) >= amount)
    model.maximize(sum((memory_slices(name) if by_memory else 1) * x for name, x in held.items()))
    return _solve(model)


def _solve(model: model_builder.Model) -> float:
    solver = model_builder.Solver("GLOP")
    assert solver.solve(model) == model_builder.SolveStatus.OPTIMAL
    return float(solver.objective_value)
