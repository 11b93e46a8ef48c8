"""The cluster as a component: the provider that all other roles use, and the rehearsal's nodes."""

from __future__ import annotations

import pulumi
import pulumi_kubernetes

from components.cluster.access import Access
from components.cluster.nodes import make_nodes
from components.cluster.settings import ClusterSettings
from components.objects import KubeObject


class Cluster(pulumi.ComponentResource):
    """An API server to work on."""

    provider: pulumi_kubernetes.Provider
    """Every Kubernetes object names it: nothing ever goes to the cluster that kubectl happens to point at."""
    nodes: list[KubeObject]
    """The simulated nodes; empty where nodes are real."""
    kubeconfig: pulumi.Output[str]
    """Path of the kubeconfig."""

    def __init__(
        self, name: str, settings: ClusterSettings, *, access: Access, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        """Take the access and register the simulated nodes, if any."""
        super().__init__("inferstack:cluster:Cluster", name, {}, opts)
        # The path and not the content: renewed certificates then change no object's provider.
        self.provider = pulumi_kubernetes.Provider(
            name,
            kubeconfig=str(access.kubeconfig),
            context=access.context,
            opts=pulumi.ResourceOptions(parent=self),
        )
        child = pulumi.ResourceOptions(parent=self, provider=self.provider)
        self.nodes = [KubeObject(node["metadata"]["name"], node, child) for node in make_nodes(settings)]
        self.kubeconfig = pulumi.Output.from_input(str(access.kubeconfig))
        self.register_outputs({"kubeconfig": self.kubeconfig})
