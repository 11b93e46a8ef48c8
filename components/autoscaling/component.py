"""Pulumi components of autoscaling: KEDA and the metrics adapter, the predictive scaler, and ScaledObjects."""

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
    """Resources that dependents of this role wait for; empty if it is disabled."""

    def __init__(
        self, name: str, settings: AutoscalingSettings, *, addons: Addons, opts: pulumi.ResourceOptions
    ) -> None:
        """Register the enabled add-ons, each in its namespace."""
        super().__init__("inferstack:autoscaling:Autoscaling", name, {}, pulumi.ResourceOptions(parent=opts.parent))
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        enabled: list[AddonName] = []
        if settings.has_keda:
            enabled.append("keda")
        if settings.has_adapter:
            enabled.append("prometheus-adapter")
        self.ready = []
        for addon in enabled:
            spaces = namespaces(addons, (addon,), child)
            within = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=spaces))
            self.ready += [*spaces, *Addon(addon, addons, within).ready]
        self.register_outputs({"keda": settings.has_keda, "adapter": settings.has_adapter})


class PredictiveScaler(pulumi.ComponentResource):
    """The predictive scaler, which serves ``spec.autoscale.predictive`` of jobs."""

    ready: list[pulumi.Resource]
    """The Deployment; empty if it is disabled."""

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
        """Register RBAC objects, then the Deployment, which is ready once the scaler answers its probe.

        Args:
            name: name of the component.
            settings: settings of the role.
            prometheus_url: Prometheus of the monitoring role; the role's own setting has precedence.
            window: window of rates in seconds.
            monitored: whether the CRDs of the Prometheus operator are installed.
            opts: parent, provider and dependencies: the operator, whose namespace it shares.
        """
        super().__init__(
            "inferstack:autoscaling:PredictiveScaler", name, {}, pulumi.ResourceOptions(parent=opts.parent)
        )
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        url = settings.prometheus_url or prometheus_url
        self.ready = []
        if settings.has_scaler and url:
            rights: list[pulumi.Resource] = []
            for manifest in predictive.make_rights(rules()):
                # Sequential: without the verb bind, a binding to a role that does not exist yet is rejected.
                following = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=list(rights)))
                rights.append(KubeObject(f"scaler-{manifest['kind'].lower()}", manifest, following))
            optional = [predictive.make_budget(), *([predictive.make_monitor()] if monitored else [])]
            for manifest in optional:
                KubeObject(f"scaler-{manifest['kind'].lower()}", manifest, child)
            image = load_versions()["images"]["operator"]
            deployment = predictive.make_deployment(settings.predictive, image, url, window)
            running = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=rights))
            self.ready = [KubeObject("scaler", deployment, running)]
        self.register_outputs({"prometheus": url if self.ready else None})


class ScaledObjects(pulumi.ComponentResource):
    """The ScaledObjects of jobs that KEDA scales."""

    ready: list[pulumi.Resource]
    """The ScaledObjects; empty if KEDA scales no job."""

    def __init__(
        self,
        name: str,
        settings: AutoscalingSettings,
        *,
        specs: Mapping[str, InferenceJobSpec],
        prometheus_url: str | None,
        opts: pulumi.ResourceOptions,
    ) -> None:
        """Register the TriggerAuthentications, then the ScaledObjects.

        Args:
            name: name of the component.
            settings: settings of the role.
            specs: specs of the stack's jobs, by namespace/name.
            prometheus_url: Prometheus of the monitoring role.
            opts: parent, provider and dependencies: the jobs, and KEDA, which removes its finalizer from ScaledObjects.
        """
        super().__init__("inferstack:autoscaling:ScaledObjects", name, {}, pulumi.ResourceOptions(parent=opts.parent))
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        authentications: list[pulumi.Resource] = []
        for authentication in settings.authentications:
            manifest = make_authentication(authentication)
            authentications.append(
                KubeObject(f"proof-{authentication.namespace}-{authentication.name}", manifest, child)
            )
        after = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=authentications))
        self.ready = []
        for manifest in make_scaled_objects(settings, specs, prometheus_url):
            meta = manifest["metadata"]
            self.ready.append(KubeObject(f"scaled-{meta['namespace']}-{meta['name']}", manifest, after))
        self.register_outputs({"jobs": [scaled.job for scaled in settings.scaled_jobs]})
