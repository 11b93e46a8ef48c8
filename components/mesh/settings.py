"""Settings of the mesh role."""

from __future__ import annotations

import enum
import ipaddress
import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, StrictBool, StrictInt, StringConstraints

from components.settings import DnsLabel, Reason, RoleSettings
from inferstack.apimachinery.labels import COMPONENT

_LABEL = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"(?=.{{1,253}}$)({_LABEL}\.)+[a-z]([-a-z0-9]{{0,61}}[a-z0-9])?")
_JOB = re.compile(rf"{_LABEL}/{_LABEL}")


def _hostname(value: object) -> str:
    if not isinstance(value, str) or not _HOST.fullmatch(value):
        raise ValueError(f"expected a full host name in lower case, such as nlp.example.com, got {value!r}")
    return value


def _job(value: object) -> str:
    if not isinstance(value, str) or not _JOB.fullmatch(value):
        raise ValueError(f"expected a job as namespace/name, such as nlp/nlp-model-001, got {value!r}")
    return value


def _address(value: object) -> str:
    try:
        return str(ipaddress.ip_address(str(value)))
    except ValueError:
        return _hostname(value)


HostName = Annotated[str, BeforeValidator(_hostname)]
"""A full host name."""
JobName = Annotated[str, BeforeValidator(_job)]
"""Namespace and name of a job."""
Address = Annotated[str, BeforeValidator(_address)]
"""An IP address or a full host name."""
Region = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=63)]
"""As nodes carry it in topology.kubernetes.io/region."""
Port = Annotated[StrictInt, Field(ge=1, le=65535)]
Percent = Annotated[StrictInt, Field(ge=1, le=100)]
Seconds = Annotated[StrictInt, Field(ge=1, le=86400)]
Limit = Annotated[StrictInt, Field(ge=1, le=1_000_000)]


class DataPlane(enum.StrEnum):
    """Who carries the traffic."""

    SIDECAR = "sidecar"
    AMBIENT = "ambient"


class MtlsMode(enum.StrEnum):
    """Whether pods take plain text."""

    STRICT = "STRICT"
    PERMISSIVE = "PERMISSIVE"
    DISABLE = "DISABLE"


class AccessLog(enum.StrEnum):
    """Which requests are logged."""

    NONE = "none"
    ERRORS = "errors"
    ALL = "all"


class LoadBalancing(enum.StrEnum):
    """How a request finds its replica."""

    LEAST_REQUEST = "LEAST_REQUEST"
    ROUND_ROBIN = "ROUND_ROBIN"
    RANDOM = "RANDOM"
    PEAK_EWMA = "PEAK_EWMA"


class PlainPort(RoleSettings):
    """A port that takes plain text although the mesh is strict."""

    tenant: DnsLabel
    """Whose pods."""
    port: Port
    """Port of the container, not of the Service."""
    paths: tuple[Annotated[str, StringConstraints(pattern=r"^/\S*$")], ...] = ()
    """HTTP paths that callers without an identity may GET; the rest is answered with 403. Empty: the whole port."""
    labels: Annotated[dict[str, str], Field(min_length=1)] = Field(default_factory=lambda: {COMPONENT: "inference"})
    """Pods that it holds for. Those of InferenceJobs; the same for all of a tenant, as a pod obeys one of them only."""
    reason: Reason
    """Why, in a sentence, for whoever reviews the stack; it is written on the object."""


class Cni(RoleSettings):
    """The node agent."""

    enabled: StrictBool


class Mtls(RoleSettings):
    """Who may talk to whom, and how."""

    mode: MtlsMode
    exceptions: tuple[PlainPort, ...]


class Telemetry(RoleSettings):
    """What is measured and logged."""

    access_log: AccessLog
    interval_seconds: Annotated[StrictInt, Field(ge=5, le=30)]


class Istiod(RoleSettings):
    """The control plane."""

    replicas: Annotated[StrictInt, Field(ge=1, le=20)]


class GatewaySettings(RoleSettings):
    """The way in."""

    enabled: StrictBool
    min_replicas: Annotated[StrictInt, Field(ge=1, le=100)]
    max_replicas: Annotated[StrictInt, Field(ge=1, le=100)]
    service_type: Literal["LoadBalancer", "ClusterIP", "NodePort"]
    annotations: dict[str, str]
    drain_seconds: Annotated[StrictInt, Field(ge=5, le=3600)]
    cross_network: StrictBool


class Host(RoleSettings):
    """A job that is reached from outside."""

    host: HostName
    """Name by which it is called; point its DNS record at the gateway."""
    job: JobName
    """Namespace and name of one of the stack's jobs."""
    tls_secret: DnsLabel | None = None
    """Secret of type kubernetes.io/tls in the gateway's namespace, with the certificate for the name."""
    plaintext: StrictBool = False
    """Whether it is reached without TLS: prompts and answers in clear. Only where something before it ends TLS."""


class PeakEwma(RoleSettings):
    """How measured times are averaged."""

    decay_seconds: Annotated[StrictInt, Field(ge=1, le=3600)]
    default_milliseconds: Annotated[StrictInt, Field(ge=1, le=600_000)]


class Traffic(RoleSettings):
    """How requests reach the replicas of a job."""

    load_balancing: LoadBalancing
    warmup_seconds: Seconds | None
    peak_ewma: PeakEwma
    max_connections: Limit
    max_pending_requests: Limit
    max_requests: Limit
    connect_timeout_seconds: Annotated[StrictInt, Field(ge=1, le=300)]
    idle_timeout_seconds: Seconds
    timeout_seconds: Seconds | None
    retries: Annotated[StrictInt, Field(ge=0, le=10)]


class FailurePercentage(RoleSettings):
    """Ejection by the share of failures."""

    enabled: StrictBool
    threshold: Percent
    minimum_hosts: Annotated[StrictInt, Field(ge=1, le=1000)]
    request_volume: Annotated[StrictInt, Field(ge=1, le=100_000)]


class Ejection(RoleSettings):
    """When a replica is left out."""

    enabled: StrictBool
    consecutive_5xx: Annotated[StrictInt, Field(ge=1, le=1000, alias="consecutive5xx")]
    interval_seconds: Annotated[StrictInt, Field(ge=1, le=3600)]
    base_seconds: Seconds
    max_percent: Percent
    failure_percentage: FailurePercentage


class Failover(RoleSettings):
    """Where a region's requests go when its own replicas are ejected."""

    from_: Region = Field(alias="from")
    """Region of the callers."""
    to: Region
    """Region of a standby cluster."""


class Standby(RoleSettings):
    """A cluster that takes over, with the same tenants and jobs, and a CA of the same root."""

    region: Region
    """Where it is."""
    gateway: Address
    """Address of its gateway, as the proxies here reach it; there with gateway.crossNetwork."""
    port: Port = 15443
    """Port of its gateway for other clusters."""


class MeshSettings(RoleSettings):
    """See defaults.yaml."""

    enabled: StrictBool
    data_plane: DataPlane
    cni: Cni
    mtls: Mtls
    telemetry: Telemetry
    istiod: Istiod
    gateway: GatewaySettings
    hosts: tuple[Host, ...]
    traffic: Traffic
    ejection: Ejection
    failover: tuple[Failover, ...]
    standbys: dict[DnsLabel, Standby]

    @property
    def strict(self) -> bool:
        """Whether the mesh is on and its pods refuse plain text."""
        return self.enabled and self.mtls.mode is MtlsMode.STRICT

    @property
    def ambient(self) -> bool:
        """Whether nodes carry the traffic, and no proxy sits beside the pods."""
        return self.data_plane is DataPlane.AMBIENT

    @property
    def peak_ewma(self) -> bool:
        """Whether replicas are chosen by their time to the first byte."""
        return self.traffic.load_balancing is LoadBalancing.PEAK_EWMA

    @property
    def by_failures(self) -> bool:
        """Whether replicas are ejected for their share of failures."""
        return self.ejection.enabled and self.ejection.failure_percentage.enabled
