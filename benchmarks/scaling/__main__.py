"""Attainment and GPU-hours of scaling policies on seeded traces, or on one that is given.

Run with ``python -m benchmarks.scaling`` (``--help`` for its options). The replicas are simulated
(`inferstack.scaling.simulate`); the algorithms are the real ones. Forecasts see the past only.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from benchmarks.scaling import oracle, policies, traces
from benchmarks.scaling.many import complexity
from inferstack.errors import UserError
from inferstack.scaling import queueing
from inferstack.scaling.forecast import Chooser
from inferstack.scaling.model import Bounds, Distribution, Service, Slo
from inferstack.scaling.simulate import Policy, Result, simulate

RATIOS = ("gpuHoursToOracle", "gpuHoursToHpa", "missesToHpa", "gpuHoursToBound")
NAMES = ("diurnal", "bursts", "flash")
GOAL_ATTAINMENT = 0.99
SLOTS = 8
SLO = Slo(seconds=2.0, percentile=GOAL_ATTAINMENT, confidence=0.93)
"""99 % of first tokens within 2 s. The confidence, and the constants of `inferstack.scaling.plan`, were tuned on six
hours of seed 11; what is published is of other seeds."""
COLD_MEDIAN, COLD_SPREAD = 60.0, 0.25
"""Seconds and lognormal spread: a server whose weights are in the node's cache."""


def make_service(load: traces.Workload, seed: int) -> Service:
    """Return the service as measured on the past of a workload."""
    work = load.past_work
    starts = np.exp(np.random.default_rng(seed).normal(np.log(COLD_MEDIAN), COLD_SPREAD, 200))
    return Service(
        rate=SLOTS / float(work.mean()),
        slots=SLOTS,
        variability=float(work.var() / work.mean() ** 2),
        burstiness=load.past_burstiness,
        first_token=Distribution.of(np.quantile(load.past_first, np.linspace(0, 1, 401)).tolist()),
        latency=Distribution.of(np.quantile(work, np.linspace(0, 1, 401)).tolist()),
        cold_start=Distribution.of(starts.tolist()),
    )


def measure(load: traces.Workload, seed: int, quick: bool) -> list[Result]:
    """Run all policies on one workload."""
    service = make_service(load, seed)
    slacks, share = SLO.slacks(service), 1 - SLO.percentile
    peak = queueing.replicas_for(float(load.past.max()), service, slacks, share, 10_000)
    start = queueing.replicas_for(float(load.past[-10:].mean()), service, slacks, share, 10_000)
    most = max(peak, 4)
    bounds = Bounds(max_replicas=most)
    compared: list[Policy] = [
        policies.Hpa(SLOTS, most),
        policies.Hpa(SLOTS, most, 0.95),
        policies.Keda(SLOTS, most),
        policies.Schedule("static peak", [(0.0, peak)]),
        policies.Ours(service, SLO, bounds, Chooser(mstl=not quick), load.past, name="Inferstack"),
    ]
    results = []
    for policy in compared:
        begin = peak if policy.name == "static peak" else start
        results.append(
            simulate(load.trace, policy, service, start=begin, end=load.seconds, seed=seed, limit=SLO.seconds)
        )
        if isinstance(policy, policies.Ours):
            print(f"  {policy.name}: decisions by reason {policy.reasons}", file=sys.stderr)
    known = oracle.oracle(
        load.trace, service, SLO, start=start, seconds=load.seconds, seed=seed, attainment=GOAL_ATTAINMENT
    )
    return [*results, known]


def rows(load: traces.Workload, results: list[Result], service: Service) -> list[dict[str, Any]]:
    """Return the figures of each policy, with ratios to the HPA and to the oracle."""
    by = {result.policy: result for result in results}
    missed = {name: 1 - result.attainment(load.trace, SLO.seconds) for name, result in by.items()}
    least = oracle.bound(load.trace, service, load.seconds)
    return [
        {
            "trace": load.trace.name,
            "policy": name,
            "attainment": 1 - missed[name],
            "missed": round(missed[name] * len(load.trace.arrivals)),
            "gpuHours": result.gpu_hours,
            "gpuHoursToOracle": result.gpu_hours / by["oracle"].gpu_hours,
            "gpuHoursToHpa": result.gpu_hours / by["HPA"].gpu_hours,
            "missesToHpa": missed[name] / missed["HPA"] if missed["HPA"] else None,
            "gpuHoursToBound": result.gpu_hours / least,
        }
        for name, result in by.items()
    ]


def show(table: list[dict[str, Any]]) -> None:
    """Print the table of one trace and whether the goals are met."""
    shown = Table(title=f"{table[0]['trace']}: {SLO.percentile:.0%} of first tokens within {SLO.seconds:g} s")
    for column in (
        "policy",
        "within",
        "missed",
        "GPU-hours",
        "to the oracle",
        "to HPA",
        "misses to HPA",
        "to the work alone",
    ):
        shown.add_column(column, justify="left" if column == "policy" else "right")
    for row in table:
        shown.add_row(
            row["policy"],
            f"{row['attainment']:.2%}",
            f"{row['missed']:,}",
            f"{row['gpuHours']:.1f}",
            *("-" if row[key] is None else f"{row[key]:.2f}" for key in RATIOS),
        )
    Console(width=120).print(shown)
    ours, hpa = (next(row for row in table if row["policy"] == name) for name in ("Inferstack", "HPA"))
    goals = [
        ("misses to HPA <= 0.5", ours["missed"] <= 0.5 * hpa["missed"]),
        ("GPU-hours to HPA <= 1", ours["gpuHoursToHpa"] <= 1),
    ]
    if ours["trace"] == "diurnal":
        goals += [
            ("within >= 99 %", ours["attainment"] >= GOAL_ATTAINMENT),
            ("GPU-hours to the oracle <= 1.1", ours["gpuHoursToOracle"] <= 1.1),
        ]
    for goal, met in goals:
        print(f"  goal {goal}: {'met' if met else 'MISSED'}")


def main(
    quick: Annotated[
        bool, typer.Option("--quick", help="Six hours of each trace instead of 24, without MSTL.")
    ] = False,
    trace: Annotated[Path | None, typer.Option(help="CSV: timestamp in seconds, input tokens, output tokens.")] = None,
    seed: Annotated[int, typer.Option(help="Of traces and cold starts.")] = 1,
    only: Annotated[str | None, typer.Option(help="One of the seeded traces.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures there.")] = None,
) -> None:
    """Compare scaling policies."""
    hours = 6.0 if quick else 24.0
    if only is not None and only not in NAMES:
        raise typer.BadParameter(f"{only}: there are {', '.join(NAMES)}")
    try:
        given = traces.read(trace, hours) if trace is not None else None
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from None
    found: list[dict[str, Any]] = []
    for name in [only] if only else NAMES:
        began = time.perf_counter()
        load = given or traces.make(name, seed, hours)
        table = rows(load, measure(load, seed, quick), make_service(load, seed))
        show(table)
        print(f"  {len(load.trace.arrivals):,} requests, {time.perf_counter() - began:.0f} s of computing")
        found += table
        if given:
            break
    times = complexity(quick)
    if json_file is not None:
        json_file.write_text(json.dumps({"seed": seed, "traces": found, "complexity": times}, indent=1))


if __name__ == "__main__":
    typer.run(main)
