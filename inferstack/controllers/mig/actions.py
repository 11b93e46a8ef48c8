"""What may be done to the cluster. Pure data; `controller` carries it out."""

from __future__ import annotations

from dataclasses import dataclass

from inferstack.controllers.mig.world import Pod


@dataclass(frozen=True)
class Cordon:
    """Let no pod come to a node, and mark it as ours."""

    node: str


@dataclass(frozen=True)
class Uncordon:
    """Take back what `Cordon` did, where it was ours."""

    node: str


@dataclass(frozen=True)
class Evict:
    """Ask the API server to let a pod go; it refuses where a budget allows no disruption."""

    pod: Pod


@dataclass(frozen=True)
class SetLayout:
    """Ask the MIG manager for a layout, and take its old state away: what it says from then on is of this layout."""

    node: str
    layout: str | None
    """None: take the label away."""
    empty: bool = True
    """Only where no pod holds a GPU there."""


Action = Cordon | Uncordon | Evict | SetLayout
