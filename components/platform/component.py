"""The composition root: registers the roles from top to bottom.

Destroy reverses the order, as each role depends on the roles that it needs: jobs are deleted before their operator,
custom resources before their CRDs, and nodes last.
"""

from __future__ import annotations

import pulumi

from components.addon.plan import Addons
from components.autoscaling.component import Autoscaling, PredictiveScaler, ScaledObjects
from components.cluster.access import Access
from components.cluster.component import Cluster
from components.gpu.component import Gpu
from components.inference.component import InferenceJobs, InferenceOperator
from components.kernel.component import Kernel
from components.mesh import builders as mesh_builders
from components.mesh.component import Mesh, Traffic
from components.monitoring.component import Monitoring
from components.monitoring.units import seconds
from components.network.component import Network, TenantNetworks
from components.platform.settings import PlatformSettings
from components.security.component import Security
from components.storage.component import Caches, Storage
from components.tenancy.component import Tenancy
from components.wasm.component import Wasm, WasmSample


class Platform(pulumi.ComponentResource):
    """A GPU inference platform."""

    kubeconfig: pulumi.Output[str]
    """Kubeconfig of the Kubernetes provider: its path or, on aws, its content."""
    kubeconfig_content: pulumi.Output[str]
    """Content of the kubeconfig; a secret."""
    endpoints: pulumi.Output[dict[str, str]]
    """In-cluster URL of each job of the stack, by namespace/name."""
    jobs: pulumi.Output[list[dict[str, str]]]
    """The stack's jobs as specified."""

    def __init__(
        self,
        name: str,
        settings: PlatformSettings,
        *,
        access: Access | None,
        addons: Addons,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        """Register all roles."""
        super().__init__("inferstack:platform:Platform", name, {}, opts)

        cluster = Cluster("cluster", settings.cluster, access=access, opts=pulumi.ResourceOptions(parent=self))

        def after(*before: pulumi.Resource) -> pulumi.ResourceOptions:
            return pulumi.ResourceOptions(parent=self, provider=cluster.provider, depends_on=list(before))

        # First, as monitors of other roles need its CRDs.
        monitoring = Monitoring("monitoring", settings.monitoring, addons=addons, opts=after(*cluster.nodes))
        monitored = [*cluster.nodes, *monitoring.kinds]
        security = Security("security", settings.security, today=settings.today, addons=addons, opts=after(*monitored))
        kernel = Kernel("kernel", settings.kernel, opts=after(*cluster.nodes))
        wasm = Wasm("wasm", settings.wasm, opts=after(*cluster.nodes))
        gpu = Gpu(
            "gpu",
            settings.gpu,
            layouts=settings.layouts,
            addons=addons,
            monitored=settings.monitoring.enabled,
            opts=after(*monitored),
        )
        network = Network("network", settings.network, addons=addons, opts=after(*monitored))
        storage = Storage("storage", settings.storage, addons=addons, opts=after(*monitored))
        tenants = list(settings.tenancy.tenants)
        mesh = Mesh(
            "mesh",
            settings.mesh,
            addons=addons,
            monitored=settings.monitoring.enabled,
            tenants=tenants,
            opts=after(*monitored),
        )
        # Pods terminate gracefully only while their nodes exist: tenants are deleted before nodes.
        tenancy = Tenancy(
            "tenancy",
            settings.tenancy,
            opts=after(*cluster.nodes, *security.ready, *mesh.ready, *storage.ready),
            monitored_from=settings.monitoring.namespace,
            exceptions=settings.security.pod_security.exceptions,
            labels=mesh_builders.namespace_labels(settings.mesh),
            peers=mesh_builders.tenant_peers(settings.mesh, monitored_from=settings.monitoring.namespace),
        )
        # Before the jobs: no replica serves requests before its tenant is isolated.
        traffic = Traffic(
            "traffic", settings.mesh, tenants=tenants, jobs=settings.jobs, opts=after(*mesh.ready, *tenancy.ready)
        )
        WasmSample("wasm-sample", settings.wasm, opts=after(*wasm.ready, *tenancy.ready))
        # Where labels identify the GPUs; each dataset goes before its controllers, and after the jobs that mount it.
        caches = Caches("caches", settings.storage, opts=after(*gpu.ready, *storage.ready, *tenancy.ready))
        networks = TenantNetworks("networks", settings.network, opts=after(*network.ready, *tenancy.ready))
        # After the tenants, so that it goes before them: no namespace ends while an aggregated API does not answer.
        autoscaling = Autoscaling(
            "autoscaling", settings.autoscaling, addons=addons, opts=after(*monitoring.ready, *tenancy.ready)
        )
        operator = InferenceOperator("inference", settings.inference, opts=after(*cluster.nodes))
        PredictiveScaler(
            "scaler",
            settings.autoscaling,
            prometheus_url=settings.monitoring.prometheus_url,
            window=seconds(settings.monitoring.inference.window),
            monitored=settings.monitoring.enabled,
            opts=after(*operator.ready, *monitoring.kinds),
        )
        nodes_ready = [*kernel.ready, *wasm.ready, *gpu.ready, *network.ready, *storage.ready]
        jobs = InferenceJobs(
            "jobs",
            settings.inference,
            tenants=settings.tenancy.tenants,
            opts=after(
                *operator.ready,
                *nodes_ready,
                *tenancy.ready,
                *traffic.ready,
                *networks.ready,
                *caches.ready,
                *autoscaling.ready,
            ),
        )
        ScaledObjects(
            "scaled",
            settings.autoscaling,
            specs=jobs.specs,
            prometheus_url=settings.monitoring.prometheus_url,
            opts=after(*autoscaling.ready, *tenancy.ready, *jobs.ready),
        )

        self.kubeconfig = cluster.kubeconfig
        self.kubeconfig_content = cluster.kubeconfig_content
        self.endpoints = jobs.endpoints
        self.jobs = jobs.table
        self.register_outputs({"kubeconfig": self.kubeconfig, "endpoints": self.endpoints, "jobs": self.jobs})
