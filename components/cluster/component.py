"""The component of the cluster: the provider that all other roles use, and the rehearsal's nodes."""

from __future__ import annotations

import pulumi
import pulumi_kubernetes

from components.cluster.access import Access
from components.cluster.nodes import make_nodes
from components.cluster.settings import ClusterSettings
from components.resource import KubeObject


class Cluster(pulumi.ComponentResource):
    """Access to an API server, and the nodes that the stack creates."""

    provider: pulumi_kubernetes.Provider
    """Provider of every Kubernetes object, so that none goes to the current context of kubectl by accident."""
    nodes: list[pulumi.Resource]
    """Nodes of the stack, simulated or on EKS, with their dependencies; other objects depend on them."""
    kubeconfig: pulumi.Output[str]
    """Kubeconfig of the provider: its path or, on aws, its content."""
    kubeconfig_content: pulumi.Output[str]
    """Content of the kubeconfig; a secret."""

    def __init__(
        self, name: str, settings: ClusterSettings, *, access: Access | None, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        """Register the provider and simulated nodes or, without access, the cluster on AWS."""
        super().__init__("inferstack:cluster:Cluster", name, {}, opts)
        child = pulumi.ResourceOptions(parent=self)
        if access is None:
            # A local import: it takes a second that the rehearsal saves.
            from components.cluster.aws.component import AwsCluster  # noqa: PLC0415
            from components.cluster.aws.storage_class import make_storage_class  # noqa: PLC0415

            aws = AwsCluster("aws", settings.aws, stack=pulumi.get_stack(), opts=child)
            self.kubeconfig = aws.kubeconfig
            self.kubeconfig_content = pulumi.Output.secret(aws.kubeconfig)
            self.provider = _make_provider(name, self.kubeconfig, None, child)
            within = pulumi.ResourceOptions(parent=self, provider=self.provider, depends_on=aws.ready)
            volumes = KubeObject("gp3", make_storage_class(aws.disk_key), within)
            self.nodes = [*aws.ready, volumes]
        else:
            # The path, not the content: renewed certificates must not change the provider of every object.
            path = str(access.kubeconfig)
            self.provider = _make_provider(name, path, access.context, child)
            within = pulumi.ResourceOptions(parent=self, provider=self.provider)
            self.nodes = [KubeObject(node["metadata"]["name"], node, within) for node in make_nodes(settings)]
            self.kubeconfig = pulumi.Output.from_input(path)
            self.kubeconfig_content = pulumi.Output.secret(access.kubeconfig.read_text())
        self.register_outputs({"kubeconfig": self.kubeconfig})


def _make_provider(
    name: str, kubeconfig: pulumi.Input[str], context: str | None, opts: pulumi.ResourceOptions
) -> pulumi_kubernetes.Provider:
    """Return the provider of all Kubernetes objects.

    By default the provider replaces a ConfigMap or Secret whose data changes. Ours have fixed names and would be
    deleted while pods use them. They are updated in place instead.
    """
    return pulumi_kubernetes.Provider(
        name,
        kubeconfig=kubeconfig,
        context=context,
        enable_config_map_mutable=True,
        enable_secret_mutable=True,
        opts=opts,
    )
