"""The component of the gpu role."""

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
    """The GPU operator with the stack's MIG layouts."""

    ready: list[pulumi.Resource]
    """Dependencies of GPU workloads."""
    strategy: pulumi.Output[str]
    """MIG strategy: how Kubernetes names MIG devices."""

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
        # An existing operator already has its namespace.
        spaces = namespaces(addons, ("gpu-operator",), child)
        within = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=spaces))
        mode = addons["gpu-operator"].mode
        maps = {"mig-layouts": make_config_map(layouts), **make_config_maps(settings)}
        if mode is Mode.PRESENT:
            # The owner of an existing operator configures its metrics.
            maps.pop("dcgm-counters", None)
        # Before the operator, whose pods wait for them.
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
