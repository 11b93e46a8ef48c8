"""Network as two components: devices on nodes, and the tenants' networks on these devices."""

from __future__ import annotations

import pulumi

from components.addon.component import Addon, namespaces
from components.addon.plan import Addons
from components.addon.settings import Mode
from components.network.builders import make_network, make_operator_config, make_policy, make_pool, resources
from components.network.settings import NetworkSettings
from components.resource import KubeObject


class Network(pulumi.ComponentResource):
    """SR-IOV virtual functions and EFA devices on nodes."""

    ready: list[pulumi.Resource]
    """Resources that users of the devices depend on; empty if the role is off."""
    resources: pulumi.Output[list[str]]
    """Extended resources that pods can request."""

    def __init__(self, name: str, settings: NetworkSettings, *, addons: Addons, opts: pulumi.ResourceOptions) -> None:
        """Register the operators, then their configuration, then the policies.

        Args:
            name: the component's name.
            settings: the role's settings.
            addons: all add-ons of the stack.
            opts: parent, provider and dependencies.
        """
        super().__init__("inferstack:network:Network", name, {}, pulumi.ResourceOptions(parent=opts.parent))
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        self.ready = []
        if settings.sriov.enabled:
            self.ready += self._sriov(settings, addons, child)
        if settings.efa.enabled:
            # In kube-system, like Amazon's other node plugins.
            self.ready += Addon("aws-efa-k8s-device-plugin", addons, child).ready
        self.resources = pulumi.Output.from_input(resources(settings))
        self.register_outputs({"resources": self.resources})

    def _sriov(self, settings: NetworkSettings, addons: Addons, child: pulumi.ResourceOptions) -> list[pulumi.Resource]:
        sriov = settings.sriov
        spaces = namespaces(addons, ("sriov-network-operator",), child)
        within = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=spaces))
        operator = Addon("sriov-network-operator", addons, within)
        after = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=[*spaces, *operator.ready]))
        setup: list[pulumi.Resource] = []
        # The configuration of an existing operator belongs to whoever installed it.
        if addons["sriov-network-operator"].mode is not Mode.PRESENT:
            setup.append(KubeObject("sriov-operator-config", make_operator_config(sriov), after))
        setup += [KubeObject(f"sriov-pool-{name}", make_pool(name, pool), after) for name, pool in sriov.pools.items()]
        # Policies drain nodes by the rules of their pool, so pools are created before policies and deleted after them.
        cut = pulumi.ResourceOptions.merge(after, pulumi.ResourceOptions(depends_on=setup))
        policies = [
            KubeObject(f"sriov-policy-{name}", make_policy(name, policy), cut)
            for name, policy in sriov.policies.items()
        ]
        return [*spaces, *operator.ready, *setup, *policies]


class TenantNetworks(pulumi.ComponentResource):
    """The networks to which tenants' pods can be attached."""

    ready: list[pulumi.Resource]
    """Resources that pods on these networks depend on."""
    networks: pulumi.Output[list[str]]
    """NetworkAttachmentDefinitions, as namespace/name."""

    def __init__(self, name: str, settings: NetworkSettings, *, opts: pulumi.ResourceOptions) -> None:
        """Register the networks in the operator's namespace; the operator publishes them in the tenants' namespaces.

        Args:
            name: the component's name.
            settings: the role's settings.
            opts: parent, provider and dependencies: the role's first component and the tenants.
        """
        super().__init__("inferstack:network:TenantNetworks", name, {}, pulumi.ResourceOptions(parent=opts.parent))
        child = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(parent=self))
        networks = settings.sriov.networks if settings.sriov.enabled else {}
        self.ready = [
            KubeObject(f"sriov-network-{each}", make_network(each, network, settings.sriov), child)
            for each, network in networks.items()
        ]
        self.networks = pulumi.Output.from_input([f"{network.tenant}/{each}" for each, network in networks.items()])
        self.register_outputs({"networks": self.networks})
