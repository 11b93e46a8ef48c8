"""The bill of materials."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Annotated

import typer

from inferstack.cli import output
from inferstack.project import project_root
from inferstack.supply import locks, modules
from inferstack.supply.sbom import make_bom
from inferstack.versions import load


def register(app: typer.Typer) -> None:
    """Add this module's commands to the application."""
    app.command()(sbom)


def sbom(
    file: Annotated[Path | None, typer.Option("--file", "-f", help="Where to; without it to stdout.")] = None,
) -> None:
    """Write what the project is made of as CycloneDX JSON: packages, Go modules, charts, images, tools; with hashes."""
    root = project_root()
    version = importlib.metadata.version("inferstack")
    bom = make_bom("inferstack", version, locks.read(root / "requirements"), modules.read(root / "tools"), load())
    text = json.dumps(bom, indent=2) + "\n"
    if file is None:
        typer.echo(text, nl=False)
    else:
        file.write_text(text)
        output.say(f"{file}: {len(bom['components'])} components")
