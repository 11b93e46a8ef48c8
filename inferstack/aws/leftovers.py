"""What a teardown left behind on AWS: looked for by tag and by name, for what controllers made is in nobody's state."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inferstack.aws.session import STACK_TAG, cluster_name, connected

if TYPE_CHECKING:
    import boto3


@dataclass(frozen=True)
class Leftover:
    """One thing that is still there, and may cost money."""

    kind: str
    """Service and kind, such as ``ec2 natgateway``."""
    name: str
    """ARN or id."""
    why: str
    """How it was found."""


def find(region: str, stack: str) -> list[Leftover]:
    """Return all that belongs to a stack in a region, sorted; empty after a clean teardown.

    What AWS still lists for a while though it is gone, such as terminated instances and keys that wait for their
    deletion, is not among it.

    Raises:
        UserError: no credentials, or AWS refuses or does not answer.
    """
    with connected(region) as session:
        found: dict[str, Leftover] = {}
        # What was found by a tag keeps that reason: the first of them is ours.
        for one in (*_tagged(session, stack), *_named(session, stack), *_of_controllers(session, stack)):
            # EC2's ids are unique, and are found both alone and in an ARN.
            found.setdefault(one.name.rpartition("/")[2] if one.kind.startswith("ec2 ") else one.name, one)
        return sorted(found.values(), key=lambda one: (one.kind, one.name))


def _tagged(session: boto3.Session, stack: str) -> Iterator[Leftover]:
    """Yield what carries our tag, EKS's, the load balancer controller's, or that of Kubernetes' own cloud provider."""
    name = cluster_name(stack)
    api = session.client("resourcegroupstaggingapi")
    tags = {
        STACK_TAG: [stack],
        "eks:cluster-name": [name],
        "elbv2.k8s.aws/cluster": [name],
        f"kubernetes.io/cluster/{name}": ["owned"],
    }
    for key, values in tags.items():
        filters: Any = [{"Key": key, "Values": values}]
        for page in api.get_paginator("get_resources").paginate(TagFilters=filters):
            arns = [one["ResourceARN"] for one in page["ResourceTagMappingList"]]
            for arn in _still_there(session, arns):
                yield Leftover(kind_of(arn), arn, f"tag {key}={values[0]}")


def kind_of(arn: str) -> str:
    """Return service and kind of an ARN: ``ec2 natgateway``, ``s3 bucket``."""
    _, _, service, _, _, rest = arn.split(":", 5)
    kind = rest.replace(":", "/").partition("/")[0] if "/" in rest or ":" in rest else {"s3": "bucket"}.get(service, "")
    return f"{service} {kind}".strip()


def _still_there(session: boto3.Session, arns: Iterable[str]) -> Iterator[str]:
    """Leave out what is listed though it is gone or going."""
    for arn in arns:
        gone = _GONE.get(kind_of(arn))
        if gone is None or not gone(session, arn.replace(":", "/").rpartition("/")[2]):
            yield arn


def _key_is_going(session: boto3.Session, key: str) -> bool:
    state = session.client("kms").describe_key(KeyId=key)["KeyMetadata"]["KeyState"]
    return state in ("PendingDeletion", "PendingReplicaDeletion")


def _instance_is_gone(session: boto3.Session, instance: str) -> bool:
    filters: Any = [{"Name": "instance-id", "Values": [instance]}]
    found = session.client("ec2").describe_instances(Filters=filters)["Reservations"]
    states = [one["State"]["Name"] for reservation in found for one in reservation["Instances"]]
    return all(state in ("terminated", "shutting-down") for state in states)


def _nat_is_gone(session: boto3.Session, gateway: str) -> bool:
    filters: Any = [{"Name": "nat-gateway-id", "Values": [gateway]}]
    found = session.client("ec2").describe_nat_gateways(Filters=filters)["NatGateways"]
    return all(one["State"] in ("deleted", "deleting") for one in found)


def _endpoint_is_gone(session: boto3.Session, endpoint: str) -> bool:
    filters: Any = [{"Name": "vpc-endpoint-id", "Values": [endpoint]}]
    found = session.client("ec2").describe_vpc_endpoints(Filters=filters)["VpcEndpoints"]
    return all(str(one["State"]).lower() in ("deleted", "deleting") for one in found)


_GONE: dict[str, Callable[[boto3.Session, str], bool]] = {
    "kms key": _key_is_going,
    "ec2 instance": _instance_is_gone,
    "ec2 natgateway": _nat_is_gone,
    "ec2 vpc-endpoint": _endpoint_is_gone,
}
"""Kinds that AWS goes on listing after their end, each with how to tell."""


def _named(session: boto3.Session, stack: str) -> Iterator[Leftover]:
    """Yield what has a name of ours and may have no tag: roles, cached images, logs that came late."""
    name = cluster_name(stack)
    for roles in session.client("iam").get_paginator("list_roles").paginate():
        for role in roles["Roles"]:
            # Roles are the account's: those of the same stack in other regions are not ours to tell of.
            if role["RoleName"].startswith(f"{name}-{session.region_name}-"):
                yield Leftover("iam role", role["Arn"], f"name {name}-...")
    for repositories in session.client("ecr").get_paginator("describe_repositories").paginate():
        for repository in repositories["repositories"]:
            if repository["repositoryName"].startswith(f"{name}/"):
                yield Leftover("ecr repository", repository["repositoryArn"], f"name {name}/...: cached images")
    logs = session.client("logs").get_paginator("describe_log_groups")
    for groups in logs.paginate(logGroupNamePrefix=f"/aws/eks/{name}/"):
        for group in groups["logGroups"]:
            yield Leftover("logs log-group", group["arn"].removesuffix(":*"), "name: the control plane's")


def _of_controllers(session: boto3.Session, stack: str) -> Iterator[Leftover]:
    """Yield interfaces and disks that Kubernetes' controllers made: they are in no state, and cost or block the VPC."""
    name = cluster_name(stack)
    ec2 = session.client("ec2")
    # The VPC CNI's own tag, and EKS's.
    for key in ("cluster.k8s.amazonaws.com/name", "eks:eks-cluster-name"):
        filters: Any = [{"Name": f"tag:{key}", "Values": [name]}]
        for interfaces in ec2.get_paginator("describe_network_interfaces").paginate(Filters=filters):
            for interface in interfaces["NetworkInterfaces"]:
                yield Leftover("ec2 network-interface", interface["NetworkInterfaceId"], f"tag {key}={name}")
    disks: Any = [{"Name": f"tag:kubernetes.io/cluster/{name}", "Values": ["owned"]}]
    for volumes in ec2.get_paginator("describe_volumes").paginate(Filters=disks):
        for volume in volumes["Volumes"]:
            yield Leftover("ec2 volume", volume["VolumeId"], f"tag kubernetes.io/cluster/{name}=owned")
