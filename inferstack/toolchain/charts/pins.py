"""The charts of ``versions.yaml``."""

from __future__ import annotations

from dataclasses import dataclass

from inferstack.versions import load


@dataclass(frozen=True)
class Pin:
    """One chart in one version."""

    chart: str
    version: str
    """As the chart says it, with or without a leading v."""
    repo: str
    """https:// or oci:// address of the repository."""

    @property
    def file(self) -> str:
        """Name of the packed chart, as ``helm package`` and ``helm pull`` write it."""
        return f"{self.chart}-{self.version}.tgz"

    @property
    def arguments(self) -> list[str]:
        """How helm is told of the chart in its repository."""
        if self.repo.startswith("oci://"):
            return [f"{self.repo}/{self.chart}", "--version", self.version]
        return [self.chart, "--repo", self.repo, "--version", self.version]


def pins() -> dict[str, Pin]:
    """Return all pinned charts by the name of their add-on."""
    return {name: Pin(**entry) for name, entry in load()["charts"].items()}
