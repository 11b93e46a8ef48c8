"""The options of a rehearsal, kept from one start to the next."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from rehearsal.control_plane.model import Adapter, PlaneOptions


def read(path: Path) -> PlaneOptions:
    """Return what was kept; the defaults where nothing was."""
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return PlaneOptions()
    adapter = content.pop("adapter")
    if adapter is not None:
        adapter = Adapter(tuple(adapter["rules"]), adapter["relist_seconds"])
    return PlaneOptions(adapter=adapter, **content)


def write(path: Path, options: PlaneOptions) -> None:
    """Keep options, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".partial")
    fresh.write_text(json.dumps(dataclasses.asdict(options), indent=1) + "\n")
    fresh.replace(path)
