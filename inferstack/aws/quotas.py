"""Whether the account may have what a stack wants: quotas of EC2, VPC and EKS against need and present use."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from inferstack.aws import catalogue
from inferstack.aws.session import STACK_TAG, cluster_name, connected
from inferstack.errors import UserError

if TYPE_CHECKING:
    import boto3
    from types_boto3_ec2.type_defs import InstanceTypeDef, TagTypeDef

# Codes and names as Service Quotas lists them; the same in every region.
_ON_DEMAND = {
    "standard": ("L-1216C47A", "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances"),
    "G": ("L-DB2E81BA", "Running On-Demand G and VT instances"),
    "P": ("L-417A185B", "Running On-Demand P instances"),
}
_SPOT = {
    "standard": ("L-34B43A08", "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests"),
    "G": ("L-3819A6DF", "All G and VT Spot Instance Requests"),
    "P": ("L-7212CCBC", "All P5 and P4, P3, P2 Spot Instance Requests"),
}
_STANDARD_FAMILIES = tuple("acdhimrtz")


@dataclass(frozen=True)
class Group:
    """A group of nodes as far as quotas go."""

    name: str
    instance_types: tuple[str, ...]
    capacity: str
    """ON_DEMAND, SPOT or CAPACITY_BLOCK."""
    nodes: int
    """At most."""


@dataclass(frozen=True)
class Need:
    """What a stack takes of one quota."""

    service: str
    """Service code of Service Quotas."""
    code: str
    name: str
    amount: int
    why: str


@dataclass(frozen=True)
class Answer:
    """A need against what the account may have."""

    need: Need
    limit: int | None
    """None where Service Quotas does not tell."""
    others: int
    """What is in use already and not by this stack."""

    @property
    def enough(self) -> bool:
        """Tell whether the stack's need fits; an unknown limit is not held against it."""
        return self.limit is None or self.others + self.need.amount <= self.limit


def need(groups: Iterable[Group], *, nat_gateways: int, endpoints: int) -> list[Need]:
    """Return what a stack takes of each quota when all its groups are at their largest.

    vCPUs are counted of the largest of a group's types. Capacity Blocks do not count against on-demand quotas; nodes
    from an On-Demand Capacity Reservation do.

    Args:
        groups: all of the stack.
        nat_gateways: each has an elastic IP.
        endpoints: interface endpoints of the VPC.
    """
    vcpus: dict[tuple[str, str], int] = {}
    reasons: dict[tuple[str, str], list[str]] = {}
    for group in groups:
        if group.capacity == "CAPACITY_BLOCK":
            continue
        types = [catalogue.instance_type(name) for name in group.instance_types]
        largest = max(types, key=lambda one: one.vcpus)
        quota = (_SPOT if group.capacity == "SPOT" else _ON_DEMAND)[largest.family]
        vcpus[quota] = vcpus.get(quota, 0) + largest.vcpus * group.nodes
        reasons.setdefault(quota, []).append(f"{group.name}: {group.nodes} x {largest.name}")
    return [
        *(Need("ec2", *quota, amount, "; ".join(reasons[quota])) for quota, amount in vcpus.items()),
        Need("ec2", "L-0263D0A3", "EC2-VPC Elastic IPs", nat_gateways, f"{nat_gateways} NAT gateways"),
        Need("vpc", "L-F678F1CE", "VPCs per Region", 1, "the stack's own"),
        Need("vpc", "L-A4707A72", "Internet gateways per Region", 1, "the VPC's"),
        Need("vpc", "L-FE5A380F", "NAT gateways per Availability Zone", 1, "of the zone's"),
        Need("vpc", "L-29B6F2EB", "Interface VPC endpoints per VPC", endpoints, f"{endpoints} services"),
        Need("eks", "L-1194D53C", "Clusters", 1, "the stack's own"),
    ]


def look_up(region: str, account: str, stack: str, needs: Sequence[Need]) -> list[Answer]:
    """Ask AWS for limit and use of each need.

    Raises:
        UserError: no credentials, those of another account, or AWS refuses.
    """
    with connected(region) as session:
        found = session.client("sts").get_caller_identity()["Account"]
        if found != account:
            raise UserError(
                f"The credentials are of the AWS account {found}, inferstack:cluster.aws.accountId is {account}."
            )
        used = _used(session, stack)
        return [Answer(one, _limit(session, one), used.get(one.code, 0)) for one in needs]


def _limit(session: boto3.Session, asked: Need) -> int | None:
    quotas = session.client("service-quotas")
    names = {"ServiceCode": asked.service, "QuotaCode": asked.code}
    # The account's own where it has one, else AWS's default.
    for call in (quotas.get_service_quota, quotas.get_aws_default_service_quota):
        try:
            return int(call(**names)["Quota"]["Value"])
        except quotas.exceptions.NoSuchResourceException:
            continue
    return None


def _used(session: boto3.Session, stack: str) -> dict[str, int]:
    """Return by code what others than the stack use; a quota that is missing here is empty or within our own VPC."""
    ec2 = session.client("ec2")
    used: dict[str, int] = {}
    running = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    for page in ec2.get_paginator("describe_instances").paginate(Filters=running):  # type: ignore[arg-type]
        for instance in (one for reservation in page["Reservations"] for one in reservation["Instances"]):
            family = _family(instance["InstanceType"])
            lifecycle = instance.get("InstanceLifecycle")
            if family is None or lifecycle == "capacity-block" or _ours(instance.get("Tags", []), stack):
                continue
            code, _ = (_SPOT if lifecycle == "spot" else _ON_DEMAND)[family]
            used[code] = used.get(code, 0) + _vcpus(instance)
    addresses = ec2.describe_addresses()["Addresses"]
    vpcs = [one for page in ec2.get_paginator("describe_vpcs").paginate() for one in page["Vpcs"]]
    gateways = [
        one for page in ec2.get_paginator("describe_internet_gateways").paginate() for one in page["InternetGateways"]
    ]
    used["L-0263D0A3"] = sum(not _ours(one.get("Tags", []), stack) for one in addresses)
    used["L-F678F1CE"] = sum(not _ours(one.get("Tags", []), stack) for one in vpcs)
    used["L-A4707A72"] = sum(not _ours(one.get("Tags", []), stack) for one in gateways)
    eks = session.client("eks")
    clusters = [name for page in eks.get_paginator("list_clusters").paginate() for name in page["clusters"]]
    used["L-1194D53C"] = len([name for name in clusters if name != cluster_name(stack)])
    return used


def _vcpus(instance: InstanceTypeDef) -> int:
    known = catalogue.load().instance_types.get(instance["InstanceType"])
    options = instance.get("CpuOptions", {})
    return known.vcpus if known else options.get("CoreCount", 0) * options.get("ThreadsPerCore", 0)


def _family(instance_type: str) -> str | None:
    """Return the quota family of any instance type by its first letters; None for families that no stack needs."""
    letters = "".join(itertools.takewhile(str.isalpha, instance_type))
    if letters in ("g", "gr", "vt"):
        return "G"
    if letters == "p":
        return "P"
    apart = ("dl", "hpc", "inf", "mac", "trn")
    return "standard" if letters.startswith(_STANDARD_FAMILIES) and letters not in apart else None


def _ours(tags: Sequence[TagTypeDef], stack: str) -> bool:
    return any(tag.get("Key") == STACK_TAG and tag.get("Value") == stack for tag in tags)
