"""``inferstack gpu preflight``: GPU compatibility of a stack before anything is changed."""

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
from inferstack.cli.options import StackOption
from inferstack.cli.output import Format, FormatOption
from inferstack.cli.stack.configuration import read_values, stack_file
from inferstack.errors import UserError


def preflight(stack: StackOption = "local", form: FormatOption = Format.TABLE) -> None:
    """Check what a stack requests against what its GPUs support.

    Each row names its source. Exits with status 1 if `up` would refuse the stack.
    """
    values = read_values(stack_file(stack))
    config = {key.removeprefix(f"{PROJECT}:"): value for key, value in values.items()}
    settings, findings = check(config)
    output.emit([make_row(finding) for finding in findings], form)
    failing = {State.WRONG} if settings.preflight.allow_unknown else {State.WRONG, State.UNKNOWN}
    if refused := sum(finding.state in failing for finding in findings):
        output.fail(f"{refused} of {len(findings)} checks failed")
        raise typer.Exit(1)


def check(config: Mapping[str, Any]) -> tuple[GpuSettings, list[Finding]]:
    """Return the settings of the role gpu and all checks; the roles need not be consistent yet.

    Raises:
        UserError: naming an invalid key of the roles cluster, gpu or addon.
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
    """Return the row of a check."""
    return {
        "asked": finding.asked,
        "with": finding.part,
        "fits": finding.fits,
        "state": finding.state.value,
        "setting": finding.key,
        "source": finding.source,
    }
