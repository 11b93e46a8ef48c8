"""What ``versions.yaml`` says of the CRDs, as types."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inferstack.errors import UserError
from inferstack.versions import load


@dataclass(frozen=True)
class Source:
    """The Go module that has an add-on's CRDs."""

    addon: str
    module: str
    version: str
    sum: str
    """Hash of the module's content, as ``go.sum`` has it: ``h1:`` and base 64."""
    files: tuple[str, ...]
    """Places in the module; ``*`` stands for anything but a slash."""


def make_source(addon: str, entry: Mapping[str, Any]) -> Source:
    """Return one entry of ``crds``; see ``versions.yaml`` for the shape."""
    return Source(addon, entry["module"], entry["version"], entry["sum"], tuple(entry["files"]))


@functools.cache
def sources() -> Mapping[str, Source]:
    """Return the sources of ``versions.yaml`` by the name of their add-on."""
    return {addon: make_source(addon, entry) for addon, entry in load()["crds"].items()}


def source_of(addon: str, known: Mapping[str, Source]) -> Source:
    """Return the source of an add-on's CRDs.

    Raises:
        UserError: it has none.
    """
    if addon not in known:
        raise UserError(f'versions.yaml names no Go module with the CRDs of "{addon}"; it does for {", ".join(known)}.')
    return known[addon]
