"""The component of a new EKS cluster."""

from __future__ import annotations

import pulumi
import pulumi_aws

from components.cluster.aws.build import Build
from components.cluster.aws.control_plane import AFTER_NODES, BEFORE_NODES, make_addons, make_control_plane
from components.cluster.aws.keys import make_keys
from components.cluster.aws.kubeconfig import make_kubeconfig
from components.cluster.aws.models import make_bucket
from components.cluster.aws.names import Names
from components.cluster.aws.network import make_network
from components.cluster.aws.nodes import make_node_groups
from components.cluster.aws.registry import make_cache
from components.cluster.aws.roles import (
    DISKS,
    make_cluster_role,
    make_controller_roles,
    make_disk_role,
    make_node_role,
    make_reader_role,
)
from components.cluster.aws.settings import AwsSettings

_LONGEST_STACK = 15
"""Longest name in characters. ECR allows 30 for inferstack-<stack>/<registry>, IAM 64 for a role."""


class AwsCluster(pulumi.ComponentResource):
    """A VPC, an EKS cluster with node groups, a model bucket, and their IAM permissions."""

    kubeconfig: pulumi.Output[str]
    """Content of the kubeconfig; no secret, as ``aws eks get-token`` fetches a token for each call."""
    model_bucket: pulumi.Output[str]
    """Name of the model bucket."""
    model_role: pulumi.Output[str | None]
    """ARN of the role of model readers, for ``eks.amazonaws.com/role-arn``; None without readers."""
    registry: pulumi.Output[str]
    """Prefix of cached images: ``<prefix>/<name of the registry>/<image>``."""
    disk_key: pulumi.Output[str]
    """ARN of the KMS key for persistent volumes."""
    ready: list[pulumi.Resource]
    """Dependencies of Kubernetes objects: nodes, add-ons and the program's access outlive them."""

    def __init__(
        self, name: str, settings: AwsSettings, *, stack: str, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        """Register all resources in the order of creation; destroy reverses it."""
        super().__init__("inferstack:cluster:AwsCluster", name, {}, opts)
        if len(stack) > _LONGEST_STACK:
            raise pulumi.RunError(
                f'The stack\'s name "{stack}" is longer than {_LONGEST_STACK} characters, which AWS takes.'
            )
        names = Names.of(settings, stack)
        provider = pulumi_aws.Provider(
            name,
            region=names.region,
            # Credentials of another account stop the program before it changes anything.
            allowed_account_ids=[names.account],
            default_tags=pulumi_aws.ProviderDefaultTagsArgs(tags=names.common_tags()),
            opts=pulumi.ResourceOptions(parent=self),
        )
        build = Build(names, settings, pulumi.ResourceOptions(parent=self, provider=provider))

        keys = make_keys(build)
        network = make_network(build)
        plane = make_control_plane(build, network, keys, make_cluster_role(build))
        # The CNI owns interfaces in the VPC, so nodes are deleted before it.
        early = make_addons(build, plane, BEFORE_NODES, plane.access)
        nodes = make_node_groups(build, plane, network, keys, make_node_role(build), early)
        disks = make_disk_role(build, keys)
        late = make_addons(build, plane, AFTER_NODES, nodes, {"aws-ebs-csi-driver": (DISKS, disks)})
        controllers = make_controller_roles(build, plane.cluster)
        cache = make_cache(build)
        bucket, safe = make_bucket(build, keys)
        readers = make_reader_role(build, plane.cluster, keys, plane.oidc)

        certificate = plane.cluster.certificate_authority.apply(lambda authority: str(authority.data))
        self.kubeconfig = pulumi.Output.all(plane.cluster.endpoint, certificate).apply(
            lambda outputs: make_kubeconfig(names, str(outputs[0]), str(outputs[1]))
        )
        self.disk_key = keys.disks.arn
        self.model_bucket = bucket.bucket
        self.model_role = readers.role.arn if readers else pulumi.Output.from_input(None)
        domain = f"{names.account}.dkr.ecr.{names.region}.{names.suffix}"
        self.registry = pulumi.Output.from_input(f"{domain}/{names.cluster}")
        self.ready = [*plane.access, *nodes, *late, *controllers, *cache, *safe, *(readers.ready if readers else [])]
        self.register_outputs(
            {
                "kubeconfig": self.kubeconfig,
                "modelBucket": self.model_bucket,
                "modelRole": self.model_role,
                "registry": self.registry,
            }
        )
