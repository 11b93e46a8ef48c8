"""The component of an add-on: installed by Helm, found in the cluster, or CRDs only."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi

from components.addon.catalogue import AddonName
from components.addon.plan import Addons
from components.addon.settings import Mode
from components.objects import make_namespace
from components.resource import KubeObject, plugin_version

_CLUSTERS_OWN = frozenset({"default", "kube-system"})


class Addon(pulumi.ComponentResource):
    """An add-on; it is usable once its ``ready`` resources are."""

    kinds: list[pulumi.Resource]
    """CRDs that are separate resources: dependencies of objects that need the kind but no controller."""
    ready: list[pulumi.Resource]
    """Dependencies of objects of the add-on's kinds: created before them, deleted after them."""

    def __init__(self, addon: AddonName, addons: Addons, opts: pulumi.ResourceOptions) -> None:
        """Install the add-on, read the existing one, or register its CRDs only.

        Args:
            addon: the add-on, whose name the component takes.
            addons: all add-ons of the stack.
            opts: parent, provider and dependencies, including the add-on's namespace.
        """
        plan = addons[addon]
        super().__init__("inferstack:addon:Addon", addon, {}, pulumi.ResourceOptions(parent=opts.parent))
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        self.kinds = [KubeObject(crd["metadata"]["name"], crd, child) for crd in plan.crds]
        self.ready = list(self.kinds)
        if plan.mode is not Mode.PRESENT:
            self.ready.append(KubeObject(f"{addon}-marker", plan.marker, child))
        if plan.mode is Mode.CHART:
            after = pulumi.ResourceOptions(depends_on=list(self.ready), version=plugin_version())
            release = pulumi.CustomResource(
                "kubernetes:helm.sh/v3:Release", addon, dict(plan.release), pulumi.ResourceOptions.merge(child, after)
            )
            self.ready.append(release)
            # CRDs among a chart's templates are created by the release.
            self.kinds = self.kinds or [release]
        elif plan.mode is Mode.PRESENT:
            # A read fails during the preview and names the missing object.
            self.ready = [
                KubeObject(sign["metadata"]["name"], sign, _read(child, sign["metadata"])) for sign in plan.facts.signs
            ]
            self.kinds = list(self.ready)
        self.register_outputs({"mode": plan.mode.value})


def namespaces(addons: Addons, names: Sequence[AddonName], opts: pulumi.ResourceOptions) -> list[pulumi.Resource]:
    """Register the namespaces of add-ons, except namespaces of existing add-ons and of the cluster."""
    privileged_by_name: dict[str, bool] = {}
    for name in names:
        plan = addons[name]
        if plan.mode is not Mode.PRESENT and plan.facts.namespace not in _CLUSTERS_OWN:
            privileged_by_name[plan.facts.namespace] = (
                privileged_by_name.get(plan.facts.namespace, False) or plan.facts.privileged
            )
    return [
        KubeObject(name, make_namespace(name, privileged=privileged), opts)
        for name, privileged in privileged_by_name.items()
    ]


def _read(opts: pulumi.ResourceOptions, meta: dict[str, str]) -> pulumi.ResourceOptions:
    identity = "/".join(meta[key] for key in ("namespace", "name") if key in meta)
    return pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(id=identity))
