"""Kernel as a component."""

from __future__ import annotations

import pulumi

from components.agents import program
from components.kernel.builders import make_objects
from components.kernel.settings import KernelSettings
from components.resource import KubeObject
from inferstack.versions import load as load_versions


class Kernel(pulumi.ComponentResource):
    """An agent on the chosen nodes that sets what lowers network latency, and puts it back."""

    ready: list[pulumi.Resource]
    """What relies on this role depends on; empty where it is off."""
    mode: pulumi.Output[str]
    """dryRun, apply or rollback; off where the role is."""

    def __init__(self, name: str, settings: KernelSettings, opts: pulumi.ResourceOptions) -> None:
        """Register the agent's namespace, program, configuration and DaemonSet."""
        super().__init__("inferstack:kernel:Kernel", name, {}, pulumi.ResourceOptions(parent=opts.parent))
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        self.ready = []
        if settings.enabled:
            for manifest in make_objects(settings, program("kernel"), load_versions()["images"]["python"]):
                # Each after all before it: the DaemonSet goes first, and its pods put back what they changed.
                after = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=list(self.ready)))
                resource = f"kernel-{manifest['kind'].lower()}"
                if manifest["kind"] == "ConfigMap":
                    resource = manifest["metadata"]["name"].removeprefix("inferstack-")
                self.ready.append(KubeObject(resource, manifest, after))
        self.mode = pulumi.Output.from_input(settings.mode.value if settings.enabled else "off")
        self.register_outputs({"enabled": settings.enabled, "mode": self.mode})
