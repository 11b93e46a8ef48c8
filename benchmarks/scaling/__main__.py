"""SLO attainment and GPU-hours of scaling policies on generated traces, or on a given trace.

Run ``python -m benchmarks.scaling`` (``--help`` lists the options). The replicas are simulated
(`inferstack.scaling.simulate`); the algorithms are those of the product. Forecasts see the past only.
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
from benchmarks.scaling.decision_cost import measure_decisions
from inferstack.errors import UserError
from inferstack.scaling import queueing
from inferstack.scaling.forecast import BacktestForecaster
from inferstack.scaling.model import Bounds, Distribution, Service, Slo
from inferstack.scaling.simulate import Policy, Result, simulate

RATIOS = ("gpuHoursToOracle", "gpuHoursToHpa", "missesToHpa", "gpuHoursToBound")
NAMES = ("diurnal", "bursts", "flash")
GOAL_ATTAINMENT = 0.99
SLOTS = 8
SLO = Slo(seconds=2.0, percentile=GOAL_ATTAINMENT, confidence=0.93)
"""99% of first tokens within 2 s. The confidence and the constants of `inferstack.scaling.plan` were tuned on six hours
of seed 11; published results use other seeds."""
COLD_MEDIAN, COLD_SPREAD = 60.0, 0.25
"""Seconds, and lognormal standard deviation, of a server whose weights are in the cache of the node."""


def make_service(load: traces.Workload, seed: int) -> Service:
    """Return the service as measured on the past of a workload."""
    service_times = load.past_service_times
    starts = np.exp(np.random.default_rng(seed).normal(np.log(COLD_MEDIAN), COLD_SPREAD, 200))
    return Service(
        rate=SLOTS / float(service_times.mean()),
        slots=SLOTS,
        variability=float(service_times.var() / service_times.mean() ** 2),
        burstiness=load.past_burstiness,
        first_token=Distribution.of(np.quantile(load.past_first_token, np.linspace(0, 1, 401)).tolist()),
        latency=Distribution.of(np.quantile(service_times, np.linspace(0, 1, 401)).tolist()),
        cold_start=Distribution.of(starts.tolist()),
    )


def measure(load: traces.Workload, seed: int, quick: bool) -> list[Result]:
    """Run all policies on one workload."""
    service = make_service(load, seed)
    slacks, miss_fraction = SLO.slacks(service), 1 - SLO.percentile
    peak = queueing.replicas_for(float(load.past.max()), service, slacks, miss_fraction, 10_000)
    start = queueing.replicas_for(float(load.past[-10:].mean()), service, slacks, miss_fraction, 10_000)
    limit = max(peak, 4)
    bounds = Bounds(max_replicas=limit)
    compared: list[Policy] = [
        policies.Hpa(SLOTS, limit),
        policies.Hpa(SLOTS, limit, 0.95),
        policies.Keda(SLOTS, limit),
        policies.Schedule("static peak", [(0.0, peak)]),
        policies.Inferstack(service, SLO, bounds, BacktestForecaster(mstl=not quick), load.past, name="Inferstack"),
    ]
    results = []
    for policy in compared:
        begin = peak if policy.name == "static peak" else start
        results.append(
            simulate(load.trace, policy, service, start=begin, end=load.seconds, seed=seed, limit=SLO.seconds)
        )
        if isinstance(policy, policies.Inferstack):
            print(f"  {policy.name}: decisions by reason {policy.reasons}", file=sys.stderr)
    best = oracle.oracle(
        load.trace, service, SLO, start=start, seconds=load.seconds, seed=seed, attainment=GOAL_ATTAINMENT
    )
    return [*results, best]


def rows(load: traces.Workload, results: list[Result], service: Service) -> list[dict[str, Any]]:
    """Return the results of each policy, with ratios to the HPA and to the oracle."""
    by_policy = {result.policy: result for result in results}
    missed = {name: 1 - result.attainment(load.trace, SLO.seconds) for name, result in by_policy.items()}
    least = oracle.bound(load.trace, service, load.seconds)
    return [
        {
            "trace": load.trace.name,
            "policy": name,
            "attainment": 1 - missed[name],
            "missed": round(missed[name] * len(load.trace.arrivals)),
            "gpuHours": result.gpu_hours,
            "gpuHoursToOracle": result.gpu_hours / by_policy["oracle"].gpu_hours,
            "gpuHoursToHpa": result.gpu_hours / by_policy["HPA"].gpu_hours,
            "missesToHpa": missed[name] / missed["HPA"] if missed["HPA"] else None,
            "gpuHoursToBound": result.gpu_hours / least,
        }
        for name, result in by_policy.items()
    ]


def show(table: list[dict[str, Any]]) -> None:
    """Print the results of one trace, and whether the goals are met."""
    output = Table(title=f"{table[0]['trace']}: {SLO.percentile:.0%} of first tokens within {SLO.seconds:g} s")
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
        output.add_column(column, justify="left" if column == "policy" else "right")
    for row in table:
        output.add_row(
            row["policy"],
            f"{row['attainment']:.2%}",
            f"{row['missed']:,}",
            f"{row['gpuHours']:.1f}",
            *("-" if row[key] is None else f"{row[key]:.2f}" for key in RATIOS),
        )
    Console(width=120).print(output)
    inferstack, hpa = (next(row for row in table if row["policy"] == name) for name in ("Inferstack", "HPA"))
    goals = [
        ("misses to HPA <= 0.5", inferstack["missed"] <= 0.5 * hpa["missed"]),
        ("GPU-hours to HPA <= 1", inferstack["gpuHoursToHpa"] <= 1),
    ]
    if inferstack["trace"] == "diurnal":
        goals += [
            ("within >= 99 %", inferstack["attainment"] >= GOAL_ATTAINMENT),
            ("GPU-hours to the oracle <= 1.1", inferstack["gpuHoursToOracle"] <= 1.1),
        ]
    for goal, met in goals:
        print(f"  goal {goal}: {'met' if met else 'MISSED'}")


def main(
    quick: Annotated[
        bool, typer.Option("--quick", help="Simulate 6 hours of each trace instead of 24, without MSTL.")
    ] = False,
    trace: Annotated[
        Path | None, typer.Option(help="CSV file: timestamp in seconds, input tokens, output tokens.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of traces and cold starts.")] = 1,
    only: Annotated[str | None, typer.Option(help="Run only this generated trace.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all results to this JSON file.")] = None,
) -> None:
    """Compare scaling policies."""
    hours = 6.0 if quick else 24.0
    if only is not None and only not in NAMES:
        raise typer.BadParameter(f"{only}: must be one of {', '.join(NAMES)}")
    try:
        loaded = traces.read(trace, hours) if trace is not None else None
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from None
    results: list[dict[str, Any]] = []
    for name in [only] if only else NAMES:
        began = time.perf_counter()
        load = loaded or traces.make(name, seed, hours)
        table = rows(load, measure(load, seed, quick), make_service(load, seed))
        show(table)
        print(f"  {len(load.trace.arrivals):,} requests, {time.perf_counter() - began:.0f} s of computation")
        results += table
        if loaded:
            break
    times = measure_decisions(quick)
    if json_file is not None:
        json_file.write_text(json.dumps({"seed": seed, "traces": results, "complexity": times}, indent=1))


if __name__ == "__main__":
    typer.run(main)
