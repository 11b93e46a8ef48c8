"""GPUs as a component."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from components.addon.component import Addon, namespaces
from components.addon.plan import Addons
from components.addon.settings import Mode
from components.gpu.builders import make_cluster_policy, make_config_map, make_config_maps, make_policy_patch
from components.gpu.settings import GpuSettings
from components.resource import KubeObject


class Gpu(pulumi.ComponentResource):
    """The GPU operator with the stack's layouts."""

    ready: list[pulumi.Resource]
    """What uses GPUs depends on."""
    strategy: pulumi.Output[str]
    """How MIG slices are named to Kubernetes."""

    def __init__(
        self,
        name: str,
        settings: GpuSettings,
        *,
        layouts: Mapping[str, Any],
        addons: Addons,
        monitored: bool,
        opts: pulumi.ResourceOptions,
    ) -> None:
        """Register namespace and ConfigMaps, the operator, and (unless the chart makes it) the ClusterPolicy.

        Args:
            name: the component's name.
            settings: the role's settings.
            layouts: content of the MIG manager's ``config.yaml``.
            addons: all add-ons of the stack.
            monitored: whether the API server serves the Prometheus operator's kinds.
            opts: parent, provider and dependencies.
        """
        super().__init__("inferstack:gpu:Gpu", name, {}, pulumi.ResourceOptions(parent=opts.parent))
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        # Where the operator is present its namespace is its installer's, and is there.
        spaces = namespaces(addons, ("gpu-operator",), child)
        within = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=spaces))
        mode = addons["gpu-operator"].mode
        maps = {"mig-layouts": make_config_map(layouts), **make_config_maps(settings)}
        if mode is Mode.PRESENT:
            # What is measured stays as the owner of the operator has it.
            maps.pop("dcgm-counters", None)
        # Before the operator: its pods wait for them.
        config = [KubeObject(key, manifest, within) for key, manifest in maps.items()]
        operator = Addon("gpu-operator", addons, pulumi.ResourceOptions.merge(within, _after(config)))
        after = pulumi.ResourceOptions.merge(child, _after([*operator.ready, *config]))
        self.ready = [*operator.ready, *config]
        if mode is Mode.REHEARSED:
            policy = make_cluster_policy(settings, monitored=monitored)
            self.ready.append(KubeObject("cluster-policy", policy, after))
        elif mode is Mode.PRESENT:
            self.ready.append(KubeObject("cluster-policy", make_policy_patch(settings), after, patch=True))
        self.strategy = pulumi.Output.from_input(settings.mig.strategy.value)
        self.register_outputs({"strategy": self.strategy})


def _after(before: Sequence[pulumi.Resource]) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions(depends_on=list(before))
