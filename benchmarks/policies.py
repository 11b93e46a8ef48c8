"""What the policy pack adds to a preview of the full stack.

Peer, in the same run and alternating with it: the same `pulumi preview -s local` without the pack. Run with
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
    rounds: Annotated[int, typer.Option(help="Rounds; medians are taken over them.", min=1)] = 7,
    existing: Annotated[bool, typer.Option("--up", help="Bring the stack up first: nothing is to be created.")] = False,
) -> None:
    """Time previews of the stack local with and without the policy pack."""
    console = Console(stderr=True)
    # As on a user's machine, where the second run finds the bytecode of the first.
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
                checked(session, ["up", "--yes", "--skip-preview"])
            took = measure(session, rounds, console)
        finally:
            rehearsal.stop(purge=True)
    Console().print(report(took))


def measure(session: Session, rounds: int, console: Console) -> dict[str, list[float]]:
    """Return what each preview took, by case; the first round, which fills caches, is left out."""
    cases = {"without": [], "with the pack": findings.arguments(session.root)}
    took: dict[str, list[float]] = {case: [] for case in cases}
    for turn in range(rounds + 1):
        # Who goes first changes: what slows the machine down for a while slows both.
        for case in sorted(cases, reverse=bool(turn % 2)):
            seen = timed(session, cases[case])
            if turn:
                took[case].append(seen)
                console.print(f"round {turn}/{rounds}: {case}: {seen:.1f} s")
    return took


def timed(session: Session, options: list[str]) -> float:
    """Return the seconds of one preview."""
    began = time.monotonic()
    checked(session, ["preview", *options])
    return time.monotonic() - began


def checked(session: Session, args: list[str]) -> None:
    """Run the engine, which must succeed."""
    done = session.quietly(args)
    assert done.returncode == 0, done.stdout + done.stderr


def report(took: dict[str, list[float]]) -> Table:
    """Return the table of medians, and of the median of the rounds' ratios."""
    table = Table("preview -s local", "median", "least")
    for case, seen in took.items():
        table.add_row(case, f"{statistics.median(seen):.1f} s", f"{min(seen):.1f} s")
    plain, held = took.values()
    each = statistics.median(ours / bare for ours, bare in zip(held, plain, strict=True))
    table.add_row("ratio (goal ≤ 1.25)", f"{each:.2f}", f"{min(held) / min(plain):.2f}")
    return table


if __name__ == "__main__":
    typer.run(main)
