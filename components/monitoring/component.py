"""Monitoring as a component."""

from __future__ import annotations

import pulumi

from components.addon import Addon, Addons, namespaces
from components.monitoring.settings import MonitoringSettings


class Monitoring(pulumi.ComponentResource):
    """The Prometheus stack, its kinds first."""

    ready: list[pulumi.Resource]
    """What relies on this role depends on; empty where it is off."""
    kinds: list[pulumi.Resource]
    """What ServiceMonitors and PrometheusRules depend on: their kinds."""

    def __init__(
        self, name: str, settings: MonitoringSettings, *, addons: Addons, opts: pulumi.ResourceOptions
    ) -> None:
        """Register the role's objects."""
        super().__init__("inferstack:monitoring:Monitoring", name, {}, pulumi.ResourceOptions(parent=opts.parent))
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        self.ready = []
        self.kinds = []
        if settings.enabled:
            spaces = namespaces(addons, ("kube-prometheus-stack",), child)
            within = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=spaces))
            installed = Addon("kube-prometheus-stack", addons, within)
            self.ready += [*spaces, *installed.ready]
            self.kinds += installed.kinds
        self.register_outputs({"enabled": settings.enabled})
