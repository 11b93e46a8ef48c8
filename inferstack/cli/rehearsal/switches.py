"""Which nodes hang below which switch of the network, and which are closest to each other."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from inferstack.apimachinery.objects import Object
from inferstack.cli import output
from inferstack.cli.cluster import connected
from inferstack.cli.rehearsal import node
from inferstack.errors import UserError
from inferstack.network import topology
from inferstack.project import state_dir

EKS_LEVELS = tuple(f"topology.k8s.aws/network-node-layer-{layer}" for layer in (3, 2, 1))

Levels = Annotated[
    list[str] | None,
    typer.Option("--level", help="Label that names a switch, nearest first; may be repeated. Default: those of EKS."),
]
Count = Annotated[int | None, typer.Option("--closest", "-n", min=1, help="Show this many nodes, closest together.")]


def register(_parent: typer.Typer) -> None:
    """Add ``switches`` to ``inferstack node``."""
    node.app.command("switches")(switches)


def make_rows(nodes: Mapping[str, topology.Labels], levels: Sequence[str]) -> list[Object]:
    """Return a row for each switch, nearest level first."""
    return [
        {"level": level, "switch": switch, "count": len(names), "nodes": list(names)}
        for level in levels
        for switch, names in topology.below(nodes, level).items()
    ]


def make_closest(nodes: Mapping[str, topology.Labels], levels: Sequence[str], count: int) -> list[Object]:
    """Return a row for each of the closest nodes.

    Raises:
        UserError: no switch has so many below it.
    """
    found = topology.closest(nodes, levels, count)
    if found is None:
        most = max((len(names) for level in levels for names in topology.below(nodes, level).values()), default=0)
        raise UserError(f"No switch has {count} nodes below it; the largest has {most}.")
    level = next(level for level in levels if set(found) <= set(_beside(nodes, found[0], level)))
    return [{"node": name, "below": nodes[name][level], "level": level} for name in found]


def _beside(nodes: Mapping[str, topology.Labels], name: str, level: str) -> Sequence[str]:
    return topology.below(nodes, level).get(nodes[name].get(level, ""), ())


def switches(
    level: Levels = None,
    closest: Count = None,
    kubeconfig: node.Kubeconfig = None,
    form: output.FormatOption = output.Format.TABLE,
) -> None:
    """List the switches above the nodes, or the nodes that are closest together."""
    levels = tuple(level or EKS_LEVELS)
    nodes = asyncio.run(_labels(kubeconfig))
    rows = make_rows(nodes, levels)
    if not rows:
        raise UserError(f"No node has a label {' or '.join(levels)}; name those that this network has with --level.")
    if closest:
        output.emit(make_closest(nodes, levels, closest), form)
    elif form is output.Format.TABLE:
        output.emit([{**row, "nodes": ", ".join(row["nodes"])} for row in rows])
    else:
        output.emit(rows, form)


async def _labels(kubeconfig: Path | None) -> dict[str, topology.Labels]:
    async with connected(kubeconfig or state_dir() / "kubeconfig") as kube:
        items = (await kube.list("v1", "Node"))["items"]
    return {item["metadata"]["name"]: item["metadata"].get("labels") or {} for item in items}
