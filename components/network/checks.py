"""Checks of the network role's settings, against each other, the tenants and the simulated nodes."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from components.network.fleet import Machine
from components.network.limits import Limits, check_nic, limits_of
from components.network.settings import NetworkSettings, Policy, Sriov, TenantNetwork
from inferstack.errors import UserError, hint
from inferstack.network import ranges

KEY = "inferstack:network"


def check_network(settings: NetworkSettings, tenants: Collection[str], machines: Sequence[Machine]) -> None:
    """Check the role's settings as a whole, including disabled parts, so that they can be enabled later.

    Args:
        settings: the role's settings.
        tenants: names of the tenants' namespaces.
        machines: the simulated nodes, as known before they run; empty for real nodes.

    Raises:
        UserError: one line for each invalid key.
    """
    sriov = settings.sriov
    limits = {name: limits_of(policy.nic_selector, sriov.extra_nics) for name, policy in sriov.policies.items()}
    wrong = [
        *_pools(sriov, machines),
        *itertools.chain.from_iterable(_policy(name, sriov.policies[name], sriov, limits[name]) for name in limits),
        *_meetings(sriov.policies),
        *_resources(sriov.policies),
        *itertools.chain.from_iterable(
            _network(f"{KEY}.sriov.networks.{name}", network, sriov, tenants)
            for name, network in sriov.networks.items()
        ),
        *_topology(settings.topology.levels, machines),
        *(_fleet(sriov.policies, machines) if sriov.enabled else ()),
    ]
    if wrong:
        raise UserError("\n".join(wrong))


def _pools(sriov: Sriov, machines: Sequence[Machine]) -> Iterator[str]:
    for name, pool in sriov.pools.items():
        if sriov.disable_drain and pool.max_unavailable != 1:
            yield (
                f"{KEY}.sriov.pools.{name}.maxUnavailable: limits concurrent drains, and "
                f"{KEY}.sriov.disableDrain disables draining; remove one of them."
            )
    for machine in machines:
        pools = [name for name, pool in sriov.pools.items() if selects(pool.node_selector, machine.labels)]
        if len(pools) > 1:
            yield (
                f"{KEY}.sriov.pools.{pools[1]}.nodeSelector: matches node {machine.name}, which is in pool "
                f"{pools[0]} already; the operator does not configure a node in two pools."
            )
            return


def _policy(name: str, policy: Policy, sriov: Sriov, limits: Limits) -> Iterator[str]:
    key, selector = f"{KEY}.sriov.policies.{name}", policy.nic_selector
    yield from check_nic(f"{key}.nicSelector", selector, sriov.extra_nics)
    if policy.num_vfs > limits.vfs:
        yield f"{key}.numVfs: {policy.num_vfs} exceeds the limit of {limits.name}, {limits.vfs}."
    for index, text in enumerate(selector.pf_names):
        try:
            ranges.parse(text, policy.num_vfs)
        except ValueError as error:
            yield f"{key}.nicSelector.pfNames[{index}]: {error}."
    if policy.device_type == "vfio-pci" and policy.is_rdma:
        yield f"{key}.isRdma: vfio-pci detaches functions from RDMA drivers; use netdevice, or false."
    elif policy.is_rdma and not limits.rdma:
        yield f"{key}.isRdma: {limits.name} does not support RDMA; use false, or another NIC."
    link = policy.link_type or (limits.links[0] if len(limits.links) == 1 else None)
    if policy.link_type is not None and policy.link_type not in limits.links:
        yield f"{key}.linkType: {limits.name} is {' or '.join(limits.links)} only."
    if policy.link_type == "ib" and policy.e_switch_mode == "switchdev":
        yield f"{key}.eSwitchMode: switchdev requires Ethernet, and linkType is ib; use legacy."
    if policy.mtu is not None:
        low, high = limits.mtu(link)
        if not low <= policy.mtu <= high:
            of = {"eth": "on Ethernet", "ib": "on InfiniBand", None: "on either link type"}[link]
            yield f"{key}.mtu: {policy.mtu} is not between {low} and {high} bytes, what {limits.name} takes {of}."
    modes = {
        pool.rdma_mode or "shared" for pool in sriov.pools.values() if meets(pool.node_selector, policy.node_selector)
    }
    if policy.is_rdma and len(modes) > 1:
        yield (
            f"{key}.nodeSelector: matches nodes of pools with rdmaMode shared and exclusive; a resource needs one of "
            "them, so make a policy and a resource for each."
        )


def _meetings(policies: Mapping[str, Policy]) -> Iterator[str]:
    """Check that policies on the same port of a node use disjoint functions."""
    for (first_name, first), (second_name, second) in itertools.combinations(policies.items(), 2):
        if not meets(first.node_selector, second.node_selector):
            continue
        key = f"{KEY}.sriov.policies.{second_name}.nicSelector"
        for index, functions in enumerate(_ranges(second)):
            if functions and any(others and functions.overlaps(others) for others in _ranges(first)):
                yield (
                    f"{key}.pfNames[{index}]: functions {functions} of {functions.port} are policy {first_name}'s too; "
                    "share them out."
                )
        if both := sorted(set(first.nic_selector.root_devices) & set(second.nic_selector.root_devices)):
            yield f"{key}.rootDevices: {both[0]} is policy {first_name}'s too; the operator takes a device once."


def _ranges(policy: Policy) -> list[ranges.Range | None]:
    """Return the parsed port names of a policy; None if one is invalid, which another check reports."""
    parsed: list[ranges.Range | None] = []
    for text in policy.nic_selector.pf_names:
        try:
            parsed.append(ranges.parse(text, policy.num_vfs))
        except ValueError:
            parsed.append(None)
    return parsed


def _resources(policies: Mapping[str, Policy]) -> Iterator[str]:
    """Check that all devices of a resource are alike, because a pod may get any of them."""
    for (first_name, first), (second_name, second) in itertools.combinations(policies.items(), 2):
        if first.resource_name != second.resource_name:
            continue
        for field, key in (
            ("is_rdma", "isRdma"),
            ("device_type", "deviceType"),
            ("link_type", "linkType"),
            ("exclude_topology", "excludeTopology"),
        ):
            if getattr(first, field) != getattr(second, field):
                yield (
                    f"{KEY}.sriov.policies.{second_name}.{key}: policy {first_name} feeds the same "
                    f"resource {first.resource_name} "
                    f"with another value; make them equal, or name another resource."
                )


def _network(key: str, network: TenantNetwork, sriov: Sriov, tenants: Collection[str]) -> Iterator[str]:
    if network.tenant not in tenants:
        yield f'{key}.tenant: no tenant "{network.tenant}"; {hint(network.tenant, tenants)}'
    feeding = [policy for policy in sriov.policies.values() if policy.resource_name == network.resource_name]
    if not feeding:
        resources = {policy.resource_name for policy in sriov.policies.values()}
        yield (
            f'{key}.resourceName: no policy makes "{network.resource_name}"; '
            f"{hint(network.resource_name, resources, otherwise='they make')}"
        )
        return
    if feeding[0].link_type == "ib":
        ethernet = (("vlan", "vlan"), ("vlan_qos", "vlanQoS"), ("spoof_chk", "spoofChk"), ("trust", "trust"),
                    ("min_tx_rate", "minTxRate"), ("max_tx_rate", "maxTxRate"))  # fmt: skip
        for field, name in ethernet:
            if getattr(network, field) is not None:
                yield f"{key}.{name}: is for Ethernet, and {network.resource_name} is InfiniBand; remove it."
    if network.ipam and not isinstance(network.ipam.get("type"), str):
        yield f"{key}.ipam.type: is required: the name of a CNI plugin such as whereabouts, host-local or static."
    for index, plugin in enumerate(network.meta_plugins):
        if not isinstance(plugin.get("type"), str):
            yield f"{key}.metaPlugins[{index}].type: is required: the name of a CNI plugin such as rdma or tuning."
    if network.vlan_qos and not network.vlan:
        yield f"{key}.vlanQoS: is a priority within a VLAN; set vlan too."
    if network.max_tx_rate and (network.min_tx_rate or 0) > network.max_tx_rate:
        yield f"{key}.minTxRate: {network.min_tx_rate} is more than maxTxRate, {network.max_tx_rate}."
    yield from _rdma(key, network, feeding, sriov)


def _rdma(key: str, network: TenantNetwork, feeding: Sequence[Policy], sriov: Sriov) -> Iterator[str]:
    """Check the rdma plugin, which moves a device into the pod's network namespace and needs the mode exclusive."""
    moved = any(plugin.get("type") == "rdma" for plugin in network.meta_plugins)
    if moved and not any(policy.is_rdma for policy in feeding):
        yield f"{key}.metaPlugins: rdma moves RDMA devices, and no policy of {network.resource_name} sets isRdma."
        return
    modes = {
        pool.rdma_mode
        for pool in sriov.pools.values()
        if any(policy.is_rdma and meets(pool.node_selector, policy.node_selector) for policy in feeding)
    }
    if moved and "exclusive" not in modes:
        yield (
            f"{key}.metaPlugins: rdma works with rdmaMode exclusive only, which no pool of {network.resource_name}'s "
            f"nodes sets; set it under {KEY}.sriov.pools, or remove the plugin."
        )
    if modes == {"exclusive"} and not moved:
        yield (
            f"{key}.metaPlugins: with rdmaMode exclusive a pod sees no RDMA device that was not moved to it; "
            "add {type: rdma}."
        )


def _topology(levels: Sequence[str], machines: Sequence[Machine]) -> Iterator[str]:
    for index, level in enumerate(levels):
        key = f"{KEY}.topology.levels[{index}]"
        if level in levels[:index]:
            yield f"{key}: {level} is a duplicate."
        elif machines and not any(level in machine.labels for machine in machines):
            near = {label for machine in machines for label in machine.labels if "topology" in label}
            yield f"{key}: no node of the fleet has the label {level}; {hint(level, near, otherwise='they have')}"


def _fleet(policies: Mapping[str, Policy], machines: Sequence[Machine]) -> Iterator[str]:
    """Check that each policy matches a port of the simulated fleet, and that the port has enough functions."""
    if not machines:
        return
    for name, policy in policies.items():
        key = f"{KEY}.sriov.policies.{name}"
        if any(machine_written(label) for label in policy.node_selector):
            continue
        nodes = [machine for machine in machines if selects(policy.node_selector, machine.labels)]
        if not nodes:
            yield f"{key}.nodeSelector: no node of the fleet has {_shown(policy.node_selector)}."
            continue
        ports = [port for machine in nodes for port in machine.ports if port.fits(policy.nic_selector)]
        if not ports:
            have = sorted({f"{port.vendor}:{port.device} {port.name}" for node in nodes for port in node.ports})
            yield f"{key}.nicSelector: fits no port of these nodes, which have {', '.join(have) or 'none'}."
        elif policy.num_vfs > (least := min(ports, key=lambda port: port.max_vfs)).max_vfs:
            yield f"{key}.numVfs: {policy.num_vfs} are more than {least.name} of the fleet holds, {least.max_vfs}."


def machine_written(label: str) -> bool:
    """Return whether discovery writes a label at run time, so that its value is not known beforehand."""
    return label.startswith(("nvidia.com/", "feature.node.kubernetes.io/"))


def selects(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Return whether a selector matches a node with these labels."""
    return all(labels.get(key) == value for key, value in selector.items())


def meets(first: Mapping[str, str], second: Mapping[str, str]) -> bool:
    """Return whether both selectors could match the same node."""
    return all(second.get(key, value) == value for key, value in first.items())


def _shown(selector: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in selector.items())
