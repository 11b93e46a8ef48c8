"""Small packed charts for tests."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from inferstack.apimachinery.objects import Object
from inferstack.toolchain.charts import Pin


def make_crd(name: str) -> Object:
    """Return a CRD that takes anything; ``name`` is plural and group."""
    plural, _, group = name.partition(".")
    kind = plural.removesuffix("s").capitalize()
    schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": plural, "singular": plural.removesuffix("s"), "kind": kind, "listKind": f"{kind}List"}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": name},
        "spec": {"group": group, "names": names, "scope": "Namespaced", "versions": [version]},
    }


def make_chart(
    folder: Path,
    pin: Pin,
    values: Mapping[str, Any],
    crds: Iterable[Object] = (),
    *,
    templates: Mapping[str, str] | None = None,
    files: Mapping[str, str] | None = None,
) -> Path:
    """Pack a chart into a folder and return its file.

    Args:
        folder: where to.
        pin: its name and version.
        values: its defaults.
        crds: for its ``crds/`` folder.
        templates: text by file name.
        files: further files by their path in the chart.
    """
    content = {
        "Chart.yaml": yaml.safe_dump({"apiVersion": "v2", "name": pin.chart, "version": pin.version}),
        "values.yaml": yaml.safe_dump(dict(values)),
        **{f"crds/{crd['metadata']['name']}.yaml": yaml.safe_dump(crd) for crd in crds},
        **{f"templates/{name}": text for name, text in (templates or {}).items()},
        **(files or {}),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / pin.file
    with tarfile.open(path, "w:gz") as packed:
        for name, text in content.items():
            member = tarfile.TarInfo(f"{pin.chart}/{name}")
            member.size = len(text.encode())
            packed.addfile(member, io.BytesIO(text.encode()))
    return path
