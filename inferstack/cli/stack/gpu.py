"""Look at what the GPUs of a stack need, before anything is changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from components.addon.settings import AddonSettings, Mode
from components.cluster.settings import ClusterSettings, Place
from components.gpu import compatibility
from components.gpu.checks import make_asked, settle
from components.gpu.fleet import gpu_groups
from components.gpu.preflight import Finding, State, examine
from components.gpu.settings import GpuSettings
from components.settings import PROJECT, load_role
from inferstack.cli import output
from inferstack.cli.output import Format, FormatOption
from inferstack.cli.stack.commands import StackOption
from inferstack.cli.stack.configuration import read_values
from inferstack.cli.stack.session import stack_file
from inferstack.errors import UserError

_group = typer.Typer(no_args_is_help=True, help="GPUs: whether driver, CUDA, runtime and Kubernetes fit them.")


def register(app: typer.Typer) -> None:
    """Add this module's commands to the application."""
    app.add_typer(_group, name="gpu")


@_group.callback()
def _gpu() -> None:
    """Keep the group a group while it has one command."""


@_group.command()
def preflight(stack: StackOption = "local", form: FormatOption = Format.TABLE) -> None:
    """Show what a stack asks for beside what fits, each with its source; exit code 1 where an up would be refused."""
    values = read_values(stack_file(stack))
    config = {key.removeprefix(f"{PROJECT}:"): value for key, value in values.items()}
    settings, findings = look(config)
    output.emit([make_row(finding) for finding in findings], form)
    stopped = {State.WRONG} if settings.preflight.allow_unknown else {State.WRONG, State.UNKNOWN}
    if refused := sum(finding.state in stopped for finding in findings):
        output.fail(f"{refused} of {len(findings)} do not fit, or are not known to")
        raise typer.Exit(1)


def look(config: Mapping[str, Any]) -> tuple[GpuSettings, list[Finding]]:
    """Return the role's settings and all checks of a configuration; its roles need not fit together yet.

    Raises:
        UserError: naming a wrong key of the roles that are looked at.
    """
    try:
        place = Place(config.get("place", ""))
    except ValueError:
        raise UserError(f"{PROJECT}:place: expected one of {', '.join(Place)}.") from None
    cluster = load_role("cluster", ClusterSettings, config.get("cluster"))
    groups = gpu_groups(cluster)
    settings = settle(load_role("gpu", GpuSettings, config.get("gpu")), groups)
    addon = load_role("addon", AddonSettings, config.get("addon"))
    kubernetes, key = cluster.kubernetes(place)
    asked = make_asked(
        settings,
        groups,
        kubernetes=kubernetes,
        kubernetes_key=key,
        operator_is_ours=addon.mode_of("gpu-operator") is not Mode.PRESENT,
    )
    return settings, examine(asked, compatibility.load())


def make_row(finding: Finding) -> dict[str, object]:
    """Return the line of a check."""
    return {
        "asked": finding.asked,
        "with": finding.part,
        "fits": finding.fits,
        "state": finding.state.value,
        "setting": finding.key,
        "source": finding.source,
    }
