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
    # Without quotes, YAML reads 5.10 as a number and drops the zero.
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
    """Encryption between nodes."""

    NONE = "none"
    WIREGUARD = "wireguard"
    MTLS = "mtls"


class Cni(enum.StrEnum):
    """CNI that configures the pods' interfaces."""

    AWS = "aws-cni"
    ONLY = "only"


class KubeProxy(enum.StrEnum):
    """Implementation of Services: kube-proxy or Cilium."""

    KEPT = "kept"
    REPLACED = "replaced"


class Routing(enum.StrEnum):
    """Routing of packets between nodes."""

    TUNNEL = "tunnel"
    NATIVE = "native"


class PodSecurity(RoleSettings):
    """Pod Security Standards."""

    exceptions: dict[DnsLabel, Reason]
    guard: StrictBool


class DoubleEncryption(RoleSettings):
    """Permission to encrypt twice."""

    reason: Reason
    """The reason, as a sentence for the reviewer."""


class Encryption(RoleSettings):
    """Encryption of traffic between nodes."""

    mode: EncryptionMode
    required: StrictBool
    allow_double: DoubleEncryption | None


class Server(RoleSettings):
    """Address of the API server."""

    host: Annotated[str, BeforeValidator(_host)]
    """Host name or IP address, without a scheme."""
    port: Annotated[StrictInt, Field(ge=1, le=65535)] = 443
    """Port. 443, as on EKS."""


class Cilium(RoleSettings):
    """Cilium, the CNI that encrypts."""

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
    """Facts about the nodes."""

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
        """Whether Cilium encrypts traffic."""
        return self.enabled and self.encryption.mode is EncryptionMode.WIREGUARD
