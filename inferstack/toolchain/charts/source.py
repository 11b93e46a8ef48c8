"""Where a pinned chart is: in a mirror folder, in the cache, or pulled from its repository into the cache."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

from inferstack.errors import UserError
from inferstack.project import cache_dir, project_root
from inferstack.toolchain import binaries as tools
from inferstack.toolchain.charts.pins import Pin

_PULL_SECONDS = 120
"""A chart has some hundred KiB; a repository that takes longer does not answer."""


def mirror_folder(mirror: str) -> Path:
    """Return a mirror as an absolute path; a relative one begins at the project's folder."""
    return project_root() / Path(mirror).expanduser()


def find(pin: Pin, mirror: str | None) -> Path:
    """Return the packed chart, pulled first where it is nowhere yet.

    Args:
        pin: which chart.
        mirror: folder of packed charts; where one is given, nothing is pulled.

    Raises:
        UserError: the mirror lacks it, or it cannot be pulled.
    """
    if mirror is not None:
        packed = mirror_folder(mirror) / pin.file
        if not packed.is_file():
            raise UserError(
                f"inferstack:addon.mirror: {packed.parent} has no {pin.file}; `inferstack mirror` packs what "
                "is missing where there is a way out."
            )
        return packed
    kept = cache_dir() / "charts" / pin.file
    return kept if kept.is_file() else pull(pin, kept.parent)


def pull(pin: Pin, folder: Path) -> Path:
    """Pull a chart into a folder and return its file, which is there whole or not at all.

    Raises:
        UserError: helm is missing, or says why not.
    """
    helm = tools.locate("helm")
    if helm is None:
        raise UserError("helm is not there yet: run `inferstack tools ensure`.")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pull-", dir=folder) as work:
        command = [str(helm), "pull", *pin.arguments, "--destination", work]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=_PULL_SECONDS, check=False, env=os.environ
            )
            said = "" if done.returncode == 0 else done.stderr.strip().removeprefix("Error: ")
        except subprocess.TimeoutExpired:
            said = f"no answer in {_PULL_SECONDS} s"
        packed = Path(work) / pin.file
        if said or not packed.is_file():
            raise UserError(
                f"The chart {pin.chart} {pin.version} cannot be pulled from {pin.repo}: "
                f"{said or f'the repository sent no {pin.file}'}. "
                "Set inferstack:addon.mirror to a folder that holds it."
            )
        return packed.replace(folder / pin.file)
