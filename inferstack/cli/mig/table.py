"""``inferstack mig table``: the MIG profiles of GPUs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from inferstack.cli import output
from inferstack.cli.output import Format, FormatOption
from inferstack.errors import UserError
from inferstack.mig import catalogue
from inferstack.mig.catalogue import Gpu, Profile
from inferstack.mig.errors import CatalogueError

Row = dict[str, Any]


def table(
    gpu: Annotated[str | None, typer.Argument(help="GPU model, such as H200 (default: all).")] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Show the MIG profiles of GPUs.

    Lists where an instance may start, how many fit, and whether a source confirms the row.
    """
    table = catalogue.load()
    try:
        gpus = [catalogue.gpu(gpu)] if gpu is not None else list(table.gpus.values())
    except CatalogueError as error:
        raise UserError(f"{error}; `inferstack mig table` lists all.") from error
    rows = [(model, profile) for model in gpus for profile in model.profiles.values()]
    short = form is Format.TABLE
    output.emit([_line(*row) if short else _record(*row, table.sources) for row in rows], form)
    if unconfirmed := sum(not profile.confirmed for _, profile in rows):
        output.say(f"{unconfirmed} of {len(rows)} rows are not confirmed; -o json names the fields without a source.")


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
