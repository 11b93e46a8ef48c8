"""The EKS control plane: the cluster, its logs, access entries and add-ons."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pulumi
from pulumi_aws import cloudwatch, eks, iam, vpc

from components.cluster.aws.build import Build
from components.cluster.aws.keys import Keys
from components.cluster.aws.network import Network
from components.cluster.aws.roles import Role
from components.cluster.aws.settings import AddonName

BEFORE_NODES: tuple[AddonName, ...] = ("vpc-cni", "kube-proxy", "eks-pod-identity-agent")
"""Add-ons that a node needs to become Ready; they are deleted after the nodes, whose interfaces the CNI owns."""
AFTER_NODES: tuple[AddonName, ...] = ("coredns", "aws-ebs-csi-driver")
"""Add-ons that need a node, as EKS waits for their pods."""
_VALUES = {
    # Prefixes of 16 addresses: a p5 has one ordinary interface with 50 slots, too few for single addresses.
    "vpc-cni": {"env": {"ENABLE_PREFIX_DELEGATION": "true", "WARM_PREFIX_TARGET": "1"}},
}


@dataclass(frozen=True)
class ControlPlane:
    """The cluster and the attributes that other resources use."""

    cluster: eks.Cluster
    security_group: pulumi.Output[str]
    """The cluster security group, which EKS creates for control plane and nodes."""
    oidc: iam.OpenIdConnectProvider
    access: list[pulumi.Resource]
    """Resources that grant the program access to Kubernetes."""


def make_control_plane(build: Build, network: Network, keys: Keys, role: Role) -> ControlPlane:
    """Register the cluster and its access entries."""
    names, settings = build.names, build.settings
    # Created first: EKS would create the log group without retention and without a key.
    logs = cloudwatch.LogGroup(
        "control-plane",
        name=names.log_group,
        retention_in_days=settings.logs.retention_days,
        kms_key_id=keys.logs.arn,
        tags=names.tags("control-plane-logs"),
        opts=build.child,
    )
    cluster = eks.Cluster(
        "cluster",
        name=names.cluster,
        role_arn=role.role.arn,
        version=settings.kubernetes_version,
        upgrade_policy=eks.ClusterUpgradePolicyArgs(support_type=settings.support),
        # Access entries only: no aws-auth ConfigMap, and no implicit admin rights for the cluster creator.
        access_config=eks.ClusterAccessConfigArgs(
            authentication_mode="API", bootstrap_cluster_creator_admin_permissions=False
        ),
        # Add-ons are managed ones, registered below.
        bootstrap_self_managed_addons=False,
        enabled_cluster_log_types=list(settings.logs.types),
        encryption_config=eks.ClusterEncryptionConfigArgs(
            provider=eks.ClusterEncryptionConfigProviderArgs(key_arn=keys.secrets.arn), resources=["secrets"]
        ),
        kubernetes_network_config=eks.ClusterKubernetesNetworkConfigArgs(
            ip_family="ipv4", service_ipv4_cidr=settings.service_cidr
        ),
        vpc_config=eks.ClusterVpcConfigArgs(
            subnet_ids=[subnet.id for subnet in network.nodes.values()],
            endpoint_private_access=True,
            endpoint_public_access=bool(settings.endpoints.public_from),
            # EKS rejects an empty list.
            public_access_cidrs=list(settings.endpoints.public_from) or None,
        ),
        tags=names.tags(names.cluster),
        opts=pulumi.ResourceOptions.merge(build.kept, build.after(logs, role.ready)),
    )
    group = cluster.vpc_config.apply(lambda config: str(config.cluster_security_group_id))
    access = _access(build, cluster)
    access += [
        vpc.SecurityGroupIngressRule(
            f"api-{index}",
            security_group_id=group,
            description="API server from a network of ours",
            cidr_ipv4=network_,
            ip_protocol="tcp",
            from_port=443,
            to_port=443,
            tags=names.tags(f"api-{index}"),
            opts=build.child,
        )
        for index, network_ in enumerate(settings.endpoints.private_from)
    ]
    oidc = iam.OpenIdConnectProvider(
        "oidc",
        url=cluster.identities.apply(_issuer),
        client_id_lists=["sts.amazonaws.com"],
        tags=names.tags("oidc"),
        opts=build.child,
    )
    return ControlPlane(cluster, group, oidc, access)


def _issuer(identities: Sequence[Any]) -> str:
    """Return the URL of the cluster's OIDC issuer."""
    return str(identities[0].oidcs[0].issuer)


def _access(build: Build, cluster: eks.Cluster) -> list[pulumi.Resource]:
    names = build.names
    resources: list[pulumi.Resource] = []
    for name, entry in build.settings.access.items():
        who = eks.AccessEntry(
            name,
            cluster_name=cluster.name,
            principal_arn=entry.principal,
            type="STANDARD",
            tags=names.tags(f"access-{name}"),
            opts=build.child,
        )
        may = eks.AccessPolicyAssociation(
            name,
            cluster_name=cluster.name,
            principal_arn=entry.principal,
            policy_arn=f"arn:{names.partition}:eks::aws:cluster-access-policy/{entry.policy}",
            access_scope=eks.AccessPolicyAssociationAccessScopeArgs(
                type="namespace" if entry.namespaces else "cluster", namespaces=list(entry.namespaces) or None
            ),
            opts=build.after(who),
        )
        resources += [who, may]
    return resources


def make_addons(
    build: Build,
    plane: ControlPlane,
    addons: tuple[AddonName, ...],
    after: list[pulumi.Resource],
    roles: dict[AddonName, tuple[str, Role]] | None = None,
) -> list[pulumi.Resource]:
    """Register EKS add-ons.

    Args:
        build: names and settings.
        plane: the cluster.
        addons: names of the add-ons.
        after: dependencies.
        roles: service account and role of its pods, by add-on.
    """
    resources: list[pulumi.Resource] = []
    for addon in addons:
        pods = None
        before = list(after)
        if roles and addon in roles:
            account, role = roles[addon]
            pods = [
                eks.AddonPodIdentityAssociationArgs(role_arn=role.role.arn, service_account=account.rpartition("/")[2])
            ]
            before += role.ready
        values = _VALUES.get(addon)
        resources.append(
            eks.Addon(
                addon,
                cluster_name=plane.cluster.name,
                addon_name=addon,
                addon_version=build.settings.addon_versions.get(addon),
                configuration_values=json.dumps(values, sort_keys=True) if values else None,
                pod_identity_associations=pods,
                resolve_conflicts_on_create="OVERWRITE",
                resolve_conflicts_on_update="OVERWRITE",
                tags=build.names.tags(f"addon-{addon}"),
                opts=build.after(before),
            )
        )
    return resources
