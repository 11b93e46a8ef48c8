"""Network as a component."""

from __future__ import annotations

import pulumi

from components.addon import Addon, Addons, namespaces
from components.network.settings import NetworkSettings


class Network(pulumi.ComponentResource):
    """SR-IOV virtual functions and EFA devices for pods."""

    ready: list[pulumi.Resource]
    """What relies on this role depends on; empty where it is off."""

    def __init__(self, name: str, settings: NetworkSettings, *, addons: Addons, opts: pulumi.ResourceOptions) -> None:
        """Register the role's objects."""
        super().__init__("inferstack:network:Network", name, {}, pulumi.ResourceOptions(parent=opts.parent))
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        self.ready = []
        if settings.enabled:
            spaces = namespaces(addons, ("sriov-network-operator",), child)
            within = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=spaces))
            installed = Addon("sriov-network-operator", addons, within)
            self.ready += [*spaces, *installed.ready]
        self.register_outputs({"enabled": settings.enabled})
