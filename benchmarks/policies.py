"""Overhead of the policy pack in a preview of the full stack.

The baseline, alternating in the same run, is the same `pulumi preview -s local` without the pack. Run
``python -m benchmarks.policies``.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from inferstack.cli.stack import findings
from inferstack.cli.stack.session import Session
from rehearsal.control_plane import Rehearsal


def main(
    rounds: Annotated[int, typer.Option(help="Number of rounds; the results are medians.", min=1)] = 7,
    existing: Annotated[
        bool, typer.Option("--up", help="Bring the stack up first, so that the preview has no changes.")
    ] = False,
) -> None:
    """Compare previews of the stack local with and without the policy pack."""
    console = Console(stderr=True)
    # As on a user's machine, where the second run uses the bytecode of the first.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    with tempfile.TemporaryDirectory(prefix="inferstack-bench-") as folder:
        os.environ |= {"INFERSTACK_STATE": f"{folder}/state", "PYTHONPYCACHEPREFIX": f"{folder}/compiled"}
        session = Session("local", console.print)
        rehearsal = Rehearsal(session.state)
        rehearsal.start(console.print)
        try:
            session.engine.prepare()
            session.select()
            if existing:
                run_checked(session, ["up", "--yes", "--skip-preview"])
            durations = measure(session, rounds, console)
        finally:
            rehearsal.stop(purge=True)
    Console().print(report(durations))


def measure(session: Session, rounds: int, console: Console) -> dict[str, list[float]]:
    """Return the durations of previews by case; the first round only fills caches."""
    cases = {"without": [], "with the pack": findings.arguments(session.root)}
    durations: dict[str, list[float]] = {case: [] for case in cases}
    for round_index in range(rounds + 1):
        # Alternate the order, so that a slow phase of the machine affects both cases.
        for case in sorted(cases, reverse=bool(round_index % 2)):
            duration = timed(session, cases[case])
            if round_index:
                durations[case].append(duration)
                console.print(f"round {round_index}/{rounds}: {case}: {duration:.1f} s")
    return durations


def timed(session: Session, options: list[str]) -> float:
    """Return the duration of one preview in seconds."""
    began = time.monotonic()
    run_checked(session, ["preview", *options])
    return time.monotonic() - began


def run_checked(session: Session, args: list[str]) -> None:
    """Run the engine and require success."""
    result = session.quietly(args)
    assert result.returncode == 0, result.stdout + result.stderr


def report(durations: dict[str, list[float]]) -> Table:
    """Return the table of medians, and the median of the ratios per round."""
    table = Table("preview -s local", "median", "minimum")
    for case, measured in durations.items():
        table.add_row(case, f"{statistics.median(measured):.1f} s", f"{min(measured):.1f} s")
    without, with_pack = durations.values()
    ratio = statistics.median(a / b for a, b in zip(with_pack, without, strict=True))
    table.add_row("ratio (goal ≤ 1.25)", f"{ratio:.2f}", f"{min(with_pack) / min(without):.2f}")
    return table


if __name__ == "__main__":
    typer.run(main)
