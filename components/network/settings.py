"""Settings of the network role; `checks` validates combinations."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, StrictBool, StrictInt, StringConstraints

from components.settings import DnsLabel, RoleSettings

_NAME = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_SUBDOMAIN = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*"


def _label_key(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(rf"({_SUBDOMAIN}/)?{_NAME}", value):
        raise ValueError(f"expected the key of a label such as example.com/rack, got {value!r}")
    return value


def _label_value(value: object) -> str:
    if isinstance(value, bool):
        word = str(value).lower()
        raise ValueError(f'{word} without quotes is no text in YAML; write "{word}"')  # noqa: TRY004  # pydantic's way
    if not isinstance(value, str) or not re.fullmatch(rf"({_NAME})?", value):
        raise ValueError(f"expected the value of a label, up to 63 letters, digits, dots and dashes, got {value!r}")
    return value


def _domain(value: object) -> str:
    if not isinstance(value, str) or len(value) > 253 or not re.fullmatch(_SUBDOMAIN, value):
        raise ValueError(f"expected a domain such as example.com, got {value!r}")
    return value


LabelKey = Annotated[str, BeforeValidator(_label_key)]
Labels = dict[LabelKey, Annotated[str, BeforeValidator(_label_value)]]
PciId = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{4}$")]
ResourceName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_]+$", max_length=63)]
"""Letters, digits and underscores, as the operator's webhook requires."""
Vfs = Annotated[StrictInt, Field(ge=1, le=256)]
LinkType = Literal["eth", "ib"]


def _on_or_off(value: object) -> object:
    if isinstance(value, bool):
        word = "on" if value else "off"
        raise ValueError(f'{word} without quotes is true or false in YAML; write "{word}"')  # noqa: TRY004  # pydantic's way
    return value


def _number_or_percentage(value: object) -> object:
    if isinstance(value, str) and re.fullmatch(r"[1-9]\d?%|100%", value):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return value
    raise ValueError(f"expected a number from 1 or a percentage from 1% to 100%, got {value!r}")


Switch = Annotated[Literal["on", "off"], BeforeValidator(_on_or_off)]
Share = Annotated[int | str, BeforeValidator(_number_or_percentage)]


class ExtraNic(RoleSettings):
    """A NIC that the project does not know."""

    vendor: PciId
    """PCI vendor id of the physical function, four hex digits."""
    device: PciId
    """PCI device id of the physical function."""
    vf_device: PciId
    """PCI device id of its virtual functions."""
    max_vfs: Vfs
    """Maximum number of virtual functions of a physical function."""
    max_mtu: Annotated[StrictInt, Field(ge=68, le=65535)] = 9000
    """Maximum MTU of a port in bytes. 9000: as on common NICs."""
    rdma: StrictBool = False
    """Whether its functions support RDMA."""


class Pool(RoleSettings):
    """A group of nodes that are configured together."""

    node_selector: Labels
    """Labels of its nodes; a node must not be in two pools."""
    max_unavailable: Share = 1
    """Maximum number of nodes drained at a time, or a percentage (25%), rounded down."""
    rdma_mode: Literal["shared", "exclusive"] | None = None
    """Visibility of RDMA devices. shared: in all network namespaces of a node. exclusive: only in the pod with the
    function, whose network needs {type: rdma} in metaPlugins. A change reboots the nodes. Unset: the mode of the nodes
    is not changed; it is shared by default."""


class NicSelector(RoleSettings):
    """Selector of ports; a port must match all given fields."""

    vendor: PciId | None = None
    """PCI vendor id, such as 15b3 (NVIDIA, Mellanox) or 8086 (Intel)."""
    device_id: PciId | None = Field(None, alias="deviceID")
    """PCI device id of the physical function, such as 101d (ConnectX-6 Dx)."""
    pf_names: tuple[str, ...] = ()
    """Port names. ens1f0#0-7: functions 0 to 7 of ens1f0, so that policies can share a port."""
    root_devices: tuple[
        Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$")], ...
    ] = ()
    """PCI addresses of physical functions, such as 0000:86:00.0."""


class Policy(RoleSettings):
    """Virtual functions of ports, and the extended resource by which pods request them."""

    resource_name: ResourceName
    """Name of the extended resource, without the prefix. Several policies may provide one resource."""
    node_selector: Annotated[Labels, Field(min_length=1)]
    """Labels of the nodes, such as feature.node.kubernetes.io/network-sriov.capable: "true"."""
    nic_selector: NicSelector
    """Selector of ports on these nodes."""
    num_vfs: Vfs
    """Number of virtual functions of each port."""
    priority: Annotated[StrictInt, Field(ge=0, le=99)] = 99
    """If several policies match a port, the lowest number wins. 99: the lowest priority."""
    device_type: Literal["netdevice", "vfio-pci"] = "netdevice"
    """Driver of the functions. netdevice: the kernel driver. vfio-pci: for DPDK and virtual machines."""
    is_rdma: StrictBool = False
    """Whether pods also get the RDMA device of their function."""
    link_type: LinkType | None = None
    """eth or ib; ports that support both are switched. Unset: unchanged."""
    e_switch_mode: Literal["legacy", "switchdev"] | None = None
    """switchdev: functions are connected to a switch with hardware offload. Unset: legacy."""
    mtu: Annotated[StrictInt, Field(ge=1)] | None = None
    """MTU of the port and its functions in bytes. Unset: unchanged."""
    exclude_topology: StrictBool = False
    """Whether to hide the NUMA node of functions from the kubelet. false: the Topology Manager can align functions
    with GPUs."""
    need_vhost_net: StrictBool = False
    """Whether pods also get /dev/vhost-net, which DPDK needs to pass packets to the kernel."""


class TenantNetwork(RoleSettings):
    """A network to which pods of one tenant can be attached."""

    tenant: DnsLabel
    """Tenant in whose namespace the NetworkAttachmentDefinition is created."""
    resource_name: ResourceName
    """Resource of the policies whose functions are attached."""
    ipam: dict[str, Any] = Field(default_factory=dict)
    """IPAM configuration in the format of its CNI plugin: {type: whereabouts, range: 10.56.0.0/16}. Empty: no
    addresses; RDMA over InfiniBand needs none."""
    capabilities: dict[str, StrictBool] = Field(default_factory=dict)
    """Capabilities that a pod may set, such as mac: true or infinibandGUID: true."""
    meta_plugins: tuple[dict[str, Any], ...] = ()
    """Further CNI plugins of the chain, such as {type: rdma} or {type: tuning, sysctl: {...}}."""
    vlan: Annotated[StrictInt, Field(ge=0, le=4094)] | None = None
    """VLAN ID of the functions. 0: none."""
    vlan_qos: Annotated[StrictInt, Field(ge=0, le=7)] | None = Field(None, alias="vlanQoS")
    """VLAN priority (QoS) of the functions."""
    spoof_chk: Switch | None = None
    """"on": the NIC drops frames whose MAC address is not the function's. Unset: the default of the driver."""
    trust: Switch | None = None
    """"on": the pod may change its MAC address and use promiscuous mode. Unset: the default of the driver, off."""
    link_state: Literal["auto", "enable", "disable"] | None = None
    """Link state of functions; auto follows the port. Unset: auto."""
    min_tx_rate: Annotated[StrictInt, Field(ge=0)] | None = None
    """Guaranteed bandwidth of a function in Mbit/s."""
    max_tx_rate: Annotated[StrictInt, Field(ge=0)] | None = None
    """Maximum transmit bandwidth of a function in Mbit/s. 0: no limit."""


class Sriov(RoleSettings):
    """Virtual functions of NICs."""

    enabled: StrictBool
    resource_prefix: Annotated[str, BeforeValidator(_domain)]
    node_selector: Annotated[Labels, Field(min_length=1)]
    disable_drain: StrictBool
    configuration_mode: Literal["daemon", "systemd"]
    log_level: Annotated[StrictInt, Field(ge=0, le=2)]
    feature_gates: dict[str, StrictBool]
    extra_nics: dict[Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]+$", max_length=63)], ExtraNic]
    pools: dict[DnsLabel, Pool]
    policies: dict[DnsLabel, Policy]
    networks: dict[DnsLabel, TenantNetwork]


class Toleration(RoleSettings):
    """A toleration of the device plugin."""

    key: LabelKey | None = None
    """Key of the taint. Unset, with operator Exists: any key."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """Exists: any value. Equal: the given value."""
    value: str | None = None
    """Value of the taint, for operator Equal."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Effect of the taint. Unset: any."""


class Efa(RoleSettings):
    """Amazon's Elastic Fabric Adapter."""

    enabled: StrictBool
    instance_types: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$")], ...]
    node_selector: Labels
    tolerations: tuple[Toleration, ...]


class Topology(RoleSettings):
    """Network topology above the nodes."""

    levels: tuple[LabelKey, ...]


class NetworkSettings(RoleSettings):
    """See defaults.yaml."""

    sriov: Sriov
    efa: Efa
    topology: Topology
