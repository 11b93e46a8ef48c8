"""Security as a component."""

from __future__ import annotations

import pulumi

from components.addon import Addon, Addons
from components.objects import KubeObject
from components.security.builders import make_guard
from components.security.settings import SecuritySettings


class Security(pulumi.ComponentResource):
    """A guard of the tenants' Pod Security levels, and Cilium where it encrypts between nodes."""

    ready: list[pulumi.Resource]
    """What relies on this role depends on; empty where it is off."""
    encryption: pulumi.Output[str]
    """Who encrypts between nodes: none, wireguard or mtls; off where the role is."""

    def __init__(self, name: str, settings: SecuritySettings, *, addons: Addons, opts: pulumi.ResourceOptions) -> None:
        """Register the guard and Cilium."""
        super().__init__("inferstack:security:Security", name, {}, pulumi.ResourceOptions(parent=opts.parent))
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        self.ready = []
        if settings.enabled and settings.pod_security.guard:
            policy, binding = make_guard()
            guard = KubeObject("pod-security-guard", policy, child)
            bound = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[guard]))
            self.ready += [guard, KubeObject("pod-security-guard-binding", binding, bound)]
        if settings.wireguard:
            # In kube-system, which is there.
            self.ready += Addon("cilium", addons, child).ready
        self.encryption = pulumi.Output.from_input(settings.encryption.mode.value if settings.enabled else "off")
        self.register_outputs({"enabled": settings.enabled, "encryption": self.encryption})
