"""``python -m benchmarks.planner``: all tables in one run, from one seed."""

from __future__ import annotations

import math
import statistics
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.planner import bounds, contest, optimal, scale
from benchmarks.planner.contest import DEFAULT, PLANNER, PLANNER_DEFRAGMENT, PLANNER_ROOM, ChurnResult, Span
from benchmarks.planner.scale import Timing
from benchmarks.planner.workload import MIXES, MODEL, mean_memory

FRAGMENTATION_GOAL, UTILISATION_GOAL = 0.82, 0.89
console = Console(width=None if sys.stdout.isatty() else 140)  # a pipe has no width


def main(
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 7,
    quick: Annotated[bool, typer.Option("--quick", help="500 instances instead of 10,000, small fleets.")] = False,
) -> None:
    """Compare the MIG planner with brute force, with bounds and with named peers, all on simulated H100 fleets."""
    console.print(f"seed {seed}, board {MODEL}")
    show_batch(seed, 120 if quick else 400)
    show_churn(seed, 24 if quick else 64, Span(1, 2, 0.05) if quick else Span(2, 6, 0.05))
    show_large(seed, *((1_000, 5_000, 1) if quick else (10_000, 50_000, 5)))
    show_growth(seed, quick=quick)
    show_optimal(seed, 500 if quick else 10_000)


def show_optimal(seed: int, instances: int) -> None:
    """Print how many small instances equal the brute force."""
    counts = optimal.check(seed, instances)
    table = Table(
        "instances", "equal to the brute force", "worse", "proven optimal", title="Exact search, small instances"
    )
    table.add_row(*map(str, (instances, counts.equal, counts.worse, counts.proven)))
    console.print(table)


def show_batch(seed: int, count: int) -> None:
    """Print how many GPUs each contestant needs for pods that are all there at once."""
    for name, mix in MIXES.items():
        least, rows = contest.all_at_once(seed, count, mix)
        title = (
            f'GPUs for {count} pods of the mix "{name}" ({mean_memory(mix):.2f} memory slices each); at least {least}'
        )
        table = Table("", "GPUs", "to the bound", "memory in use", "compute in use", "unusable", title=title)
        for who, row in rows.items():
            if row is None:
                table.add_row(who, "no fleet serves all", "", "", "", "")
            else:
                shares = (f"{share:.1%}" for share in (row.memory, row.compute, row.unusable))
                table.add_row(who, str(row.gpus), f"{row.gpus / least:.2f}", *shares)
        console.print(table)
        whole, planner = rows[f"{DEFAULT}whole GPUs"], rows["planner"]
        assert whole is not None
        assert planner is not None
        top = planner.memory * planner.gpus / least
        console.print(
            f"memory in use: whole GPUs {whole.memory:.1%}, planner {planner.memory:.1%}, bound {top:.1%}; "
            f"goal {UTILISATION_GOAL:.0%}: {_verdict(planner.memory, UTILISATION_GOAL, top)}\n"
        )


def show_churn(seed: int, gpus: int, span: Span) -> None:
    """Print what each contestant makes of pods that come and go."""
    for name, load in (("serving", 0.7), ("serving", 0.9), ("serving", 1.1), ("even", 0.9), ("small", 0.9)):
        mix = MIXES[name]
        most = contest.churn_bound(gpus, seed, load, mix, span)
        title = f'{gpus} GPUs, pods of the mix "{name}" for {load:.0%} of their memory; in use at most {most:.1%}'
        heads = ("accepted", "memory in use", "unusable", "of the free", "blocked starts", "moved, of accepted")
        table = Table("", *heads, title=title)
        results = {
            who: contest.run_churn(make(), seed, load, mix, span)
            for who, make in contest.contestants(gpus, seed, mix).items()
        }
        for who, result in results.items():
            table.add_row(who, *_cells(result))
        console.print(table)
        _reductions(results)


def _cells(result: ChurnResult) -> Sequence[str]:
    free = result.mean(lambda usage: usage.slices - usage.used)
    unusable = result.mean(lambda usage: usage.unusable)
    blocked = "" if result.samples[0].blocked is None else f"{result.mean(lambda usage: usage.blocked or 0):.0f}"
    return (
        f"{result.accepted / result.offered:.1%}",
        f"{result.mean(lambda usage: usage.used / usage.slices):.1%}",
        f"{result.mean(lambda usage: usage.unusable / usage.slices):.1%}",
        f"{unusable / free:.1%}",
        blocked,
        f"{result.moved / max(1, result.accepted):.2f}",
    )


def _reductions(results: dict[str, ChurnResult]) -> None:
    """Print by how much fragmentation is below the default scheduler's, by both measures."""
    lines = []
    measures: dict[str, Callable[[ChurnResult], float]] = {
        "unusable": lambda result: result.mean(lambda usage: usage.unusable),
        "blocked starts": lambda result: result.mean(lambda usage: usage.blocked or 0),
    }
    for who in (PLANNER, PLANNER_ROOM, PLANNER_DEFRAGMENT):
        for peer in (result for result in results if result.startswith(DEFAULT)):
            for what, value in measures.items():
                baseline = value(results[peer])
                if baseline:
                    reduction = 1 - value(results[who]) / baseline
                    lines.append(
                        f"{who} against {peer}, {what}: {-reduction:+.0%} {_verdict(reduction, FRAGMENTATION_GOAL, 1)}"
                    )
    console.print("\n".join(lines) + f"\n(goal {-FRAGMENTATION_GOAL:.0%}; the bound is -100%)\n")


def _verdict(value: float, goal: float, most: float) -> str:
    if value >= goal:
        return "met"
    return "missed" if most >= goal else "out of reach by the bound"


def show_large(seed: int, gpus: int, demands: int, rounds: int) -> None:
    """Print the time of a large plan beside first fit's."""
    result = scale.large(seed, gpus, demands, rounds)
    served = sum(result.plan.served.values())
    table = Table(
        "", "CPU, median", "least", "most", "served", title=f"{gpus:,} GPUs, {demands:,} demands of one instance"
    )
    for who, took, count in (
        ("planner, Budget(0)", result.without_search, served),
        ("planner, Budget()", result.with_search, served),
        ("first fit", result.by_first_fit, result.first_fit),
    ):
        times = (f"{value:.2f} s" for value in (statistics.median(took), min(took), max(took)))
        table.add_row(who, *times, f"{count:,}")
    console.print(table)
    ratio = statistics.median(
        planner / first_fit for planner, first_fit in zip(result.without_search, result.by_first_fit, strict=True)
    )
    most = math.floor(bounds.most_used(Counter(result.pods), gpus, by_memory=False))
    console.print(f"planner / first fit: time {ratio:.1f}, served {served / result.first_fit:.3f}")
    console.print(
        f"served at most {most:,} (linear programme), {sum(result.plan.bounds.served):,} (the plan's own bound)\n"
    )


def show_growth(seed: int, *, quick: bool) -> None:
    """Print how time grows."""
    many = [100, 316, 1_000] if quick else [100, 316, 1_000, 3_162, 10_000]
    series: dict[str, list[Timing]] = {
        "GPUs, 5 demands each": scale.by_gpus(seed, many),
        "demands, 1,000 GPUs": scale.by_demands(seed, 1_000, [5 * timing for timing in many]),
        "kinds of demand, 1,000 GPUs": scale.by_shapes(1_000, [6, 12, 24] if quick else [6, 12, 24, 48, 96]),
        "kinds of GPU in use, 1,000 GPUs": scale.by_gpu_states(
            seed, 1_000, [10, 30, 100] if quick else [10, 30, 100, 300]
        ),
    }
    table = Table("grows", "size: CPU seconds", "exponent", title="How time grows, without exact search")
    for what, timings in series.items():
        runs = "  ".join(f"{timing.size:,}: {timing.seconds:.3f}" for timing in timings)
        table.add_row(what, runs, f"{scale.exponent(timings):.2f}")
    console.print(table)


if __name__ == "__main__":
    typer.run(main)
