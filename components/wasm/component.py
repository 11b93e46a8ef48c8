"""Wasm as a component."""

from __future__ import annotations

import pulumi

from components.addon import Addons
from components.wasm.settings import WasmSettings


class Wasm(pulumi.ComponentResource):
    """A runtime class for light inference jobs."""

    ready: list[pulumi.Resource]
    """What relies on this role depends on; empty where it is off."""

    def __init__(self, name: str, settings: WasmSettings, *, addons: Addons, opts: pulumi.ResourceOptions) -> None:
        """Register the role's objects."""
        super().__init__("inferstack:wasm:Wasm", name, {}, pulumi.ResourceOptions(parent=opts.parent))
        self.ready = []
        self.register_outputs({"enabled": settings.enabled})
