"""The pinned charts of ``versions.yaml``, found in a mirror folder, in the cache or in their repository."""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from inferstack.errors import UserError
from inferstack.project import cache_dir, project_root
from inferstack.toolchain import binaries
from inferstack.versions import load

_PULL_SECONDS = 120
"""A chart has a few hundred KiB; a repository that takes longer counts as unresponsive."""


@dataclass(frozen=True)
class Pin:
    """One chart in one version."""

    chart: str
    version: str
    """As in Chart.yaml, with or without a leading v."""
    repo: str
    """https:// or oci:// address of the repository."""

    @property
    def file(self) -> str:
        """Name of the packed chart, as ``helm package`` and ``helm pull`` write it."""
        return f"{self.chart}-{self.version}.tgz"

    @property
    def arguments(self) -> list[str]:
        """Arguments of helm that select the chart in its repository."""
        if self.repo.startswith("oci://"):
            return [f"{self.repo}/{self.chart}", "--version", self.version]
        return [self.chart, "--repo", self.repo, "--version", self.version]


def pins() -> dict[str, Pin]:
    """Return all pinned charts by add-on."""
    return {name: Pin(**entry) for name, entry in load()["charts"].items()}


def mirror_folder(mirror: str) -> Path:
    """Return the absolute path of a mirror. A relative path is resolved against the project folder."""
    return project_root() / Path(mirror).expanduser()


def find(pin: Pin, mirror: str | None) -> Path:
    """Return the packed chart: from the mirror, or from the cache, or pulled into the cache.

    Args:
        pin: the chart.
        mirror: folder of packed charts. If given, nothing is pulled.

    Raises:
        UserError: the mirror lacks the chart, or it cannot be pulled.
    """
    if mirror is not None:
        packed = mirror_folder(mirror) / pin.file
        if not packed.is_file():
            raise UserError(
                f"inferstack:addon.mirror: {packed.parent} has no {pin.file}; run `inferstack mirror pack` on a "
                "machine with network access to add missing charts."
            )
        return packed
    kept = cache_dir() / "charts" / pin.file
    return kept if kept.is_file() else pull(pin, kept.parent)


def pull(pin: Pin, folder: Path) -> Path:
    """Pull a chart into a folder atomically and return its file.

    Raises:
        UserError: helm is missing or fails.
    """
    helm = binaries.locate("helm")
    if helm is None:
        raise UserError("helm is missing: run `inferstack tools ensure`.")
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".pull-", dir=folder) as work:
        command = [str(helm), "pull", *pin.arguments, "--destination", work]
        try:
            completed = subprocess.run(
                command, capture_output=True, text=True, timeout=_PULL_SECONDS, check=False, env=os.environ
            )
            reason = "" if completed.returncode == 0 else completed.stderr.strip().removeprefix("Error: ")
        except subprocess.TimeoutExpired:
            reason = f"timeout after {_PULL_SECONDS} s"
        packed = Path(work) / pin.file
        if reason or not packed.is_file():
            raise UserError(
                f"The chart {pin.chart} {pin.version} cannot be pulled from {pin.repo}: "
                f"{reason or f'the repository sent no {pin.file}'}. "
                "Set inferstack:addon.mirror to a folder that holds it."
            )
        return packed.replace(folder / pin.file)
