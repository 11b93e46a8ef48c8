"""Storage as a component."""

from __future__ import annotations

import pulumi

from components.addon import Addon, Addons, namespaces
from components.storage.settings import StorageSettings


class Storage(pulumi.ComponentResource):
    """Models from buckets, cached on the nodes by Alluxio through Fluid."""

    ready: list[pulumi.Resource]
    """What relies on this role depends on; empty where it is off."""

    def __init__(self, name: str, settings: StorageSettings, *, addons: Addons, opts: pulumi.ResourceOptions) -> None:
        """Register the role's objects."""
        super().__init__("inferstack:storage:Storage", name, {}, pulumi.ResourceOptions(parent=opts.parent))
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        self.ready = []
        if settings.enabled:
            spaces = namespaces(addons, ("fluid",), child)
            within = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=spaces))
            installed = Addon("fluid", addons, within)
            self.ready += [*spaces, *installed.ready]
        self.register_outputs({"enabled": settings.enabled})
