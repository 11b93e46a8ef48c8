"""AWS resources that remain after a teardown, found by tag and by name.

Controllers create resources that are in no Pulumi state, so the state alone is not sufficient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from inferstack.aws.session import STACK_TAG, cluster_name, connected

if TYPE_CHECKING:
    import boto3


@dataclass(frozen=True)
class Leftover:
    """A remaining resource, which may cost money."""

    kind: str
    """Service and kind, such as ``ec2 natgateway``."""
    name: str
    """ARN or ID."""
    why: str
    """The tag or name by which it was found."""


def find(region: str, stack: str) -> list[Leftover]:
    """Return all resources of a stack in a region, sorted; empty after a clean teardown.

    Resources that AWS lists for a while after their deletion, such as terminated instances and keys pending deletion,
    are excluded.

    Raises:
        UserError: there are no credentials, access is denied, or AWS does not respond.
    """
    with connected(region) as session:
        leftovers: dict[str, Leftover] = {}
        # A resource found several times keeps the first reason; the stack's own tag comes first.
        for resource in (*_tagged(session, stack), *_named(session, stack), *_of_controllers(session, stack)):
            # EC2 IDs are unique and occur both alone and in ARNs.
            leftovers.setdefault(
                resource.name.rpartition("/")[2] if resource.kind.startswith("ec2 ") else resource.name, resource
            )
        return sorted(leftovers.values(), key=lambda resource: (resource.kind, resource.name))


def _tagged(session: boto3.Session, stack: str) -> Iterator[Leftover]:
    """Yield resources with the tag of the stack, EKS, the load balancer controller or Kubernetes' cloud provider."""
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
            arns = [resource["ResourceARN"] for resource in page["ResourceTagMappingList"]]
            for arn in _still_there(session, arns):
                yield Leftover(kind_of(arn), arn, f"tag {key}={values[0]}")


def kind_of(arn: str) -> str:
    """Return service and resource type of an ARN: ``ec2 natgateway``, ``s3 bucket``."""
    _, _, service, _, _, rest = arn.split(":", 5)
    kind = rest.replace(":", "/").partition("/")[0] if "/" in rest or ":" in rest else {"s3": "bucket"}.get(service, "")
    return f"{service} {kind}".strip()


def _still_there(session: boto3.Session, arns: Iterable[str]) -> Iterator[str]:
    """Yield the ARNs whose resource is neither deleted nor being deleted."""
    for arn in arns:
        gone = _GONE.get(kind_of(arn))
        if gone is None or not gone(session, arn.replace(":", "/").rpartition("/")[2]):
            yield arn


def _key_is_going(session: boto3.Session, key: str) -> bool:
    state = session.client("kms").describe_key(KeyId=key)["KeyMetadata"]["KeyState"]
    return state in ("PendingDeletion", "PendingReplicaDeletion")


def _instance_is_gone(session: boto3.Session, instance: str) -> bool:
    filters: Any = [{"Name": "instance-id", "Values": [instance]}]
    leftovers = session.client("ec2").describe_instances(Filters=filters)["Reservations"]
    states = [resource["State"]["Name"] for reservation in leftovers for resource in reservation["Instances"]]
    return all(state in ("terminated", "shutting-down") for state in states)


def _nat_is_gone(session: boto3.Session, gateway: str) -> bool:
    filters: Any = [{"Name": "nat-gateway-id", "Values": [gateway]}]
    leftovers = session.client("ec2").describe_nat_gateways(Filters=filters)["NatGateways"]
    return all(resource["State"] in ("deleted", "deleting") for resource in leftovers)


def _endpoint_is_gone(session: boto3.Session, endpoint: str) -> bool:
    filters: Any = [{"Name": "vpc-endpoint-id", "Values": [endpoint]}]
    leftovers = session.client("ec2").describe_vpc_endpoints(Filters=filters)["VpcEndpoints"]
    return all(str(resource["State"]).lower() in ("deleted", "deleting") for resource in leftovers)


_GONE: dict[str, Callable[[boto3.Session, str], bool]] = {
    "kms key": _key_is_going,
    "ec2 instance": _instance_is_gone,
    "ec2 natgateway": _nat_is_gone,
    "ec2 vpc-endpoint": _endpoint_is_gone,
}
"""Kinds that AWS lists after their deletion, each with a check for that."""


def _named(session: boto3.Session, stack: str) -> Iterator[Leftover]:
    """Yield resources with a name of the stack that may have no tag: roles, cached images, late logs."""
    name = cluster_name(stack)
    for roles in session.client("iam").get_paginator("list_roles").paginate():
        for role in roles["Roles"]:
            # Roles are global: skip those of the same stack in other regions.
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
    """Yield interfaces and disks created by Kubernetes controllers, which cost money or block the VPC's deletion."""
    name = cluster_name(stack)
    ec2 = session.client("ec2")
    # The tags of the VPC CNI and of EKS.
    for key in ("cluster.k8s.amazonaws.com/name", "eks:eks-cluster-name"):
        filters: Any = [{"Name": f"tag:{key}", "Values": [name]}]
        for interfaces in ec2.get_paginator("describe_network_interfaces").paginate(Filters=filters):
            for interface in interfaces["NetworkInterfaces"]:
                yield Leftover("ec2 network-interface", interface["NetworkInterfaceId"], f"tag {key}={name}")
    disks: Any = [{"Name": f"tag:kubernetes.io/cluster/{name}", "Values": ["owned"]}]
    for volumes in ec2.get_paginator("describe_volumes").paginate(Filters=disks):
        for volume in volumes["Volumes"]:
            yield Leftover("ec2 volume", volume["VolumeId"], f"tag kubernetes.io/cluster/{name}=owned")
