"""``inferstack mirror``: the charts and images of a stack for an air-gapped site."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from components.addon.catalogue import AddonName
from components.addon.catalogue import load as load_facts
from components.addon.plan import chart_values
from components.platform.settings import PlatformSettings
from components.settings import PROJECT
from inferstack.cli import output
from inferstack.cli.options import StackOption
from inferstack.cli.output import Format, FormatOption
from inferstack.cli.stack.configuration import read_values, stack_file
from inferstack.errors import UserError
from inferstack.toolchain import binaries
from inferstack.toolchain.charts import find, images_of, mirror, pins, pull, render
from inferstack.versions import load as load_versions

FolderOption = Annotated[Path, typer.Option("--to", help="Mirror folder; created if missing.")]
ImagesOption = Annotated[bool, typer.Option("--images", help="Also download the images (tens of GiB).")]
Row = dict[str, Any]


def list_charts(stack: StackOption = "local", form: FormatOption = Format.TABLE) -> None:
    """List the charts of a stack with their images.

    Charts are read from the mirror of the stack, or pulled.
    """
    settings = _settings(stack)
    binaries.ensure(["helm"], report=output.say)
    charts = settings.charts()
    rows = [_row(name, values, settings, find(pins()[name], settings.addon.mirror)) for name, values in charts.items()]
    rows.append(_own(settings))
    if form is Format.TABLE:
        rows = [{**row, "images": "\n".join(row["images"])} for row in rows]
    output.emit(rows, form)


def pack(
    to: FolderOption,
    stack: StackOption = "local",
    images: ImagesOption = False,
    form: FormatOption = Format.TABLE,
) -> None:
    """Download the charts of a stack into a folder.

    Also writes the list of all images. Files that are there already are kept.
    """
    settings = _settings(stack)
    binaries.ensure(["helm", *(["crane"] if images else [])], report=output.say)
    rows: list[Row] = []
    for name, values in settings.charts().items():
        packed = to / pins()[name].file
        is_new = not packed.is_file()
        if is_new:
            pull(pins()[name], to)
        output.say(f"{packed.name}: {'pulled' if is_new else 'already present'}")
        rows.append(_row(name, values, settings, packed))
    rows.append(_own(settings))
    wanted = sorted({image for row in rows for image in row["images"]})
    listed = mirror.write_list(to, wanted)
    if images:
        for number, image in enumerate(wanted, 1):
            output.say(f"image {number} of {len(wanted)}")
            mirror.pull_image(image, to, output.say)
    output.say(f"{len(rows) - 1} charts and the list of {len(wanted)} images ({listed.name}) are in {to}")
    output.say(f"use it: inferstack pulumi -s {stack} config set --path {PROJECT}:addon.mirror {to}")
    output.emit([{key: value for key, value in row.items() if key != "images"} for row in rows], form)


def push(
    registry: Annotated[str, typer.Argument(help="Registry host with port and path, such as registry:5000.")],
    folder: Annotated[Path, typer.Option("--from", help="Mirror folder, packed with --images.")],
    form: FormatOption = Format.TABLE,
) -> None:
    """Push the images of a mirror folder to a registry.

    Each image keeps its path.
    """
    wanted = mirror.read_list(folder)
    missing = [image for image in wanted if not mirror.layout_of(folder, image).is_dir()]
    if missing:
        raise UserError(
            f"{len(missing)} of {len(wanted)} images are missing in {folder}, the first is {missing[0]}: "
            "download them with `inferstack mirror pack --images`."
        )
    binaries.ensure(["crane"], report=output.say)
    output.emit(
        [{"image": image, "pushed": mirror.push_image(image, folder, registry, output.say)} for image in wanted], form
    )


def _settings(stack: str) -> PlatformSettings:
    values = read_values(stack_file(stack))
    return PlatformSettings.load({key.removeprefix(f"{PROJECT}:"): value for key, value in values.items()})


def _row(name: AddonName, asked: Mapping[str, Any], settings: PlatformSettings, packed: Path) -> Row:
    pin = pins()[name]
    values = chart_values(name, asked, settings.addon)
    images = images_of(render(packed, name, load_facts()[name].namespace, values))
    return {"addon": name, "chart": pin.chart, "version": pin.version, "repo": pin.repo, "images": images}


def _own(settings: PlatformSettings) -> Row:
    """Return the images that are in no chart: those of the operator, the node agents and the jobs."""
    images = dict(load_versions()["images"])
    python = images.pop("python")  # image of the node agents; otherwise only the base of the Containerfile
    used = {**images, "operator": settings.inference.operator.image or images["operator"]}.values()
    wasm, jobs = settings.wasm, settings.inference.jobs
    references = {*used, *(job.spec["image"] for job in jobs if job.spec.get("image"))}
    if settings.kernel.enabled:
        references.add(settings.kernel.image or python)
    if wasm.enabled:
        references |= {wasm.installer_image or python, *([wasm.shim.image] if wasm.shim.image else [])}
        references |= {wasm.sample.image} if wasm.sample else set()
    return {"addon": "inferstack", "chart": "", "version": "", "repo": "", "images": sorted(references)}
