"""``inferstack load``: simulated requests to the rehearsal's jobs, from a scenario and a seed."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated, Any

import typer

from inferstack.cli import output
from inferstack.cli.output import Format, FormatOption
from inferstack.errors import UserError
from inferstack.project import state_dir
from rehearsal.control_plane import Rehearsal
from rehearsal.load import control
from rehearsal.load.arrivals import read_trace
from rehearsal.load.scenario import Scenario, Trace, read

_START_SECONDS = 5.0
ScenarioArgument = Annotated[Path, typer.Argument(help="YAML file; `inferstack load schema` prints its schema.")]


def run(
    scenario: ScenarioArgument,
    seed: Annotated[int, typer.Option(help="Random seed; equal seeds give equal requests.")] = 1,
    seconds: Annotated[float | None, typer.Option(help="Duration in seconds (default: until Ctrl-C).", min=1)] = None,
    detach: Annotated[
        bool, typer.Option("--detach", "-d", help="Return at once; `inferstack load stop` ends it.")
    ] = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Run a load scenario and show how each job performs.

    Prints a line per job and second to stderr, and at the end the table of jobs to stdout.
    """
    read_in = _checked(scenario)
    url = _url()
    control.write(state_dir(), control.Run(read_in, seed, time.time()))
    if detach:
        return
    try:
        until = time.monotonic() + seconds if seconds else None
        while until is None or time.monotonic() < until:
            time.sleep(1)
            status = _ask(url)
            for job in status["jobs"]:
                output.say(_line(status, job))
    except KeyboardInterrupt:
        pass  # the usual way to end the run
    finally:
        status = _ask(url)
        control.remove(state_dir())
    output.emit(status["jobs"], form)


def stop() -> None:
    """Stop the load."""
    output.say("load stopped" if control.remove(state_dir()) else "no load was running")


def status(form: FormatOption = Format.TABLE) -> None:
    """Show how each job performs."""
    output.emit(_ask(_url())["jobs"], form)


def check(scenario: ScenarioArgument) -> None:
    """Validate a scenario and the traces it names."""
    output.say(f"{scenario}: {len(_checked(scenario).jobs)} jobs")


def schema() -> None:
    """Print the JSON schema of scenarios."""
    typer.echo(json.dumps(Scenario.model_json_schema(), indent=2))


def _checked(path: Path) -> Scenario:
    scenario = read(path)
    for load in scenario.jobs:
        if isinstance(load.arrivals, Trace):
            read_trace(load.arrivals.file, load.arrivals.speed)
    return scenario


def _url() -> str:
    """Return the address of the simulator.

    Raises:
        UserError: the rehearsal, or its load simulator, is not running.
    """
    rehearsal = Rehearsal(state_dir())
    for component in rehearsal.status() if rehearsal.kubeconfig.exists() else ():
        if component.name == "load" and component.state == "running":
            return f"http://127.0.0.1:{component.port}"
    raise UserError("The load simulator is not running: `inferstack rehearsal start --metrics` starts it.")


def _ask(url: str) -> dict[str, Any]:
    until = time.monotonic() + _START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(f"{url}/status", timeout=5) as answer:  # noqa: S310  # loopback, our own
                status: dict[str, Any] = json.load(answer)
                return status
        except (urllib.error.URLError, TimeoutError) as error:
            if time.monotonic() > until:
                raise UserError(
                    f"The load simulator does not respond ({error}): see `inferstack rehearsal logs load`."
                ) from error
            time.sleep(0.2)


def _line(status: dict[str, Any], job: dict[str, Any]) -> str:
    first = job["firstTokenSeconds95"]
    parts = [
        f"{status['seconds'] or 0:6.0f} s  {job['job']}",
        f"{job['arrived']} requests",
        f"{job['running']} running",
        f"{job['waiting']} waiting",
        f"{job['replicas']} replicas" + (f" and {job['loading']} loading" if job["loading"] else ""),
        *([f"first token {first:g} s (p95)"] if first is not None else []),
        *([f"{job['refused'] + job['gaveUp']} failed"] if job["refused"] + job["gaveUp"] else []),
        *(["the simulator lags behind"] if status["lateSeconds"] else []),
    ]
    return ", ".join(parts)
