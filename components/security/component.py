"""Security as a component."""

from __future__ import annotations

import datetime as dt

import pulumi

from components.addon.component import Addon
from components.addon.plan import Addons
from components.resource import KubeObject
from components.security.builders import make_guard, make_rules
from components.security.settings import SecuritySettings
from inferstack.apimachinery.objects import Object
from inferstack.policy.admission import PREFIX


class Security(pulumi.ComponentResource):
    """The rules that the API server enforces, and Cilium if it encrypts between nodes."""

    ready: list[pulumi.Resource]
    """Resources that dependents of this role wait for; empty if it is disabled."""
    encryption: pulumi.Output[str]
    """Encryption between nodes: none, wireguard or mtls; off if the role is off."""

    def __init__(
        self,
        name: str,
        settings: SecuritySettings,
        *,
        today: dt.date,
        addons: Addons,
        opts: pulumi.ResourceOptions,
    ) -> None:
        """Register the rules, the guard and Cilium."""
        super().__init__("inferstack:security:Security", name, {}, pulumi.ResourceOptions(parent=opts.parent))
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        self.ready = []
        if settings.enabled:
            for policy, binding in make_rules(settings, today):
                self._bind(policy["metadata"]["name"].removeprefix(PREFIX), policy, binding, child)
        if settings.enabled and settings.pod_security.guard:
            self._bind("pod-security-guard", *make_guard(), child)
        if settings.wireguard:
            # In kube-system, which exists in every cluster.
            self.ready += Addon("cilium", addons, child).ready
        self.encryption = pulumi.Output.from_input(settings.encryption.mode.value if settings.enabled else "off")
        self.register_outputs({"enabled": settings.enabled, "encryption": self.encryption})

    def _bind(self, name: str, policy: Object, binding: Object, child: pulumi.ResourceOptions) -> None:
        policy_object = KubeObject(name, policy, child)
        bound = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[policy_object]))
        self.ready += [policy_object, KubeObject(f"{name}-binding", binding, bound)]
