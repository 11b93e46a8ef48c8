"""Who uses which MIG instances of a cluster, what is broken up and what it costs."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from inferstack.aws import cost
from inferstack.cli import output
from inferstack.cli.cluster import connected
from inferstack.cli.output import Format, FormatOption
from inferstack.errors import UserError
from inferstack.mig import catalogue
from inferstack.mig.cost import Line
from inferstack.mig.errors import MigError
from inferstack.mig.exposition import make_exposition
from inferstack.mig.usage import NodeUse, Usage, make_usage

Row = dict[str, Any]


class By(enum.StrEnum):
    """What a row stands for."""

    NODE = "node"
    NAMESPACE = "namespace"
    QUOTA = "quota"
    METRICS = "metrics"


def usage(
    by: Annotated[
        By, typer.Option(help="A row for each node, namespace or quota; metrics: Prometheus' text.")
    ] = By.NODE,
    kubeconfig: Annotated[Path | None, typer.Option(help="The cluster; by default kubectl's.")] = None,
    context: Annotated[str | None, typer.Option(help="A context of the kubeconfig.")] = None,
    price: Annotated[
        list[str] | None, typer.Option(help="GPU=USD, what an hour of a whole GPU costs, such as H200=8; repeatable.")
    ] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Show how much of a cluster's GPUs is in use, broken up and paid by whom, from Nodes, Pods and ResourceQuotas.

    Prices: --price, else the list price of the EC2 instance type of a board, divided by its GPUs.
    """
    prices = {**list_prices(), **read_prices(price or [])}
    found = asyncio.run(_read(kubeconfig, context, prices))
    if by is By.METRICS:
        typer.echo(make_exposition(found), nl=False)
    elif by is By.NODE:
        output.emit([node_row(use, found.mix) for use in found.nodes], form)
    else:
        output.emit([owner_row(line) for line in (found.namespaces if by is By.NAMESPACE else found.quotas)], form)
    for what, why in found.unknown.items():
        output.say(f"{what} is left out: {why}")
    if waiting := ", ".join(f"{count} x {name}" for name, count in sorted(found.waiting.items())):
        output.say(f"pods without a node wait for {waiting}")


async def _read(kubeconfig: Path | None, context: str | None, prices: Mapping[str, float]) -> Usage:
    async with connected(kubeconfig, context) as kube:
        kinds = ("Node", "Pod", "ResourceQuota")
        nodes, pods, quotas = [(await kube.list("v1", kind))["items"] for kind in kinds]
    try:
        return make_usage(nodes, pods, quotas, prices)
    except MigError as error:
        raise UserError(f"{error}.") from error


def list_prices() -> dict[str, float]:
    """Return USD for an hour of a whole GPU by board: of the cheapest instance type that has it and a price."""
    known = cost.prices()["instances"]
    found: dict[str, float] = {}
    for name, kind in catalogue.load().instance_types.items():
        if kind.gpu and known.get(name):
            each = known[name] / kind.gpus
            found[kind.gpu] = min(each, found.get(kind.gpu, each))
    return found


def read_prices(given: list[str]) -> dict[str, float]:
    """Return the prices of ``GPU=USD`` options.

    Raises:
        UserError: naming a wrong one.
    """
    found = {}
    for text in given:
        name, _, value = text.partition("=")
        try:
            found[catalogue.gpu(name).name] = float(value)
        except MigError as error:
            raise UserError(f"--price {text}: {error}.") from error
        except ValueError:
            raise UserError(f"--price {text}: give a GPU and USD an hour, such as H200=8.") from None
        if not 0 <= found[name] < float("inf"):
            raise UserError(f"--price {text}: a price is 0 or more.")
    return found


def node_row(use: NodeUse, mix: Mapping[str, int]) -> Row:
    """Return the line of a node; ratios from 0 to 1."""
    (memory, compute), (all_memory, all_compute) = use.slices(use.used), use.total
    return {
        "node": use.node,
        "gpu": use.model,
        "gpus": use.gpus,
        "instances": output.flow(dict(use.instances)),
        "used": output.flow(dict(use.used)),
        "memory": f"{memory}/{all_memory}",
        "compute": f"{compute}/{all_compute}",
        "utilisation": round(memory / all_memory, 3) if all_memory else 0.0,
        "fragmentation": round(use.fragmentation(mix), 3),
    }


def owner_row(line: Line) -> Row:
    """Return the line of a namespace; the one without a name is what no pod holds."""
    return {
        "namespace": line.owner or "(idle)",
        "instances": line.instances,
        "memorySlices": line.memory_slices,
        "computeSlices": line.compute_slices,
        "gpus": round(float(line.gpus), 3),
        "usdPerHour": None if line.usd_per_hour is None else round(line.usd_per_hour, 2),
    }
