"""Autoscaling as components: what scales, and what is scaled."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi

from components.addon import Addon, AddonName, Addons, namespaces
from components.autoscaling.scaled import make_authentication, make_scaled_objects
from components.autoscaling.settings import AutoscalingSettings
from components.objects import KubeObject
from inferstack.api import InferenceJobSpec


class Autoscaling(pulumi.ComponentResource):
    """KEDA and the metrics that HorizontalPodAutoscalers read."""

    ready: list[pulumi.Resource]
    """What relies on this role depends on; empty where it is off."""

    def __init__(
        self, name: str, settings: AutoscalingSettings, *, addons: Addons, opts: pulumi.ResourceOptions
    ) -> None:
        """Register the add-ons that the settings ask for, each in its namespace."""
        super().__init__("inferstack:autoscaling:Autoscaling", name, {}, pulumi.ResourceOptions(parent=opts.parent))
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        wanted: list[AddonName] = []
        if settings.has_keda:
            wanted.append("keda")
        if settings.has_adapter:
            wanted.append("prometheus-adapter")
        self.ready = []
        for addon in wanted:
            spaces = namespaces(addons, (addon,), child)
            within = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=spaces))
            self.ready += [*spaces, *Addon(addon, addons, within).ready]
        self.register_outputs({"keda": settings.has_keda, "adapter": settings.has_adapter})


class ScaledObjects(pulumi.ComponentResource):
    """The jobs that KEDA scales."""

    ready: list[pulumi.Resource]
    """The ScaledObjects; empty where KEDA scales no job."""

    def __init__(
        self,
        name: str,
        settings: AutoscalingSettings,
        *,
        specs: Mapping[str, InferenceJobSpec],
        prometheus_url: str | None,
        opts: pulumi.ResourceOptions,
    ) -> None:
        """Register what triggers prove themselves with, then the ScaledObjects.

        Args:
            name: of the component.
            settings: of the role.
            specs: of the stack's jobs, by namespace/name.
            prometheus_url: of the monitoring role's Prometheus.
            opts: parent, provider and what must come before: KEDA, which takes its finalizer off them, and the jobs.
        """
        super().__init__("inferstack:autoscaling:ScaledObjects", name, {}, pulumi.ResourceOptions(parent=opts.parent))
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        proofs: list[pulumi.Resource] = []
        for authentication in settings.authentications:
            manifest = make_authentication(authentication)
            proofs.append(KubeObject(f"proof-{authentication.namespace}-{authentication.name}", manifest, child))
        after = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=proofs))
        self.ready = []
        for manifest in make_scaled_objects(settings, specs, prometheus_url):
            meta = manifest["metadata"]
            self.ready.append(KubeObject(f"scaled-{meta['namespace']}-{meta['name']}", manifest, after))
        self.register_outputs({"jobs": [scaled.job for scaled in settings.scaled_jobs]})
