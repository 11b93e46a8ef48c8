"""Estimate of the monthly cost of a stack, from the list prices in ``prices.yaml``. Pure.

The estimate covers what runs permanently: nodes, control planes, NAT gateways, interface endpoints and keys. Disks,
load balancers, logs, buckets and data transfer are excluded, because they depend on use. Spot nodes and Capacity Blocks
are counted at the on-demand price, so the estimate is too high for them.
"""

from __future__ import annotations

import functools
import importlib.resources
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from inferstack.aws.quotas import Group

HOURS_A_MONTH = 730
"""365 x 24 / 12, as AWS counts in its own examples."""

_NODES, _CLUSTER = "aws:eks/nodeGroup:NodeGroup", "aws:eks/cluster:Cluster"
_NAT, _ENDPOINT, _KEY = "aws:ec2/natGateway:NatGateway", "aws:ec2/vpcEndpoint:VpcEndpoint", "aws:kms/key:Key"


@dataclass(frozen=True)
class Item:
    """One line of an estimate."""

    what: str
    usd: float | None
    """USD per month; None if the price is unknown."""


@dataclass(frozen=True)
class Estimate:
    """A cost estimate, most expensive item first."""

    items: tuple[Item, ...]

    @property
    def usd(self) -> float:
        """USD per month of all items with a known price."""
        return sum(item.usd or 0.0 for item in self.items)

    @property
    def unknown(self) -> tuple[str, ...]:
        """Items without a known price. If there are any, the sum is a lower bound."""
        return tuple(item.what for item in self.items if item.usd is None)


@functools.cache
def prices() -> dict[str, Any]:
    """Return the content of ``prices.yaml``."""
    content: dict[str, Any] = yaml.safe_load((importlib.resources.files("inferstack.aws") / "prices.yaml").read_text())
    return content


def monthly(
    groups: Iterable[Group],
    *,
    control_planes: int = 0,
    extended: bool = False,
    nat_gateways: int = 0,
    endpoints: int = 0,
    keys: int = 0,
) -> Estimate:
    """Estimate the monthly cost of node groups and other resources.

    Args:
        groups: node groups with the number of nodes to count. Of several instance types the most expensive one counts.
        control_planes: number of EKS clusters.
        extended: whether their Kubernetes version is in extended support.
        nat_gateways: number of NAT gateways.
        endpoints: number of interface endpoints times their zones.
        keys: number of KMS keys.
    """
    others = prices()["others"]
    items = [_nodes(group) for group in groups]
    plane = others["controlPlaneExtended" if extended else "controlPlane"]
    for what, number, usd in (
        ("control plane", control_planes, plane * HOURS_A_MONTH),
        ("NAT gateway", nat_gateways, others["natGateway"] * HOURS_A_MONTH),
        ("interface endpoint in a zone", endpoints, others["interfaceEndpoint"] * HOURS_A_MONTH),
        ("KMS key", keys, others["keyPerMonth"]),
    ):
        if number:
            items.append(Item(f"{number} x {what}", number * usd))
    return Estimate(tuple(sorted(items, key=lambda item: -(item.usd if item.usd is not None else float("inf")))))


def of_resources(resources: Iterable[tuple[str, str, Mapping[str, Any]]]) -> Estimate:
    """Estimate the monthly cost of the resources of a stack.

    Args:
        resources: type token, name and inputs of each Pulumi resource. Other types are ignored.
    """
    groups: list[Group] = []
    number = dict.fromkeys((_CLUSTER, _NAT, _KEY), 0)
    zones, extended = 0, False
    for token, name, inputs in resources:
        if token == _NODES:
            groups.append(_group(name, inputs))
        elif token == _ENDPOINT and inputs.get("vpcEndpointType") == "Interface":
            zones += len(inputs.get("subnetIds") or [None])
        elif token in number:
            number[token] += 1
            extended |= (inputs.get("upgradePolicy") or {}).get("supportType") == "EXTENDED"
    return monthly(
        groups,
        control_planes=number[_CLUSTER],
        extended=extended,
        nat_gateways=number[_NAT],
        endpoints=zones,
        keys=number[_KEY],
    )


def _group(name: str, inputs: Mapping[str, Any]) -> Group:
    scaling = inputs.get("scalingConfig") or {}
    types = tuple(str(item) for item in inputs.get("instanceTypes") or ())
    return Group(name, types, str(inputs.get("capacityType", "ON_DEMAND")), int(scaling.get("desiredSize", 0)))


def _nodes(group: Group) -> Item:
    priced = list(_priced(group))
    name, price = max(
        priced, key=lambda item: item[1], default=(" or ".join(group.instance_types) or "unknown type", None)
    )
    what = f"{group.name}: {group.nodes} x {name}"
    if not group.nodes:
        return Item(what, 0.0)
    return Item(what, None if price is None else price * group.nodes * HOURS_A_MONTH)


def _priced(group: Group) -> Iterator[tuple[str, float]]:
    for name in group.instance_types:
        price = prices()["instances"].get(name)
        if price is not None:
            yield name, float(price)
