"""``inferstack sbom``: the software bill of materials."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from inferstack.cli import output
from inferstack.cli.output import Format
from inferstack.project import project_root
from inferstack.supply import locks, modules
from inferstack.supply.sbom import make_bom
from inferstack.versions import load


def sbom(
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Output file (default: stdout).")] = None,
    form: Annotated[
        Format, typer.Option("--output", "-o", help="Output format: json is CycloneDX, the others are a list.")
    ] = Format.JSON,
) -> None:
    """Write the software bill of materials (CycloneDX JSON).

    Lists packages, Go modules, charts, images and tools, with hashes. Exits with status 1 if the file cannot be
    written.
    """
    if file is not None:
        output.writable(file)
    root = project_root()
    version = importlib.metadata.version("inferstack")
    bom = make_bom("inferstack", version, locks.read(root / "requirements"), modules.read(root / "tools"), load())
    text = json.dumps(bom, indent=2) + "\n"
    if file is not None:
        file.write_text(text)
        output.say(f"{file}: {len(bom['components'])} components")
    elif form is Format.JSON:
        typer.echo(text, nl=False)
    else:
        output.emit([_row(part) for part in bom["components"]], form)


def _row(part: Mapping[str, Any]) -> dict[str, str]:
    kind = str(part["purl"]).removeprefix("pkg:").partition("/")[0]
    users = [entry["value"] for entry in part["properties"] if entry["name"] == "inferstack:used-by"]
    return {"kind": kind, "name": part["name"], "version": part["version"], "used by": ", ".join(users)}
