"""The component of the kernel role."""

from __future__ import annotations

import pulumi

from components.agents import program
from components.kernel.builders import make_objects
from components.kernel.settings import KernelSettings
from components.resource import KubeObject
from inferstack.versions import load as load_versions


class Kernel(pulumi.ComponentResource):
    """The agent that sets kernel parameters for low network latency on selected nodes, and restores them."""

    ready: list[pulumi.Resource]
    """Resources that dependents of this role wait for; empty if it is disabled."""
    mode: pulumi.Output[str]
    """dryRun, apply or rollback; off if the role is disabled."""

    def __init__(self, name: str, settings: KernelSettings, opts: pulumi.ResourceOptions) -> None:
        """Register the agent's namespace, program, configuration and DaemonSet."""
        super().__init__("inferstack:kernel:Kernel", name, {}, pulumi.ResourceOptions(parent=opts.parent))
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        self.ready = []
        if settings.enabled:
            for manifest in make_objects(settings, program("kernel"), load_versions()["images"]["python"]):
                # Sequential: destroy deletes the DaemonSet first, and its pods restore what they changed.
                after = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=list(self.ready)))
                resource = f"kernel-{manifest['kind'].lower()}"
                if manifest["kind"] == "ConfigMap":
                    resource = manifest["metadata"]["name"].removeprefix("inferstack-")
                self.ready.append(KubeObject(resource, manifest, after))
        self.mode = pulumi.Output.from_input(settings.mode.value if settings.enabled else "off")
        self.register_outputs({"enabled": settings.enabled, "mode": self.mode})
