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
"""As in the node label topology.kubernetes.io/region."""
Port = Annotated[StrictInt, Field(ge=1, le=65535)]
Percent = Annotated[StrictInt, Field(ge=1, le=100)]
Seconds = Annotated[StrictInt, Field(ge=1, le=86400)]
Limit = Annotated[StrictInt, Field(ge=1, le=1_000_000)]


class DataPlane(enum.StrEnum):
    """Data plane: sidecars or ambient mode."""

    SIDECAR = "sidecar"
    AMBIENT = "ambient"


class MtlsMode(enum.StrEnum):
    """Whether pods accept plain text."""

    STRICT = "STRICT"
    PERMISSIVE = "PERMISSIVE"
    DISABLE = "DISABLE"


class AccessLog(enum.StrEnum):
    """Which requests are logged."""

    NONE = "none"
    ERRORS = "errors"
    ALL = "all"


class LoadBalancing(enum.StrEnum):
    """Load balancing policy."""

    LEAST_REQUEST = "LEAST_REQUEST"
    ROUND_ROBIN = "ROUND_ROBIN"
    RANDOM = "RANDOM"
    PEAK_EWMA = "PEAK_EWMA"


class PlainPort(RoleSettings):
    """A port that accepts plain text in a strict mesh."""

    tenant: DnsLabel
    """Tenant of the pods."""
    port: Port
    """Port of the container, not of the Service."""
    paths: tuple[Annotated[str, StringConstraints(pattern=r"^/\S*$")], ...] = ()
    """HTTP paths that callers without an identity may GET; other requests get status 403. Empty: the whole port."""
    labels: Annotated[dict[str, str], Field(min_length=1)] = Field(default_factory=lambda: {COMPONENT: "inference"})
    """Labels of the pods. Default: pods of InferenceJobs. All exceptions of a tenant need the same labels."""
    reason: Reason
    """The reason, as a sentence for the reviewer; stored as an annotation of the object."""


class Cni(RoleSettings):
    """The node agent."""

    enabled: StrictBool


class Mtls(RoleSettings):
    """Mutual TLS."""

    mode: MtlsMode
    exceptions: tuple[PlainPort, ...]


class Telemetry(RoleSettings):
    """Metrics and access log."""

    access_log: AccessLog
    interval_seconds: Annotated[StrictInt, Field(ge=5, le=30)]


class Istiod(RoleSettings):
    """The control plane."""

    replicas: Annotated[StrictInt, Field(ge=1, le=20)]


class GatewaySettings(RoleSettings):
    """The ingress gateway."""

    enabled: StrictBool
    min_replicas: Annotated[StrictInt, Field(ge=1, le=100)]
    max_replicas: Annotated[StrictInt, Field(ge=1, le=100)]
    service_type: Literal["LoadBalancer", "ClusterIP", "NodePort"]
    annotations: dict[str, str]
    drain_seconds: Annotated[StrictInt, Field(ge=5, le=3600)]
    cross_network: StrictBool


class Host(RoleSettings):
    """A job with an external host name."""

    host: HostName
    """External host name; point its DNS record at the gateway."""
    job: JobName
    """Namespace and name of one of the stack's jobs."""
    tls_secret: DnsLabel | None = None
    """Secret of type kubernetes.io/tls in the gateway's namespace, with the certificate for the host name."""
    plaintext: StrictBool = False
    """Whether to serve plain HTTP. Only for a gateway behind a load balancer that terminates TLS."""


class PeakEwma(RoleSettings):
    """Averaging of measured latencies."""

    decay_seconds: Annotated[StrictInt, Field(ge=1, le=3600)]
    default_milliseconds: Annotated[StrictInt, Field(ge=1, le=600_000)]


class Traffic(RoleSettings):
    """Load balancing, retries and timeouts of requests to jobs."""

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
    """Ejection by failure percentage."""

    enabled: StrictBool
    threshold: Percent
    minimum_hosts: Annotated[StrictInt, Field(ge=1, le=1000)]
    request_volume: Annotated[StrictInt, Field(ge=1, le=100_000)]


class Ejection(RoleSettings):
    """Outlier detection: when a replica is ejected."""

    enabled: StrictBool
    consecutive_5xx: Annotated[StrictInt, Field(ge=1, le=1000, alias="consecutive5xx")]
    interval_seconds: Annotated[StrictInt, Field(ge=1, le=3600)]
    base_seconds: Seconds
    max_percent: Percent
    failure_percentage: FailurePercentage


class Failover(RoleSettings):
    """Failover of a region whose replicas are ejected."""

    from_: Region = Field(alias="from")
    """Region of the callers."""
    to: Region
    """Region of a standby cluster."""


class Standby(RoleSettings):
    """A standby cluster with the same tenants and jobs, and a CA with the same root."""

    region: Region
    """Region of the cluster."""
    gateway: Address
    """Address of its gateway, reachable from the proxies of this cluster. The standby needs gateway.crossNetwork."""
    port: Port = 15443
    """Port of its gateway for traffic from other clusters."""


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
        """Whether the mesh is on and its pods reject plain text."""
        return self.enabled and self.mtls.mode is MtlsMode.STRICT

    @property
    def ambient(self) -> bool:
        """Whether the data plane is ambient, without sidecars."""
        return self.data_plane is DataPlane.AMBIENT

    @property
    def peak_ewma(self) -> bool:
        """Whether the load balancing uses the time to first byte."""
        return self.traffic.load_balancing is LoadBalancing.PEAK_EWMA

    @property
    def by_failures(self) -> bool:
        """Whether replicas are ejected by failure percentage."""
        return self.ejection.enabled and self.ejection.failure_percentage.enabled
