"""``inferstack tools``: find, download or build the tools, and download the CRDs of other projects."""

from __future__ import annotations

from typing import Annotated

import typer

from inferstack.cli import output
from inferstack.cli.output import Format, FormatOption
from inferstack.toolchain import binaries, crds
from inferstack.toolchain.binaries.resolve import clean as clean_cache

Names = Annotated[list[str] | None, typer.Argument(help="Names of tools (default: all tools and the CRDs).")]


def list_tools(form: FormatOption = Format.TABLE) -> None:
    """List the tools, the CRDs and where they come from.

    Downloads nothing.
    """
    output.emit([*map(make_row, binaries.inspect()), *map(make_crd_row, crds.sources().values())], form)


def ensure(names: Names = None, form: FormatOption = Format.TABLE) -> None:
    """Download or build the tools that are missing.

    Without names, also gets the CRDs of other projects.
    """
    chosen = names or [tool.name for tool in binaries.inspect()]
    binaries.ensure(chosen, report=output.say)
    sources = {} if names else crds.sources()
    crds.ensure(sources, output.say)
    output.emit([*map(make_row, binaries.inspect(chosen)), *map(make_crd_row, sources.values())], form)


def path(name: Annotated[str, typer.Argument(help="Name of a tool.")]) -> None:
    """Print the path of a tool.

    Exits with status 1 if the tool is missing.
    """
    tool = binaries.inspect([name])[0]
    if tool.path is None:
        output.fail(f"{name} is missing: get it with `inferstack tools ensure {name}`.")
        raise typer.Exit(1)
    typer.echo(tool.path)


def clean() -> None:
    """Remove cached tools, CRDs and Go's build cache.

    The next start downloads or builds them again, which takes minutes.
    """
    for folder in [*clean_cache(), *crds.clean()]:
        output.say(f"removed {folder}")


def make_row(tool: binaries.Tool) -> dict[str, object]:
    """Return the row of a tool."""
    return {
        "name": tool.name,
        "version": tool.version,
        "from": tool.origin,
        "path": str(tool.path) if tool.path else None,
        "note": tool.note,
    }


def make_crd_row(source: crds.Source) -> dict[str, object]:
    """Return the row of an add-on's CRDs."""
    folder = crds.place_of(source)
    there = folder.is_dir()
    return {
        "name": f"crds/{source.addon}",
        "version": source.version,
        "from": "module" if there else "missing",
        "path": str(folder) if there else None,
        "note": source.module,
    }
