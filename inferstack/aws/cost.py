"""What a stack costs a month, roughly: list prices of ``prices.yaml`` of what runs all the time. Pure.

Counted are nodes, control planes, NAT gateways, interface endpoints and keys. Not counted are disks, load balancers,
logs, buckets and every byte that is moved: they follow use, which nobody knows before. Spot nodes and Capacity Blocks
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
    """USD a month; None where there is no price."""


@dataclass(frozen=True)
class Estimate:
    """What is counted, dearest first."""

    items: tuple[Item, ...]

    @property
    def usd(self) -> float:
        """USD a month of all that has a price."""
        return sum(item.usd or 0.0 for item in self.items)

    @property
    def unknown(self) -> tuple[str, ...]:
        """What has no price; the sum is then the least that it costs."""
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
    """Estimate what groups of nodes and what belongs to them cost a month.

    Args:
        groups: each with as many nodes as are to be counted. Of several instance types the dearest counts.
        control_planes: clusters.
        extended: their Kubernetes version is in extended support.
        nat_gateways: all of them.
        endpoints: interface endpoints, once for each zone that they are in.
        keys: KMS keys.
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
    """Estimate what the resources of a stack cost a month.

    Args:
        resources: token, name and inputs of each, as Pulumi has them. Tokens that cost nothing by themselves, or are
            not counted, are passed over.
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
    types = tuple(str(one) for one in inputs.get("instanceTypes") or ())
    return Group(name, types, str(inputs.get("capacityType", "ON_DEMAND")), int(scaling.get("desiredSize", 0)))


def _nodes(group: Group) -> Item:
    found = list(_priced(group))
    name, price = max(
        found, key=lambda one: one[1], default=(" or ".join(group.instance_types) or "unknown type", None)
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
