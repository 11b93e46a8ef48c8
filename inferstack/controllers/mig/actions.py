"""The actions on the cluster, as data; `executor` carries them out."""

from __future__ import annotations

from dataclasses import dataclass

from inferstack.controllers.mig.cluster_state import Pod


@dataclass(frozen=True)
class Cordon:
    """Cordon a node, and label it with the rollout."""

    node: str


@dataclass(frozen=True)
class Uncordon:
    """Undo `Cordon`."""

    node: str


@dataclass(frozen=True)
class Evict:
    """Evict a pod; the API server refuses if a budget allows no disruption."""

    pod: Pod


@dataclass(frozen=True)
class SetLayout:
    """Request a layout from the MIG manager, and remove its last state, so that the next one is of this layout."""

    node: str
    layout: str | None
    """None removes the label."""
    empty: bool = True
    """Whether to do so only if no pod on the node holds a GPU."""


Action = Cordon | Uncordon | Evict | SetLayout
