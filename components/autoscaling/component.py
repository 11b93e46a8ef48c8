"""Autoscaling as a component."""

from __future__ import annotations

import pulumi

from components.addon import Addon, Addons, namespaces
from components.autoscaling.settings import AutoscalingSettings


class Autoscaling(pulumi.ComponentResource):
    """KEDA and the metrics that HorizontalPodAutoscalers read."""

    ready: list[pulumi.Resource]
    """What relies on this role depends on; empty where it is off."""

    def __init__(
        self, name: str, settings: AutoscalingSettings, *, addons: Addons, opts: pulumi.ResourceOptions
    ) -> None:
        """Register the role's objects."""
        super().__init__("inferstack:autoscaling:Autoscaling", name, {}, pulumi.ResourceOptions(parent=opts.parent))
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        self.ready = []
        if settings.enabled:
            spaces = namespaces(addons, ("keda",), child)
            within = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=spaces))
            installed = Addon("keda", addons, within)
            self.ready += [*spaces, *installed.ready]
        self.register_outputs({"enabled": settings.enabled})
