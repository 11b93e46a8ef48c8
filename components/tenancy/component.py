"""The component of the tenancy role."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pulumi

from components.resource import KubeObject
from components.tenancy.builders import (
    Peer,
    make_cluster_role,
    make_monitoring_policy,
    make_priority_class,
    make_tenant,
)
from components.tenancy.settings import TenancySettings


class Tenancy(pulumi.ComponentResource):
    """The tenants' namespaces with quotas, limits, network policies and RBAC."""

    namespaces: pulumi.Output[list[str]]
    """Names of the tenants' namespaces."""
    ready: list[pulumi.Resource]
    """Dependencies of tenants' objects: the whole role, so that no pod starts before its quota exists."""

    def __init__(
        self,
        name: str,
        settings: TenancySettings,
        opts: pulumi.ResourceOptions,
        *,
        exceptions: Mapping[str, str] | None = None,
        monitored_from: str | None = None,
        labels: Mapping[str, str] | None = None,
        peers: Sequence[Peer] = (),
    ) -> None:
        """Register PriorityClasses and the ClusterRole, then the objects of each tenant.

        Args:
            name: the component's name.
            settings: the role's settings.
            opts: parent, provider and dependencies.
            exceptions: reasons for privileged pods, by tenant.
            monitored_from: namespace of the Prometheus that scrapes inference pods; None for none.
            labels: additional labels of the tenants' namespaces.
            peers: peers that the tenants' NetworkPolicies allow.
        """
        super().__init__("inferstack:tenancy:Tenancy", name, {}, pulumi.ResourceOptions(parent=opts.parent))
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        role = make_cluster_role()
        self.ready = [
            KubeObject(f"priority-{priority}", make_priority_class(priority, value), child)
            for priority, value in settings.priority_classes.items()
        ]
        bound = KubeObject(role["metadata"]["name"], role, child)
        self.ready.append(bound)
        for tenant_name, tenant in settings.tenants.items():
            namespace, *inside = make_tenant(
                tenant_name,
                tenant,
                settings.dns_pods,
                (exceptions or {}).get(tenant_name),
                labels=labels,
                peers=peers,
            )
            if monitored_from:
                inside.append(make_monitoring_policy(tenant_name, monitored_from))
            created = KubeObject(f"tenant-{tenant_name}", namespace, child)
            within = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[created]))
            # Without the verb bind, a binding to a role that does not exist yet is rejected.
            binding = pulumi.ResourceOptions.merge(within, pulumi.ResourceOptions(depends_on=[bound]))
            self.ready.append(created)
            for manifest in inside:
                kind, own = manifest["kind"].lower(), manifest["metadata"]["name"]
                options = binding if kind == "rolebinding" else within
                self.ready.append(KubeObject(f"{tenant_name}-{kind}-{own}", manifest, options))
        self.namespaces = pulumi.Output.from_input(list(settings.tenants))
        self.register_outputs({"namespaces": self.namespaces})
