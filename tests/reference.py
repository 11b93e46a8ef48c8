"""Third-party files to compare with: a folder that the environment variable ``INFERSTACK_REFERENCE`` names.

The folder has ``values/<chart>-<version>.values.yaml`` (default values of the pinned charts), ``crds/<project>/*.yaml``
(CRDs as the vendors ship them) and ``data/`` (NVIDIA's tables). It is not part of the project. Tests that read it carry
the marker ``reference`` and are deselected where the variable is not set.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from inferstack.toolchain.charts import Pin
from inferstack.toolchain.documents import crds_in

VARIABLE = "INFERSTACK_REFERENCE"


def folder() -> Path | None:
    """Return the folder with the third-party files, or None where the variable is not set.

    Raises:
        ValueError: the variable names something other than a folder.
    """
    if not (name := os.environ.get(VARIABLE)):
        return None
    if not Path(name).is_dir():
        raise ValueError(f"{VARIABLE}: {name} is not a directory")
    return Path(name).resolve()


def file(*parts: str) -> Path:
    """Return a file of the folder.

    Raises:
        FileNotFoundError: the variable is not set, or the folder lacks the file.
    """
    if (root := folder()) is None:
        raise FileNotFoundError(f"{VARIABLE} is not set: mark the test `reference`")
    path = root.joinpath(*parts)
    if not path.exists():
        raise FileNotFoundError(path)
    return path


def chart_values(pin: Pin) -> dict[str, Any]:
    """Return the default values of a pinned chart, without those of the charts inside it."""
    values: dict[str, Any] = yaml.safe_load(file("values", f"{pin.chart}-{pin.version}.values.yaml").read_text())
    return values


@functools.cache
def crds(project: str) -> dict[str, dict[str, Any]]:
    """Return the CRDs of a project by name."""
    return {crd["metadata"]["name"]: crd for crd in _crds_below(file("crds", project))}


def all_crds() -> dict[str, dict[str, Any]]:
    """Return the CRDs of all projects by name."""
    return {name: crd for path in sorted(file("crds").iterdir()) for name, crd in crds(path.name).items()}


def _crds_below(path: Path) -> Iterator[dict[str, Any]]:
    for member in sorted(path.glob("*.yaml")):
        yield from crds_in(member.read_bytes())
