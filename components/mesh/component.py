"""Mesh as two components: Istio itself, and the handling of the tenants' traffic."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi

from components.addon.catalogue import AddonName
from components.addon.component import Addon, namespaces
from components.addon.plan import Addons
from components.addon.settings import Mode
from components.mesh.builders import make_mesh, make_monitors
from components.mesh.metrics import make_rule
from components.mesh.objects import Job
from components.mesh.settings import MeshSettings
from components.mesh.traffic import make_gateway_traffic, make_tenant_traffic
from components.resource import KubeObject
from inferstack.apimachinery.objects import Object

_ADDONS: tuple[AddonName, ...] = ("istio-base", "istiod", "istio-cni", "istio-ztunnel", "istio-gateway")
"""In installation order."""


class Mesh(pulumi.ComponentResource):
    """Istio, with mutual TLS and the telemetry of the services."""

    ready: list[pulumi.Resource]
    """Resources that dependents of this role wait for; empty if it is disabled."""

    def __init__(
        self,
        name: str,
        settings: MeshSettings,
        *,
        addons: Addons,
        monitored: bool,
        tenants: Sequence[str],
        opts: pulumi.ResourceOptions,
    ) -> None:
        """Register the CRDs, istiod, the node agents, the mesh-wide objects and the gateway.

        Args:
            name: the component's name.
            settings: the role's settings.
            addons: all add-ons of the stack.
            monitored: whether the API server serves the Prometheus operator's kinds.
            tenants: names of the tenants' namespaces, whose proxies are scraped.
            opts: parent, provider and dependencies.
        """
        super().__init__("inferstack:mesh:Mesh", name, {}, pulumi.ResourceOptions(parent=opts.parent))
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        self.ready = []
        if settings.enabled:
            *first, gateway = _ADDONS
            charts = [addon for addon in _ADDONS if addon in addons.plans]
            spaces = namespaces(addons, charts, child)
            self.ready += spaces
            for addon in first:
                if addon in charts:
                    self.ready += Addon(addon, addons, _after(child, self.ready)).ready
            # These apply to the gateway's proxy too, so they come first. In an existing mesh they belong to its owner.
            rules: list[Object] = [] if addons["istio-base"].mode is Mode.PRESENT else make_mesh(settings)
            if monitored:
                rules += make_monitors(settings, tenants)
                rules.append(make_rule(settings.data_plane, settings.telemetry.interval_seconds))
            self.ready += [_register(rule, _after(child, self.ready[:])) for rule in rules]
            if gateway in charts:
                self.ready += Addon(gateway, addons, _after(child, self.ready)).ready
        self.register_outputs({"dataPlane": settings.data_plane.value, "strict": settings.strict})


class Traffic(pulumi.ComponentResource):
    """Authorization, load balancing, retries and ingress for the tenants' pods."""

    ready: list[pulumi.Resource]
    """Resources that jobs depend on, so that no job accepts plain text. Empty if the mesh is off."""
    hosts: pulumi.Output[dict[str, str]]
    """External URLs of jobs by namespace/name, joined by a comma."""

    def __init__(
        self,
        name: str,
        settings: MeshSettings,
        *,
        tenants: Sequence[str],
        jobs: Sequence[Job],
        opts: pulumi.ResourceOptions,
    ) -> None:
        """Register the objects of each tenant, then those of the gateway.

        Args:
            name: the component's name.
            settings: the role's settings.
            tenants: names of the tenants' namespaces.
            jobs: the stack's InferenceJobs.
            opts: parent, provider and dependencies: the mesh and the tenants.
        """
        super().__init__("inferstack:mesh:Traffic", name, {}, pulumi.ResourceOptions(parent=opts.parent))
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        self.ready = []
        if settings.enabled:
            manifests = [
                manifest for tenant in tenants for manifest in make_tenant_traffic(settings, tenant, _of(tenant, jobs))
            ] + make_gateway_traffic(settings, tenants, jobs)
            self.ready = [_register(manifest, child) for manifest in manifests]
        urls: dict[str, list[str]] = {}
        for host in settings.hosts:
            urls.setdefault(host.job, []).append(f"{'http' if host.plaintext else 'https'}://{host.host}")
        self.hosts = pulumi.Output.from_input({job: ",".join(addresses) for job, addresses in urls.items()})
        self.register_outputs({"hosts": self.hosts})


def _of(tenant: str, jobs: Sequence[Job]) -> list[Job]:
    return [job for job in jobs if job[0] == tenant]


def _after(opts: pulumi.ResourceOptions, before: Sequence[pulumi.Resource]) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(depends_on=list(before)))


def _register(manifest: Object, opts: pulumi.ResourceOptions) -> pulumi.Resource:
    meta = manifest["metadata"]
    return KubeObject(f"{meta['namespace']}-{manifest['kind'].lower()}-{meta['name']}", manifest, opts)
