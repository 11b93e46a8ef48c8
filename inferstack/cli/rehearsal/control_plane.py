"""Start, stop and look at the rehearsal's control plane."""

from __future__ import annotations

import datetime as dt
import shlex
import time
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from inferstack.api.runtimes import make_adapter_rules
from inferstack.cli import output
from inferstack.cli.output import Format, FormatOption
from inferstack.errors import UserError
from inferstack.logs import tail
from inferstack.project import state_dir
from rehearsal.control_plane import ComponentStatus, Rehearsal
from rehearsal.control_plane.model import Adapter


def start(
    port: Annotated[int | None, typer.Option(help="TCP port of the API server.", min=1, max=65535)] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the commands and start nothing.")] = False,
    metrics: Annotated[
        bool | None,
        typer.Option(
            "--metrics/--no-metrics",
            help="Run Prometheus, prometheus-adapter and the load simulator (default: as at the last start).",
            show_default=False,
        ),
    ] = None,
    hpa_sync_seconds: Annotated[
        float | None,
        typer.Option(help="Sync period of autoscalers in seconds (initially 15).", min=0.2, max=600),
    ] = None,
    hpa_downscale_seconds: Annotated[
        float | None,
        typer.Option(help="Downscale stabilization of autoscalers in seconds (initially 300).", min=0, max=3600),
    ] = None,
) -> None:
    """Start the components that are not running.

    Data and options of earlier starts are kept.
    """
    rehearsal = Rehearsal(state_dir())
    options = rehearsal.options
    if metrics is not None:
        adapter = options.adapter or Adapter(tuple(make_adapter_rules())) if metrics else None
        options = replace(options, metrics=metrics, adapter=adapter)
    if hpa_sync_seconds is not None:
        options = replace(options, hpa_sync_seconds=hpa_sync_seconds)
    if hpa_downscale_seconds is not None:
        options = replace(options, hpa_downscale_seconds=hpa_downscale_seconds)
    if dry_run:
        for command in rehearsal.commands(options):
            typer.echo(shlex.join(command))
        return
    rehearsal.start(output.say, port=port, options=options)


def stop(
    purge: Annotated[bool, typer.Option("--purge", help="Also remove its data, certificates and logs.")] = False,
) -> None:
    """Stop all components and keep their data."""
    Rehearsal(state_dir()).stop(output.say, purge=purge)


def status(form: FormatOption = Format.TABLE) -> None:
    """Show the components of the control plane.

    Exits with status 1 unless all are running.
    """
    components = Rehearsal(state_dir()).status()
    output.emit([_row(component, form) for component in components], form)
    if any(component.state != "running" for component in components):
        raise typer.Exit(1)


def _row(component: ComponentStatus, form: Format) -> dict[str, object]:
    row: dict[str, object] = {
        "component": component.name,
        "state": component.state,
        "pid": component.pid,
        "port": component.port,
    }
    if form is Format.TABLE:
        up = dt.timedelta(seconds=int(time.time() - component.since)) if component.since else None
        memory = f"{component.memory / 2**20:.0f} MiB" if component.memory else None
        return {**row, "up": up, "memory": memory, "detail": component.detail}
    return {**row, "since": component.since, "memory_bytes": component.memory, "detail": component.detail}


def logs(
    component: Annotated[str, typer.Argument(help="Component name (see `inferstack rehearsal status`).")],
    lines: Annotated[int, typer.Option("--lines", "-n", help="Number of lines.", min=1)] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Follow the log.")] = False,
) -> None:
    """Print the end of a component's log."""
    path = Rehearsal(state_dir()).log_path(component)
    if not path.exists():
        known = ", ".join(sorted(file.stem for file in path.parent.glob("*.log"))) or "none yet: nothing was started"
        raise UserError(f"there is no log of {component!r}; there are: {known}")
    typer.echo(tail(path, lines))
    if follow:
        _follow(path.stat().st_size, path)


def _follow(offset: int, path: Path) -> None:
    while True:
        size = path.stat().st_size
        if size < offset:
            offset = 0  # it was rotated
        with path.open("rb") as file:
            file.seek(offset)
            new = file.read()
        offset += len(new)
        if new:
            typer.echo(new.decode(errors="replace"), nl=False)
        time.sleep(0.3)
