"""Duration of ``make up`` from stopped until all replicas are Running, and again without changes.

The baseline, in the same run, is the start of the control plane alone (``inferstack rehearsal start``). Tools and
virtual environment must exist. Run ``python -m benchmarks.up``.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.apply import run, timed
from inferstack.project import project_root

REHEARSAL = [sys.executable, "-m", "inferstack.cli", "rehearsal"]


def main(rounds: Annotated[int, typer.Option(help="Number of rounds; the results are medians.", min=1)] = 5) -> None:
    """Compare `make up` with the start of the control plane."""
    console = Console(stderr=True)
    cases = {
        "start of the control plane": [*REHEARSAL, "start"],
        "make up, from stopped": ["make", "up"],
        "make up, no change": ["make", "up"],
        "make down": ["make", "down"],
    }
    seconds: dict[str, list[float]] = {case: [] for case in cases}
    with tempfile.TemporaryDirectory(prefix="inferstack-bench-") as folder:
        environment = {"INFERSTACK_STATE": str(Path(folder) / "state"), "NO_COLOR": "1"}
        for round_index in range(rounds):
            for case, command in cases.items():
                duration = timed(lambda command=command: run(command, project_root(), environment))  # type: ignore[misc]  # bound per iteration
                seconds[case].append(duration)
                console.print(f"round {round_index + 1}/{rounds}: {case}: {duration:.1f} s")
                if command[0] != "make":
                    run([*REHEARSAL, "stop", "--purge"], project_root(), environment)
    baseline, *others = cases
    table = Table("case", "median", f"to the {baseline}", "goal")
    for case in others:
        ratio = statistics.median(a / b for a, b in zip(seconds[case], seconds[baseline], strict=True))
        goal = "≤ 30 s" if "stopped" in case else ""
        table.add_row(case, f"{statistics.median(seconds[case]):.1f} s", f"{ratio:.1f}", goal)
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
