"""The switches above nodes, as node labels name them; pure functions of the labels.

``levels`` are label keys, nearest first: on EKS ``topology.k8s.aws/network-node-layer-3`` (the switch that the instance
hangs on), ``-2``, ``-1``. Two nodes with the same value of a key hang below the same switch of that level.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Labels = Mapping[str, str]


def below(nodes: Mapping[str, Labels], level: str) -> dict[str, tuple[str, ...]]:
    """Return the nodes below each switch of a level, by the switch's name; nodes without the label are in none."""
    found: dict[str, list[str]] = {}
    for name, labels in sorted(nodes.items()):
        if level in labels:
            found.setdefault(labels[level], []).append(name)
    return {switch: tuple(names) for switch, names in sorted(found.items())}


def closest(nodes: Mapping[str, Labels], levels: Sequence[str], count: int) -> tuple[str, ...] | None:
    """Return ``count`` nodes below one switch as near as possible, or None where no switch has so many.

    Of switches of one level that with the fewest nodes is taken, so that large groups stay whole.
    """
    for level in levels:
        able = [names for names in below(nodes, level).values() if len(names) >= count]
        if able:
            return min(able, key=lambda names: (len(names), names))[:count]
    return None
