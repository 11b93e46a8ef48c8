"""IAM roles of the control plane, the nodes, and pods (EKS Pod Identity)."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pulumi
from pulumi_aws import eks, iam

from components.cluster.aws import policies
from components.cluster.aws.build import Build
from components.cluster.aws.keys import Keys

LOAD_BALANCERS = "kube-system/aws-load-balancer-controller"
AUTOSCALER = "kube-system/cluster-autoscaler"
DISKS = "kube-system/ebs-csi-controller-sa"
"""Service accounts (namespace/name) of the charts and the EKS add-on."""


@dataclass(frozen=True)
class Role:
    """A role; ``ready`` are its policies, on which users must depend to have all permissions from the start."""

    role: iam.Role
    ready: list[pulumi.Resource]


def make_role(
    build: Build,
    name: str,
    trust: policies.Document | pulumi.Output[policies.Document],
    *,
    aws_policies: tuple[str, ...] = (),
    own: policies.Document | pulumi.Output[policies.Document] | None = None,
    opts: pulumi.ResourceOptions | None = None,
) -> Role:
    """Register a role with managed policies and an inline policy."""
    role = iam.Role(
        name,
        name=build.names.role(name),
        assume_role_policy=_json(trust),
        tags=build.names.tags(f"role-{name}"),
        opts=opts or build.child,
    )
    ready: list[pulumi.Resource] = [
        iam.RolePolicyAttachment(
            f"{name}-{policy.rpartition('/')[2]}",
            role=role.name,
            policy_arn=build.names.aws_policy(policy),
            opts=build.child,
        )
        for policy in aws_policies
    ]
    if own is not None:
        ready.append(iam.RolePolicy(name, name=name, role=role.name, policy=_json(own), opts=build.child))
    return Role(role, ready)


def make_cluster_role(build: Build) -> Role:
    """Register the control plane's role."""
    trust = policies.make_trust("eks.amazonaws.com")
    return make_role(build, "cluster", trust, aws_policies=("AmazonEKSClusterPolicy",))


def make_node_role(build: Build) -> Role:
    """Register the nodes' role.

    The CNI's policy is attached here and not to a separate role: until the CNI works no pod gets an address, including
    the Pod Identity agent.
    """
    return make_role(
        build,
        "node",
        policies.make_trust(f"ec2.{build.names.suffix}"),
        aws_policies=("AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly", "AmazonEKS_CNI_Policy"),
        own=policies.make_cache_policy(build.names),
    )


def make_disk_role(build: Build, keys: Keys) -> Role:
    """Register the role of the EBS driver's controller."""
    return make_role(
        build,
        "disks",
        policies.make_pod_trust(build.names, DISKS),
        aws_policies=("service-role/AmazonEBSCSIDriverPolicy",),
        own=keys.disks.arn.apply(policies.make_disk_policy),
    )


def make_controller_roles(build: Build, cluster: eks.Cluster) -> list[pulumi.Resource]:
    """Register the roles of the load balancer controller and the cluster autoscaler, for users who install them."""
    names = build.names
    roles = {
        "balancers": (LOAD_BALANCERS, policies.make_load_balancer_policy(names)),
        "autoscaler": (AUTOSCALER, policies.make_autoscaler_policy(names)),
    }
    resources: list[pulumi.Resource] = []
    for name, (account, document) in roles.items():
        role = make_role(build, name, policies.make_pod_trust(names, account), own=document)
        resources.append(associate(build, name, cluster, account, role))
    return resources


def make_reader_role(build: Build, cluster: eks.Cluster, keys: Keys, oidc: iam.OpenIdConnectProvider) -> Role | None:
    """Register the role of model readers with an association for each; None without readers."""
    names, readers = build.names, build.settings.models.readers
    if not readers:
        return None
    trust = oidc.url.apply(lambda url: policies.make_reader_trust(names, url, readers))
    own = keys.models.arn.apply(lambda arn: policies.make_reader_policy(names, arn))
    role = make_role(build, "models", trust, own=own)
    bound = [associate(build, f"models-{reader.replace('/', '-')}", cluster, reader, role) for reader in readers]
    return Role(role.role, [*role.ready, *bound])


def associate(build: Build, name: str, cluster: eks.Cluster, account: str, role: Role) -> eks.PodIdentityAssociation:
    """Register the Pod Identity association of a service account (``namespace/name``) and a role."""
    namespace, _, service_account = account.partition("/")
    return eks.PodIdentityAssociation(
        name,
        cluster_name=cluster.name,
        namespace=namespace,
        service_account=service_account,
        role_arn=role.role.arn,
        tags=build.names.tags(f"pods-{name}"),
        opts=build.after(role.ready),
    )


def _json(document: policies.Document | pulumi.Output[policies.Document]) -> pulumi.Output[str]:
    return pulumi.Output.from_input(document).apply(lambda resolved: json.dumps(resolved, sort_keys=True))
