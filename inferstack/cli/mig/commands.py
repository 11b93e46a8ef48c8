"""What GPUs can be cut into, are cut into, and should be cut into."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from inferstack.cli import output
from inferstack.cli.mig import apply as mig_apply
from inferstack.cli.mig import assertion as mig_assert
from inferstack.cli.mig import plan as mig_plan
from inferstack.cli.mig import usage as mig_usage
from inferstack.cli.output import Format, FormatOption
from inferstack.errors import UserError
from inferstack.mig import catalogue
from inferstack.mig.catalogue import Gpu, Profile
from inferstack.mig.errors import CatalogueError

_group = typer.Typer(no_args_is_help=True, help="MIG: what GPUs can be cut into, and should be.")
_group.command()(mig_usage.usage)
_group.command("plan")(mig_plan.plan_command)
_group.command("diff")(mig_plan.diff_command)
_group.command("apply")(mig_apply.apply_command)
_group.command("assert")(mig_assert.assert_command)
_group.command("rollouts")(mig_apply.rollouts_command)
_group.command("follow")(mig_apply.follow_command)
_group.command("pause")(mig_apply.pause_command)
_group.command("resume")(mig_apply.resume_command)
_group.command("abort")(mig_apply.abort_command)

Row = dict[str, Any]


def register(app: typer.Typer) -> None:
    """Add this module's commands to the application."""
    app.add_typer(_group, name="mig")


@_group.callback()
def _mig() -> None:
    """Keep the group a group while it has one command."""


@_group.command()
def table(
    gpu: Annotated[str | None, typer.Argument(help="A GPU by its board, such as H200; by default all.")] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Show the MIG profiles of GPUs: where an instance may start, how many fit, and whether a source shows the row."""
    known = catalogue.load()
    try:
        gpus = [catalogue.gpu(gpu)] if gpu is not None else list(known.gpus.values())
    except CatalogueError as error:
        raise UserError(f"{error}; `inferstack mig table` shows all.") from error
    rows = [(one, profile) for one in gpus for profile in one.profiles.values()]
    short = form is Format.TABLE
    output.emit([_line(*row) if short else _record(*row, known.sources) for row in rows], form)
    if doubtful := sum(not profile.confirmed for _, profile in rows):
        output.say(f"{doubtful} of {len(rows)} rows are not confirmed: -o json says which fields no source shows.")


def _line(gpu: Gpu, profile: Profile) -> Row:
    return {
        "gpu": gpu.name,
        "profile": profile.name,
        "id": profile.gi_id,
        "compute": f"{profile.compute_slices}/{gpu.compute_slices}",
        "memory": f"{profile.memory_slices}/{gpu.memory_slices}",
        "mib": profile.memory_mib,
        "max": profile.max_count,
        "starts": ",".join(map(str, profile.starts)),
        "confirmed": "yes" if profile.confirmed else "no",
    }


def _record(gpu: Gpu, profile: Profile, sources: Mapping[str, str]) -> Row:
    return {
        "gpu": gpu.name,
        "gpuComputeSlices": gpu.compute_slices,
        "gpuMemorySlices": gpu.memory_slices,
        "gpuMemoryMib": gpu.memory_mib,
        "profile": profile.name,
        "resource": profile.resource,
        "id": profile.gi_id,
        "computeSlices": profile.compute_slices,
        "memorySlices": profile.memory_slices,
        "memoryMib": profile.memory_mib,
        "multiprocessors": profile.multiprocessors,
        "engines": dict(profile.engines),
        "starts": list(profile.starts),
        "max": profile.max_count,
        "confirmed": profile.confirmed,
        "unseen": list(profile.unseen),
        "source": sources[profile.source],
    }
