"""``inferstack mig plan`` and ``diff``."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from inferstack.cli import output
from inferstack.cli.mig.planner_input import PlannerInput, parse_file, read_input
from inferstack.cli.mig.planner_report import dump, refuse_overwriting, show_plan, show_steps, write_files
from inferstack.cli.options import ContextOption, KubeconfigOption
from inferstack.cli.output import Format, FormatOption
from inferstack.errors import UserError
from inferstack.mig import planner
from inferstack.mig.errors import MigError
from inferstack.mig.planner import Budget, Fleet
from inferstack.mig.planner.inputs import dump_fleet, parse_fleet
from inferstack.mig.planner.layouts import Output, make_output
from inferstack.mig.planner.report import Row, make_report, make_transition

DEMANDS_UNMET = 3
"""Exit status of a plan that does not serve all demands."""
_REPORT_SECONDS = 2.0
"""Interval of progress messages during a long search."""

FleetOption = Annotated[Path | None, typer.Option("--fleet", help="Fleet file (YAML, see docs/mig-planner.md).")]
DemandsOption = Annotated[Path | None, typer.Option("--demands", help="Demands file (YAML).")]
ClusterOption = Annotated[
    bool, typer.Option("--from-cluster", help="Read fleet and pending pods from a cluster; --demands adds to these.")
]
MovesOption = Annotated[
    bool, typer.Option("--allow-moves", help="With --from-cluster: allow moving pods (default: all are pinned).")
]
LayoutsOption = Annotated[
    Path | None, typer.Option("--layouts", help="mig-parted file in use; equal layouts keep their names.")
]
StepsOption = Annotated[int, typer.Option("--steps", min=0, help="Search steps (independent of the machine).")]
SecondsOption = Annotated[
    float | None,
    typer.Option("--seconds", min=0.1, help="Time limit; results depend on the machine."),
]
_STEPS = 300_000


def plan(
    fleet: FleetOption = None,
    demands: DemandsOption = None,
    from_cluster: ClusterOption = False,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
    allow_moves: MovesOption = False,
    layouts: LayoutsOption = None,
    steps: StepsOption = _STEPS,
    seconds: SecondsOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", help="Output folder (config.yaml for mig-parted, labels.yaml, plan.yaml).", file_okay=False
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files in --out.")] = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Plan the MIG instances of each GPU.

    Also reports how far the plan can be from the optimum. Exits with status 0 if all demands are served, 3 if the plan
    does not serve all of them, 1 on invalid input.
    """
    if out is not None and not force:
        refuse_overwriting(out)
    request = read_input(fleet, demands, from_cluster, kubeconfig, context, allow_moves, layouts)
    report, result = _plan(request, steps, seconds)
    if out is not None:
        write_files(out, request.fleet, report, result)
    if form is Format.TABLE:
        show_plan(report)
    else:
        dump(report, form)
    if any(row["served"] < row["wanted"] for row in report["priorities"]):
        raise typer.Exit(DEMANDS_UNMET)


def diff(
    fleet: FleetOption = None,
    demands: DemandsOption = None,
    to: Annotated[Path | None, typer.Option("--to", help="Target fleet file (YAML), instead of a plan.")] = None,
    from_cluster: ClusterOption = False,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
    allow_moves: MovesOption = False,
    layouts: LayoutsOption = None,
    steps: StepsOption = _STEPS,
    seconds: SecondsOption = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Show the ordered steps to a plan or to another fleet.

    Also lists the pods that no step touches. Exits with status 0, with or without steps, and 1 on invalid input.
    """
    if to is not None and demands is not None:
        raise UserError("--to cannot be combined with --demands.")
    request = read_input(
        fleet, demands, from_cluster, kubeconfig, context, allow_moves, layouts, needs_demands=to is None
    )
    if to is None:
        report, _ = _plan(request, steps, seconds)
    else:
        report = _transition(request, parse_file(to, parse_fleet))
    if form is Format.TABLE:
        show_steps(report)
    else:
        dump({key: report[key] for key in ("nodes", "steps", "podsParked", "neverInterrupted")}, form)


def _plan(request: PlannerInput, steps: int, seconds: float | None) -> tuple[Row, Output]:
    try:
        plan = planner.plan(request.fleet, request.demands, Budget(steps, _deadline(seconds)))
        transition = planner.diff(request.fleet, plan.fleet)
        result = make_output(request.fleet, plan.fleet, request.layouts)
    except MigError as error:
        raise UserError(f"{error}.") from error
    report = make_report(request.fleet, request.demands, plan, transition, result)
    return report | {"fleet": dump_fleet(plan.fleet)}, result


def _transition(request: PlannerInput, target: Fleet) -> Row:
    try:
        transition = planner.diff(request.fleet, replace(target, scope=request.fleet.scope))
        result = make_output(request.fleet, target, request.layouts)
    except MigError as error:
        raise UserError(f"--to: {error}.") from error
    return make_transition(transition, result)


def _deadline(seconds: float | None) -> Callable[[], bool]:
    """Return a function that reports progress and returns whether the time is up."""
    started = reported = time.monotonic()

    def expired() -> bool:
        nonlocal reported
        now = time.monotonic()
        if now - reported >= _REPORT_SECONDS:
            reported = now
            output.say(f"searching for {now - started:.0f} s")
        return seconds is not None and now - started >= seconds

    return expired
