"""Autoscaling as components: what scales, and what is scaled."""

from __future__ import annotations

from collections.abc import Mapping

import pulumi

from components.addon.catalogue import AddonName
from components.addon.component import Addon, namespaces
from components.addon.plan import Addons
from components.autoscaling import predictive
from components.autoscaling.scaled import make_authentication, make_scaled_objects
from components.autoscaling.settings import AutoscalingSettings
from components.resource import KubeObject
from inferstack.api import InferenceJobSpec
from inferstack.controllers.scaling.rbac import rules
from inferstack.versions import load as load_versions


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


class PredictiveScaler(pulumi.ComponentResource):
    """What serves ``spec.autoscale.predictive`` of jobs."""

    ready: list[pulumi.Resource]
    """Its Deployment; empty where it is off."""

    def __init__(
        self,
        name: str,
        settings: AutoscalingSettings,
        *,
        prometheus_url: str | None,
        window: float,
        monitored: bool,
        opts: pulumi.ResourceOptions,
    ) -> None:
        """Register rights, then the Deployment, which is ready once the scaler answers.

        Args:
            name: of the component.
            settings: of the role.
            prometheus_url: of the monitoring role's Prometheus; the role's own setting goes before it.
            window: seconds over which rates are taken.
            monitored: whether the kinds of the Prometheus operator are served.
            opts: parent, provider and what must come before: the operator, whose namespace it shares.
        """
        super().__init__(
            "inferstack:autoscaling:PredictiveScaler", name, {}, pulumi.ResourceOptions(parent=opts.parent)
        )
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        url = settings.prometheus_url or prometheus_url
        self.ready = []
        if settings.has_scaler and url:
            rights: list[pulumi.Resource] = []
            for made in predictive.make_rights(rules()):
                # One after the other: whoever may not bind at will is refused a binding to a role that is not there.
                following = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=list(rights)))
                rights.append(KubeObject(f"scaler-{made['kind'].lower()}", made, following))
            beside = [predictive.make_budget(), *([predictive.make_monitor()] if monitored else [])]
            for made in beside:
                KubeObject(f"scaler-{made['kind'].lower()}", made, child)
            image = load_versions()["images"]["operator"]
            deployment = predictive.make_deployment(settings.predictive, image, url, window)
            running = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=rights))
            self.ready = [KubeObject("scaler", deployment, running)]
        self.register_outputs({"prometheus": url if self.ready else None})


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
