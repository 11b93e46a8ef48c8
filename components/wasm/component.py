"""The components of the wasm role."""

from __future__ import annotations

import pulumi

from components.agents import program
from components.resource import KubeObject
from components.wasm.builders import make_objects, make_sample
from components.wasm.settings import WasmSettings
from inferstack.versions import load as load_versions


class Wasm(pulumi.ComponentResource):
    """The WasmEdge shim on selected nodes, and its RuntimeClass."""

    ready: list[pulumi.Resource]
    """Resources that dependents of this role wait for; empty if it is disabled."""
    runtime_class: pulumi.Output[str]
    """runtimeClassName of pods; empty if the role is disabled."""

    def __init__(self, name: str, settings: WasmSettings, opts: pulumi.ResourceOptions) -> None:
        """Register the installer, then the RuntimeClass."""
        super().__init__("inferstack:wasm:Wasm", name, {}, pulumi.ResourceOptions(parent=opts.parent))
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        self.ready = []
        if settings.enabled:
            for manifest in make_objects(settings, program("wasm"), load_versions()["images"]["python"]):
                # Sequential: no pod is scheduled to a node before the shim is installed or after it is removed.
                after = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=list(self.ready)))
                resource = f"wasm-{manifest['kind'].lower()}"
                if manifest["kind"] == "ConfigMap":
                    resource = manifest["metadata"]["name"].removeprefix("inferstack-")
                self.ready.append(KubeObject(resource, manifest, after))
        self.runtime_class = pulumi.Output.from_input(settings.runtime_class.name if settings.enabled else "")
        self.register_outputs({"enabled": settings.enabled, "runtimeClass": self.runtime_class})


class WasmSample(pulumi.ComponentResource):
    """A sample inference job in WebAssembly."""

    deployment: pulumi.Output[str]
    """Namespace and name of the sample's Deployment; empty without a sample."""

    def __init__(self, name: str, settings: WasmSettings, opts: pulumi.ResourceOptions) -> None:
        """Register the Deployment if the sample is enabled."""
        super().__init__("inferstack:wasm:WasmSample", name, {}, pulumi.ResourceOptions(parent=opts.parent))
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        address = ""
        if settings.sample is not None:
            manifest = make_sample(settings.sample, settings.runtime_class.name)
            KubeObject("wasm-sample", manifest, child)
            address = f"{manifest['metadata']['namespace']}/{manifest['metadata']['name']}"
        self.deployment = pulumi.Output.from_input(address)
        self.register_outputs({"deployment": self.deployment})
