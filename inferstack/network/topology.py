"""The switch topology above nodes, from node labels.

``levels`` are label keys, nearest switch first: on EKS ``topology.k8s.aws/network-node-layer-3`` (the switch that the
instance is attached to), ``-2``, ``-1``. Nodes with the same value of a key are below the same switch of that level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Labels = Mapping[str, str]


def below(nodes: Mapping[str, Labels], level: str) -> dict[str, tuple[str, ...]]:
    """Return the nodes below each switch of a level, by switch. Nodes without the label are omitted."""
    nodes_by_switch: dict[str, list[str]] = {}
    for name, labels in sorted(nodes.items()):
        if level in labels:
            nodes_by_switch.setdefault(labels[level], []).append(name)
    return {switch: tuple(names) for switch, names in sorted(nodes_by_switch.items())}


def closest(nodes: Mapping[str, Labels], levels: Sequence[str], count: int) -> tuple[str, ...] | None:
    """Return ``count`` nodes below the nearest common switch, or None if no switch has that many.

    Among the switches of a level the one with the fewest nodes is chosen, so that large groups stay available.
    """
    for level in levels:
        candidates = [names for names in below(nodes, level).values() if len(names) >= count]
        if candidates:
            return min(candidates, key=lambda names: (len(names), names))[:count]
    return None
