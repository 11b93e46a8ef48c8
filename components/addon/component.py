"""One add-on, three ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
import yaml

from components.addon.settings import AddonName, AddonSettings, Mode
from components.objects import KubeObject, Object, plugin_version
from inferstack.versions import load as load_versions

_REHEARSED = Path(__file__).parent / "rehearsed"


@dataclass(frozen=True)
class AddonArgs:
    """What is particular to one add-on."""

    addon: AddonName
    """Its name here and of its Helm release."""
    namespace: str
    """Where the chart goes; the namespace exists already."""
    mode: Mode
    """Any but auto."""
    crds: tuple[str, ...]
    """Names of the CRDs that others rely on, such as clusterpolicies.nvidia.com."""
    values: Mapping[str, Any] = field(default_factory=dict)
    """Values for the chart."""


class Addon(pulumi.ComponentResource):
    """An add-on that is in the cluster once its ``ready`` resources are."""

    ready: list[pulumi.Resource]
    """What objects of the add-on's own kinds depend on: they come after these and go before them."""

    def __init__(self, name: str, args: AddonArgs, settings: AddonSettings, opts: pulumi.ResourceOptions) -> None:
        """Install, look for or rehearse the add-on; ``opts`` carries the provider and what must come before."""
        super().__init__(
            "inferstack:addon:Addon",
            name,
            {},
            pulumi.ResourceOptions(parent=opts.parent),
        )
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        if args.mode is Mode.CHART:
            self.ready = [_release(args, settings, child)]
        elif args.mode is Mode.PRESENT:
            # Reading fails in the preview already, and names the CRD that is not served.
            self.ready = [KubeObject(crd, make_crd_reference(crd), _read(child, crd)) for crd in args.crds]
        else:
            self.ready = [KubeObject(crd["metadata"]["name"], crd, child) for crd in rehearsed_crds(args.addon)]
        self.register_outputs({"mode": args.mode.value})


def rehearsed_crds(addon: AddonName) -> list[Object]:
    """Return the CRDs that stand for an add-on in the rehearsal."""
    return list(yaml.safe_load_all((_REHEARSED / f"{addon}.yaml").read_text()))


def make_crd_reference(crd: str) -> Object:
    """Return what is needed to read a CRD by its name."""
    return {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": crd}}


def make_release(args: AddonArgs, settings: AddonSettings, chart: Mapping[str, str]) -> dict[str, Any]:
    """Return the inputs of the Helm release.

    Args:
        args: the add-on.
        settings: where charts come from, and how long they may take.
        chart: the pin in versions.yaml: ``chart``, ``version`` and ``repo`` (https:// or oci://).
    """
    inputs: dict[str, Any] = {
        "name": args.addon,
        "namespace": args.namespace,
        "values": dict(args.values),
        "timeout": settings.timeout_seconds,
        # A half-installed operator is mended by the next up; rolled back, its CRs would hang on finalizers.
        "atomic": False,
    }
    if settings.mirror:
        packed = Path(settings.mirror).expanduser() / f"{chart['chart']}-{chart['version']}.tgz"
        return {**inputs, "chart": str(packed)}
    if chart["repo"].startswith("oci://"):
        return {**inputs, "chart": f"{chart['repo']}/{chart['chart']}", "version": chart["version"]}
    return {
        **inputs,
        "chart": chart["chart"],
        "version": chart["version"],
        "repositoryOpts": {"repo": chart["repo"]},
    }


def _release(args: AddonArgs, settings: AddonSettings, opts: pulumi.ResourceOptions) -> pulumi.CustomResource:
    pin = load_versions()["charts"][args.addon]
    versioned = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(version=plugin_version()))
    return pulumi.CustomResource(
        "kubernetes:helm.sh/v3:Release", args.addon, make_release(args, settings, pin), versioned
    )


def _read(opts: pulumi.ResourceOptions, identity: str) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(id=identity))
