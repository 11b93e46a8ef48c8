"""``inferstack node switches``: the network switches above the nodes, and the nodes closest together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import typer

from inferstack.apimachinery.objects import Object
from inferstack.cli import output
from inferstack.cli.cluster import run
from inferstack.cli.options import RehearsalKubeconfigOption
from inferstack.errors import UserError
from inferstack.k8s import KubeClient
from inferstack.network import topology
from inferstack.project import state_dir

EKS_LEVELS = tuple(f"topology.k8s.aws/network-node-layer-{layer}" for layer in (3, 2, 1))

Levels = Annotated[
    list[str] | None,
    typer.Option("--level", help="Label that names a switch, nearest first; repeatable (default: those of EKS)."),
]
Count = Annotated[int | None, typer.Option("--closest", "-n", min=1, help="Show the N nodes closest together.")]


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
        UserError: no switch has that many nodes below it.
    """
    names = topology.closest(nodes, levels, count)
    if names is None:
        most = max((len(below) for level in levels for below in topology.below(nodes, level).values()), default=0)
        raise UserError(f"No switch has {count} nodes below it; the largest has {most}.")
    level = next(level for level in levels if set(names) <= set(_beside(nodes, names[0], level)))
    return [{"node": name, "below": nodes[name][level], "level": level} for name in names]


def _beside(nodes: Mapping[str, topology.Labels], name: str, level: str) -> Sequence[str]:
    return topology.below(nodes, level).get(nodes[name].get(level, ""), ())


def switches(
    level: Levels = None,
    closest: Count = None,
    kubeconfig: RehearsalKubeconfigOption = None,
    form: output.FormatOption = output.Format.TABLE,
) -> None:
    """List network switches, or the nodes closest together."""
    levels = tuple(level or EKS_LEVELS)
    nodes = run(_labels, kubeconfig or state_dir() / "kubeconfig")
    rows = make_rows(nodes, levels)
    if not rows:
        raise UserError(f"No node has the label {' or '.join(levels)}; choose the labels of this network with --level.")
    if closest:
        output.emit(make_closest(nodes, levels, closest), form)
    elif form is output.Format.TABLE:
        output.emit([{**row, "nodes": ", ".join(row["nodes"])} for row in rows])
    else:
        output.emit(rows, form)


async def _labels(kube: KubeClient) -> dict[str, topology.Labels]:
    items = (await kube.list("v1", "Node"))["items"]
    return {item["metadata"]["name"]: item["metadata"].get("labels") or {} for item in items}
