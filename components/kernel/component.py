"""Kernel as a component."""

from __future__ import annotations

import pulumi

from components.addon import Addons
from components.kernel.settings import KernelSettings


class Kernel(pulumi.ComponentResource):
    """Settings of the nodes for low network latency, with a dry run and a way back."""

    ready: list[pulumi.Resource]
    """What relies on this role depends on; empty where it is off."""

    def __init__(self, name: str, settings: KernelSettings, *, addons: Addons, opts: pulumi.ResourceOptions) -> None:
        """Register the role's objects."""
        super().__init__("inferstack:kernel:Kernel", name, {}, pulumi.ResourceOptions(parent=opts.parent))
        self.ready = []
        self.register_outputs({"enabled": settings.enabled})
