"""How long ``make up`` takes from stopped to all replicas Running, and again when nothing changes.

Peer, in the same run: the control plane's start alone (``inferstack rehearsal start``), which every way to a rehearsal
would have to pay. The tools and the virtual environment are there already. Run with ``python -m benchmarks.up``.
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


def main(rounds: Annotated[int, typer.Option(help="Rounds; medians are taken over them.", min=1)] = 5) -> None:
    """Time `make up` against the control plane's start."""
    console = Console(stderr=True)
    cases = {
        "control plane's start": [*REHEARSAL, "start"],
        "make up, from stopped": ["make", "up"],
        "make up, no change": ["make", "up"],
        "make down": ["make", "down"],
    }
    seconds: dict[str, list[float]] = {case: [] for case in cases}
    with tempfile.TemporaryDirectory(prefix="inferstack-bench-") as folder:
        environment = {"INFERSTACK_STATE": str(Path(folder) / "state"), "NO_COLOR": "1"}
        for turn in range(rounds):
            for case, command in cases.items():
                took = timed(lambda command=command: run(command, project_root(), environment))  # type: ignore[misc]  # bound per turn
                seconds[case].append(took)
                console.print(f"round {turn + 1}/{rounds}: {case}: {took:.1f} s")
                if command[0] != "make":
                    run([*REHEARSAL, "stop", "--purge"], project_root(), environment)
    peer, *others = cases
    table = Table("case", "median", f"to the {peer}", "goal")
    for case in others:
        ratio = statistics.median(ours / bare for ours, bare in zip(seconds[case], seconds[peer], strict=True))
        goal = "≤ 30 s" if "stopped" in case else ""
        table.add_row(case, f"{statistics.median(seconds[case]):.1f} s", f"{ratio:.1f}", goal)
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
