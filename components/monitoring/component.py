"""Monitoring as a component."""

from __future__ import annotations

import pulumi

from components.addon.component import Addon, namespaces
from components.addon.plan import Addons
from components.monitoring.alerts import make_rules
from components.monitoring.builders import make_monitors, make_operator_monitor
from components.monitoring.dashboards import make_dashboards
from components.monitoring.settings import MonitoringSettings
from components.resource import KubeObject


class Monitoring(pulumi.ComponentResource):
    """The Prometheus stack and its CRDs."""

    ready: list[pulumi.Resource]
    """Resources that dependents of this role wait for; empty if it is disabled."""
    kinds: list[pulumi.Resource]
    """CRDs that ServiceMonitors and PrometheusRules depend on."""
    prometheus: pulumi.Output[str | None]
    """In-cluster address of Prometheus."""

    def __init__(
        self, name: str, settings: MonitoringSettings, *, addons: Addons, opts: pulumi.ResourceOptions
    ) -> None:
        """Register the namespace and the stack, then monitors, rules and dashboards."""
        super().__init__("inferstack:monitoring:Monitoring", name, {}, pulumi.ResourceOptions(parent=opts.parent))
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        self.ready = []
        self.kinds = []
        self.prometheus = pulumi.Output.from_input(settings.prometheus_url)
        if settings.enabled:
            spaces = namespaces(addons, ("kube-prometheus-stack",), child)
            within = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=spaces))
            installed = Addon("kube-prometheus-stack", addons, within)
            self.ready += [*spaces, *installed.ready]
            self.kinds += installed.kinds
            after = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=list(self.ready)))
            manifests = [*make_monitors(settings), make_operator_monitor(), *make_rules(settings)]
            if settings.dashboards and settings.grafana.enabled:
                manifests += make_dashboards()
            # After the stack: the operator's webhook must be up to admit rules.
            self.ready += [
                KubeObject(f"{manifest['kind'].lower()}-{manifest['metadata']['name']}", manifest, after)
                for manifest in manifests
            ]
        self.register_outputs({"prometheus": self.prometheus})
