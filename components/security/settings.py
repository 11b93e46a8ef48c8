"""Settings of the security role."""

from __future__ import annotations

import enum
import ipaddress
import re
from typing import Annotated

from pydantic import BeforeValidator, Field, StrictBool, StrictInt, StringConstraints

from components.settings import DnsLabel, Reason, RoleSettings
from inferstack.policy.settings import PolicySettings

_KERNEL = re.compile(r"\d+\.\d+[^\s]*")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


def _network(value: object) -> str:
    try:
        return str(ipaddress.IPv4Network(str(value)))
    except ValueError as error:
        raise ValueError(f"expected a network such as 10.0.0.0/16: {error}") from None


def _release(value: object) -> str:
    # A bare 5.10 is a number to YAML, and would lose its zero.
    if not isinstance(value, str) or not _KERNEL.fullmatch(value):
        raise ValueError(f'expected a kernel as `uname -r` prints it, in quotes, such as "6.1.141", got {value!r}')
    return value


def _host(value: object) -> str:
    if not isinstance(value, str) or not _HOST.fullmatch(value):
        raise ValueError(f"expected a host name or an address without scheme and port, got {value!r}")
    return value


Network = Annotated[str, BeforeValidator(_network)]
KernelRelease = Annotated[str, BeforeValidator(_release)]


class EncryptionMode(enum.StrEnum):
    """Who encrypts between nodes."""

    NONE = "none"
    WIREGUARD = "wireguard"
    MTLS = "mtls"


class Cni(enum.StrEnum):
    """Who gives pods their interfaces."""

    AWS = "aws-cni"
    ONLY = "only"


class KubeProxy(enum.StrEnum):
    """Who answers for Services."""

    KEPT = "kept"
    REPLACED = "replaced"


class Routing(enum.StrEnum):
    """How packets reach a pod on another node."""

    TUNNEL = "tunnel"
    NATIVE = "native"


class PodSecurity(RoleSettings):
    """What pods may do."""

    exceptions: dict[DnsLabel, Reason]
    guard: StrictBool


class DoubleEncryption(RoleSettings):
    """Leave to encrypt twice."""

    reason: Reason
    """Why, for whoever reads the stack next."""


class Encryption(RoleSettings):
    """Traffic between nodes."""

    mode: EncryptionMode
    required: StrictBool
    allow_double: DoubleEncryption | None


class Server(RoleSettings):
    """Where the API server is."""

    host: Annotated[str, BeforeValidator(_host)]
    """Name or address, without a scheme."""
    port: Annotated[StrictInt, Field(ge=1, le=65535)] = 443
    """Port. 443, as on EKS."""


class Cilium(RoleSettings):
    """The CNI that encrypts."""

    cni: Cni
    kube_proxy: KubeProxy
    api_server: Server | None
    routing: Routing
    native_cidr: Network | None
    pod_cidr: Network
    node_encryption: StrictBool
    strict: StrictBool
    mtu: Annotated[StrictInt, Field(ge=576, le=65520)] | None


class Nodes(RoleSettings):
    """What is known of the nodes."""

    kernel: KernelRelease | None
    config: dict[Annotated[str, StringConstraints(pattern=r"^CONFIG_[A-Z0-9_]+$")], str]


class SecuritySettings(RoleSettings):
    """See defaults.yaml."""

    enabled: StrictBool
    policies: PolicySettings
    pod_security: PodSecurity
    encryption: Encryption
    cilium: Cilium
    nodes: Nodes

    @property
    def wireguard(self) -> bool:
        """Whether Cilium encrypts."""
        return self.enabled and self.encryption.mode is EncryptionMode.WIREGUARD
