"""``inferstack mig usage``: use, fragmentation and cost of MIG instances."""

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
from inferstack.cli.options import ContextOption, KubeconfigOption
from inferstack.cli.output import Format, FormatOption
from inferstack.errors import UserError
from inferstack.mig import catalogue
from inferstack.mig.cost import Allocation
from inferstack.mig.errors import MigError
from inferstack.mig.exposition import make_exposition
from inferstack.mig.usage import NodeUse, Usage, make_usage

Row = dict[str, Any]


class By(enum.StrEnum):
    """Grouping of the rows."""

    NODE = "node"
    NAMESPACE = "namespace"
    QUOTA = "quota"
    METRICS = "metrics"


def usage(
    by: Annotated[
        By, typer.Option(help="A row for each node, namespace or quota; metrics: Prometheus text format.")
    ] = By.NODE,
    kubeconfig: KubeconfigOption = None,
    context: ContextOption = None,
    price: Annotated[
        list[str] | None, typer.Option(help="Price of a GPU-hour in USD, such as H200=8; repeatable.")
    ] = None,
    form: FormatOption = Format.TABLE,
) -> None:
    """Show the use, fragmentation and cost of a cluster's GPUs.

    Reads Nodes, Pods and ResourceQuotas. Prices come from --price, otherwise from the list price of the cheapest EC2
    instance type with that GPU, divided by its GPUs.
    """
    prices = {**list_prices(), **read_prices(price or [])}
    usage = asyncio.run(_read(kubeconfig, context, prices))
    if by is By.METRICS:
        typer.echo(make_exposition(usage), nl=False)
    elif by is By.NODE:
        output.emit([node_row(node, usage.mix) for node in usage.nodes], form)
    else:
        output.emit([owner_row(line) for line in (usage.namespaces if by is By.NAMESPACE else usage.quotas)], form)
    for name, reason in usage.unknown.items():
        output.say(f"{name} is skipped: {reason}")
    if waiting := ", ".join(f"{count} x {name}" for name, count in sorted(usage.pending.items())):
        output.say(f"pending pods request {waiting}")


async def _read(kubeconfig: Path | None, context: str | None, prices: Mapping[str, float]) -> Usage:
    async with connected(kubeconfig, context) as kube:
        kinds = ("Node", "Pod", "ResourceQuota")
        nodes, pods, quotas = [(await kube.list("v1", kind))["items"] for kind in kinds]
    try:
        return make_usage(nodes, pods, quotas, prices)
    except MigError as error:
        raise UserError(f"{error}.") from error


def list_prices() -> dict[str, float]:
    """Return the price of a GPU-hour in USD by model, from the cheapest EC2 instance type with that GPU."""
    hourly = cost.prices()["instances"]
    prices: dict[str, float] = {}
    for name, kind in catalogue.load().instance_types.items():
        if kind.gpu and hourly.get(name):
            each = hourly[name] / kind.gpus
            prices[kind.gpu] = min(each, prices.get(kind.gpu, each))
    return prices


def read_prices(options: list[str]) -> dict[str, float]:
    """Return the prices of ``GPU=USD`` options.

    Raises:
        UserError: naming the invalid option.
    """
    prices = {}
    for text in options:
        name, _, value = text.partition("=")
        try:
            prices[model := catalogue.gpu(name).name] = float(value)
        except MigError as error:
            raise UserError(f"--price {text}: {error}.") from error
        except ValueError:
            raise UserError(f"--price {text}: expected GPU=USD, such as H200=8.") from None
        if not 0 <= prices[model] < float("inf"):
            raise UserError(f"--price {text}: expected a price of 0 or more.")
    return prices


def node_row(use: NodeUse, mix: Mapping[str, int]) -> Row:
    """Return the row of a node; ratios are between 0 and 1."""
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


def owner_row(line: Allocation) -> Row:
    """Return the row of a namespace; the one without a name is idle capacity."""
    return {
        "namespace": line.owner or "(idle)",
        "instances": line.instances,
        "memorySlices": line.memory_slices,
        "computeSlices": line.compute_slices,
        "gpus": round(float(line.gpus), 3),
        "usdPerHour": None if line.usd_per_hour is None else round(line.usd_per_hour, 2),
    }
