"""Mesh as a component."""

from __future__ import annotations

import pulumi

from components.addon import Addon, Addons, namespaces
from components.mesh.settings import MeshSettings


class Mesh(pulumi.ComponentResource):
    """Istio, with mutual TLS and the telemetry of the services."""

    ready: list[pulumi.Resource]
    """What relies on this role depends on; empty where it is off."""

    def __init__(self, name: str, settings: MeshSettings, *, addons: Addons, opts: pulumi.ResourceOptions) -> None:
        """Register the role's objects."""
        super().__init__("inferstack:mesh:Mesh", name, {}, pulumi.ResourceOptions(parent=opts.parent))
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        self.ready = []
        if settings.enabled:
            spaces = namespaces(addons, ("istio-base",), child)
            within = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=spaces))
            installed = Addon("istio-base", addons, within)
            self.ready += [*spaces, *installed.ready]
        self.register_outputs({"enabled": settings.enabled})
