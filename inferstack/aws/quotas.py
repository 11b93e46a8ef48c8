"""Service quotas of EC2, VPC and EKS, compared with what a stack requires and what is in use."""

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
    """A node group, as far as quotas and cost depend on it."""

    name: str
    instance_types: tuple[str, ...]
    capacity: str
    """ON_DEMAND, SPOT or CAPACITY_BLOCK."""
    nodes: int
    """Maximum number of nodes."""


@dataclass(frozen=True)
class Requirement:
    """What a stack requires of one quota."""

    service: str
    """Service code of Service Quotas."""
    code: str
    name: str
    amount: int
    why: str


@dataclass(frozen=True)
class QuotaCheck:
    """A requirement, compared with the account's quota."""

    requirement: Requirement
    limit: int | None
    """None if Service Quotas does not know it."""
    others: int
    """Current use by others than this stack."""

    @property
    def enough(self) -> bool:
        """Whether the quota suffices. An unknown limit counts as sufficient."""
        return self.limit is None or self.others + self.requirement.amount <= self.limit


def requirements(groups: Iterable[Group], *, nat_gateways: int, endpoints: int) -> list[Requirement]:
    """Return what a stack requires of each quota with all node groups at their maximum size.

    The instance type with the most vCPUs of a group counts. Capacity Blocks do not count against on-demand quotas;
    On-Demand Capacity Reservations do.

    Args:
        groups: all node groups of the stack.
        nat_gateways: number of NAT gateways; each has an elastic IP.
        endpoints: number of interface endpoints of the VPC.
    """
    vcpus: dict[tuple[str, str], int] = {}
    reasons: dict[tuple[str, str], list[str]] = {}
    for group in groups:
        if group.capacity == "CAPACITY_BLOCK":
            continue
        types = [catalogue.instance_type(name) for name in group.instance_types]
        largest = max(types, key=lambda item: item.vcpus)
        quota = (_SPOT if group.capacity == "SPOT" else _ON_DEMAND)[largest.family]
        vcpus[quota] = vcpus.get(quota, 0) + largest.vcpus * group.nodes
        reasons.setdefault(quota, []).append(f"{group.name}: {group.nodes} x {largest.name}")
    return [
        *(Requirement("ec2", *quota, amount, "; ".join(reasons[quota])) for quota, amount in vcpus.items()),
        Requirement("ec2", "L-0263D0A3", "EC2-VPC Elastic IPs", nat_gateways, f"{nat_gateways} NAT gateways"),
        Requirement("vpc", "L-F678F1CE", "VPCs per Region", 1, "the stack's own"),
        Requirement("vpc", "L-A4707A72", "Internet gateways per Region", 1, "the VPC's"),
        Requirement("vpc", "L-FE5A380F", "NAT gateways per Availability Zone", 1, "of the zone's"),
        Requirement("vpc", "L-29B6F2EB", "Interface VPC endpoints per VPC", endpoints, f"{endpoints} services"),
        Requirement("eks", "L-1194D53C", "Clusters", 1, "the stack's own"),
    ]


def check_quotas(region: str, account: str, stack: str, required: Sequence[Requirement]) -> list[QuotaCheck]:
    """Return the quota and current use for each requirement, from AWS.

    Raises:
        UserError: there are no credentials, they belong to another account, or access is denied.
    """
    with connected(region) as session:
        current_account = session.client("sts").get_caller_identity()["Account"]
        if current_account != account:
            raise UserError(
                f"inferstack:cluster.aws.accountId: is {account}, but the credentials belong to the AWS account "
                f"{current_account}."
            )
        used = _used(session, stack)
        return [QuotaCheck(item, _limit(session, item), used.get(item.code, 0)) for item in required]


def _limit(session: boto3.Session, requirement: Requirement) -> int | None:
    quotas = session.client("service-quotas")
    names = {"ServiceCode": requirement.service, "QuotaCode": requirement.code}
    # The account's own value if there is one, otherwise the AWS default.
    for call in (quotas.get_service_quota, quotas.get_aws_default_service_quota):
        try:
            return int(call(**names)["Quota"]["Value"])
        except quotas.exceptions.NoSuchResourceException:
            continue
    return None


def _used(session: boto3.Session, stack: str) -> dict[str, int]:
    """Return the use by others than the stack, by quota code. Quotas within the stack's own VPC are not listed."""
    ec2 = session.client("ec2")
    used: dict[str, int] = {}
    running = [{"Name": "instance-state-name", "Values": ["pending", "running"]}]
    for page in ec2.get_paginator("describe_instances").paginate(Filters=running):  # type: ignore[arg-type]
        for instance in (item for reservation in page["Reservations"] for item in reservation["Instances"]):
            family = _family(instance["InstanceType"])
            lifecycle = instance.get("InstanceLifecycle")
            if family is None or lifecycle == "capacity-block" or _belongs_to_stack(instance.get("Tags", []), stack):
                continue
            code, _ = (_SPOT if lifecycle == "spot" else _ON_DEMAND)[family]
            used[code] = used.get(code, 0) + _vcpus(instance)
    addresses = ec2.describe_addresses()["Addresses"]
    vpcs = [item for page in ec2.get_paginator("describe_vpcs").paginate() for item in page["Vpcs"]]
    gateways = [
        item for page in ec2.get_paginator("describe_internet_gateways").paginate() for item in page["InternetGateways"]
    ]
    used["L-0263D0A3"] = sum(not _belongs_to_stack(item.get("Tags", []), stack) for item in addresses)
    used["L-F678F1CE"] = sum(not _belongs_to_stack(item.get("Tags", []), stack) for item in vpcs)
    used["L-A4707A72"] = sum(not _belongs_to_stack(item.get("Tags", []), stack) for item in gateways)
    eks = session.client("eks")
    clusters = [name for page in eks.get_paginator("list_clusters").paginate() for name in page["clusters"]]
    used["L-1194D53C"] = len([name for name in clusters if name != cluster_name(stack)])
    return used


def _vcpus(instance: InstanceTypeDef) -> int:
    known = catalogue.load().instance_types.get(instance["InstanceType"])
    options = instance.get("CpuOptions", {})
    return known.vcpus if known else options.get("CoreCount", 0) * options.get("ThreadsPerCore", 0)


def _family(instance_type: str) -> str | None:
    """Return the quota family of an instance type by its first letters; None for families that no stack uses."""
    letters = "".join(itertools.takewhile(str.isalpha, instance_type))
    if letters in ("g", "gr", "vt"):
        return "G"
    if letters == "p":
        return "P"
    apart = ("dl", "hpc", "inf", "mac", "trn")
    return "standard" if letters.startswith(_STANDARD_FAMILIES) and letters not in apart else None


def _belongs_to_stack(tags: Sequence[TagTypeDef], stack: str) -> bool:
    return any(tag.get("Key") == STACK_TAG and tag.get("Value") == stack for tag in tags)
