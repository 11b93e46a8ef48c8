"""Settings of the network role; what several of them say together is in `checks`."""

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
"""Letters, digits and underscores: what the operator's webhook takes."""
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
    """A NIC that the project has no facts of."""

    vendor: PciId
    """PCI vendor id of the physical function, four hex digits."""
    device: PciId
    """PCI device id of the physical function."""
    vf_device: PciId
    """PCI device id of its virtual functions."""
    max_vfs: Vfs
    """Virtual functions that one physical function holds at most."""
    max_mtu: Annotated[StrictInt, Field(ge=68, le=65535)] = 9000
    """Bytes that a port takes at most. 9000: what common NICs take."""
    rdma: StrictBool = False
    """Whether its functions do RDMA."""


class Pool(RoleSettings):
    """A group of nodes that are set up together."""

    node_selector: Labels
    """Labels of its nodes; a node must not be in two pools."""
    max_unavailable: Share = 1
    """Nodes that may be drained at a time: a number or a percentage (25%), which is rounded down."""
    rdma_mode: Literal["shared", "exclusive"] | None = None
    """How RDMA devices are seen: shared, by all network namespaces of a node; exclusive, only by the pod that has the
    function, which takes {type: rdma} among its network's metaPlugins. A change reboots the nodes. Unset: the nodes
    stay as they are, which is shared where nobody changed it."""


class NicSelector(RoleSettings):
    """Which ports of the nodes; a port must fit all that is given."""

    vendor: PciId | None = None
    """PCI vendor id, such as 15b3 (NVIDIA, Mellanox) or 8086 (Intel)."""
    device_id: PciId | None = Field(None, alias="deviceID")
    """PCI device id of the physical function, such as 101d (ConnectX-6 Dx)."""
    pf_names: tuple[str, ...] = ()
    """Names of ports; ens1f0#0-7 means functions 0 to 7 of ens1f0, so that policies can share a port."""
    root_devices: tuple[
        Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{4}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]$")], ...
    ] = ()
    """PCI addresses of physical functions, such as 0000:86:00.0."""


class Policy(RoleSettings):
    """How ports are cut into virtual functions, and what pods ask for to get one."""

    resource_name: ResourceName
    """Name of the extended resource behind the prefix. Several policies may feed one resource."""
    node_selector: Annotated[Labels, Field(min_length=1)]
    """Labels of the nodes, such as feature.node.kubernetes.io/network-sriov.capable: "true"."""
    nic_selector: NicSelector
    """Which ports of these nodes."""
    num_vfs: Vfs
    """Virtual functions of each port."""
    priority: Annotated[StrictInt, Field(ge=0, le=99)] = 99
    """Where policies meet on a port the lower number wins. 99: yields to all others."""
    device_type: Literal["netdevice", "vfio-pci"] = "netdevice"
    """Driver of the functions: netdevice, the kernel's; vfio-pci, for DPDK and virtual machines."""
    is_rdma: StrictBool = False
    """Whether pods get the RDMA device of their function too."""
    link_type: LinkType | None = None
    """eth or ib; a port that can be both is switched. Unset: as the ports are."""
    e_switch_mode: Literal["legacy", "switchdev"] | None = None
    """switchdev: functions hang on a switch that the NIC can offload to. Unset: legacy."""
    mtu: Annotated[StrictInt, Field(ge=1)] | None = None
    """Bytes of a frame's payload, on port and functions. Unset: as the ports are."""
    exclude_topology: StrictBool = False
    """true hides from the kubelet on which NUMA node a function is. false, so that its Topology Manager can keep
    functions and GPUs together."""
    need_vhost_net: StrictBool = False
    """Whether pods get /dev/vhost-net too, which DPDK needs to hand packets to the kernel."""


class TenantNetwork(RoleSettings):
    """A network that pods of one tenant can be attached to."""

    tenant: DnsLabel
    """The tenant in whose namespace the NetworkAttachmentDefinition is made."""
    resource_name: ResourceName
    """The policies' resource whose functions are attached."""
    ipam: dict[str, Any] = Field(default_factory=dict)
    """How functions get addresses, as the CNI plugin of its type reads it: {type: whereabouts, range: 10.56.0.0/16}.
    Empty: no addresses, as RDMA over InfiniBand needs none."""
    capabilities: dict[str, StrictBool] = Field(default_factory=dict)
    """What a pod may set itself, such as mac: true or infinibandGUID: true."""
    meta_plugins: tuple[dict[str, Any], ...] = ()
    """CNI plugins that run after, such as {type: rdma} or {type: tuning, sysctl: {...}}."""
    vlan: Annotated[StrictInt, Field(ge=0, le=4094)] | None = None
    """VLAN of the functions, 0 for none."""
    vlan_qos: Annotated[StrictInt, Field(ge=0, le=7)] | None = Field(None, alias="vlanQoS")
    """Priority of frames in that VLAN."""
    spoof_chk: Switch | None = None
    """"on": the NIC drops frames with another MAC address than the function's. Unset: as the NIC's driver has it."""
    trust: Switch | None = None
    """"on": the pod may change its MAC address and listen to all. Unset: as the driver has it, which is off."""
    link_state: Literal["auto", "enable", "disable"] | None = None
    """Whether a function's link follows the port's. Unset: auto."""
    min_tx_rate: Annotated[StrictInt, Field(ge=0)] | None = None
    """Mbit/s that a function can count on."""
    max_tx_rate: Annotated[StrictInt, Field(ge=0)] | None = None
    """Mbit/s that a function sends at most; 0 for no limit."""


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
    """A taint that the device plugin tolerates."""

    key: LabelKey | None = None
    """Of the taint. None with operator Exists: any."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """Exists: whatever the value."""
    value: str | None = None
    """Of the taint, with operator Equal."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Of the taint. None: any."""


class Efa(RoleSettings):
    """Amazon's Elastic Fabric Adapter."""

    enabled: StrictBool
    instance_types: tuple[Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]+\.[a-z0-9-]+$")], ...]
    node_selector: Labels
    tolerations: tuple[Toleration, ...]


class Topology(RoleSettings):
    """The switches above nodes."""

    levels: tuple[LabelKey, ...]


class NetworkSettings(RoleSettings):
    """See defaults.yaml."""

    sriov: Sriov
    efa: Efa
    topology: Topology
