"""``inferstack crd``: the CRDs generated from the models."""

from __future__ import annotations

import enum
import json
from typing import Annotated

import typer
import yaml

from inferstack.api import crds


class CrdFormat(enum.StrEnum):
    """Output formats that ``kubectl apply -f -`` reads."""

    YAML = "yaml"
    JSON = "json"


def crd(form: Annotated[CrdFormat, typer.Option("--output", "-o", help="Output format.")] = CrdFormat.YAML) -> None:
    """Print the CustomResourceDefinitions for kubectl apply.

    Example: inferstack crd | kubectl apply --server-side -f -
    """
    if form is CrdFormat.JSON:
        typer.echo(json.dumps({"apiVersion": "v1", "kind": "List", "items": crds()}, indent=2))
    else:
        typer.echo(yaml.safe_dump_all(crds(), sort_keys=False, width=120), nl=False)
