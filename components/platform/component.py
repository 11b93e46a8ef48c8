"""The composition root: the order of roles, read top to bottom.

What comes first goes last: each role's objects depend on those of the roles that they cannot live without, so a
destroy takes jobs before their operator, custom resources before their kinds, and nodes at the very end.
"""

from __future__ import annotations

import pulumi

from components.cluster import Cluster
from components.cluster.access import Access
from components.gpu import Gpu
from components.inference import InferenceJobs, InferenceOperator
from components.platform.settings import PlatformSettings
from components.tenancy import Tenancy


class Platform(pulumi.ComponentResource):
    """A GPU inference platform."""

    kubeconfig: pulumi.Output[str]
    """Path of the kubeconfig."""
    endpoints: pulumi.Output[dict[str, str]]
    """URL in the cluster of each of the stack's jobs, by namespace/name."""
    jobs: pulumi.Output[list[dict[str, str]]]
    """The stack's jobs as asked for."""

    def __init__(
        self, name: str, settings: PlatformSettings, *, access: Access, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        """Register all roles."""
        super().__init__("inferstack:platform:Platform", name, {}, opts)

        cluster = Cluster("cluster", settings.cluster, access=access, opts=pulumi.ResourceOptions(parent=self))

        def after(*before: pulumi.Resource) -> pulumi.ResourceOptions:
            return pulumi.ResourceOptions(parent=self, provider=cluster.provider, depends_on=list(before))

        gpu = Gpu(
            "gpu",
            settings.gpu,
            layouts=settings.layouts,
            addons=settings.addon,
            mode=settings.addon.mode_of("gpu-operator", settings.place),
            opts=after(*cluster.nodes),
        )
        # Pods end in good order only while their nodes are there: tenants go before them.
        tenancy = Tenancy("tenancy", settings.tenancy, opts=after(*cluster.nodes))
        operator = InferenceOperator("inference", settings.inference, opts=after(*cluster.nodes))
        jobs = InferenceJobs(
            "jobs",
            settings.inference,
            tenants=settings.tenancy.tenants,
            opts=after(*operator.ready, *gpu.ready, *tenancy.ready),
        )

        self.kubeconfig = cluster.kubeconfig
        self.endpoints = jobs.endpoints
        self.jobs = jobs.table
        self.register_outputs({"kubeconfig": self.kubeconfig, "endpoints": self.endpoints, "jobs": self.jobs})
