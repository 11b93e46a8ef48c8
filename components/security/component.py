"""Security as a component."""

from __future__ import annotations

import pulumi

from components.addon import Addons
from components.security.settings import SecuritySettings


class Security(pulumi.ComponentResource):
    """Encryption between nodes and what a cluster needs for it."""

    ready: list[pulumi.Resource]
    """What relies on this role depends on; empty where it is off."""

    def __init__(self, name: str, settings: SecuritySettings, *, addons: Addons, opts: pulumi.ResourceOptions) -> None:
        """Register the role's objects."""
        super().__init__("inferstack:security:Security", name, {}, pulumi.ResourceOptions(parent=opts.parent))
        self.ready = []
        self.register_outputs({"enabled": settings.enabled})
