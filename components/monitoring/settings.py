"""Settings of the monitoring role."""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, StrictBool, StrictInt, StringConstraints, ValidationInfo, field_validator

from components.monitoring.units import Duration, Size, prometheus_bytes, seconds
from components.quantities import Quantity
from components.settings import RoleSettings
from inferstack.apimachinery.quantity import parse_quantity

RELEASE = "kube-prometheus-stack"
NAMESPACE = "monitoring"
AlertName = Literal[
    "GpuXidError",
    "GpuMemoryTooHot",
    "GpuRowRemapFailed",
    "GpuUncorrectableErrors",
    "InferenceJobNotReady",
    "InferencePodNotScraped",
    "AutoscalerWithoutMetrics",
    "InferenceOperatorDown",
    "VolumeAlmostFull",
]
RuleGroup = Literal[
    "alertmanager",
    "configReloaders",
    "etcd",
    "general",
    "k8sContainerCpuUsageSecondsTotal",
    "k8sContainerMemoryCache",
    "k8sContainerMemoryRss",
    "k8sContainerMemorySwap",
    "k8sContainerMemoryWorkingSetBytes",
    "k8sContainerResource",
    "k8sPodOwner",
    "kubeApiserverAvailability",
    "kubeApiserverBurnrate",
    "kubeApiserverHistogram",
    "kubeApiserverSlos",
    "kubeControllerManager",
    "kubeProxy",
    "kubePrometheusGeneral",
    "kubePrometheusNodeRecording",
    "kubeSchedulerAlerting",
    "kubeSchedulerRecording",
    "kubeStateMetrics",
    "kubelet",
    "kubernetesApps",
    "kubernetesResources",
    "kubernetesStorage",
    "kubernetesSystem",
    "network",
    "node",
    "nodeExporterAlerting",
    "nodeExporterRecording",
    "prometheus",
    "prometheusOperator",
    "windows",
]
"""Groups of the chart's own rules (defaultRules.rules in its values)."""
ObjectName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]+([-.]+[a-z0-9]+)*$", max_length=253)]
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_OPERATORS_OWN = ("prometheus", "prometheus_replica")
_ROOM = 0.85
_SCRAPE_SECONDS = (5, 120)
_INFERENCE_SECONDS = (1, 30)
_SCRAPES_IN_WINDOW = 4


class Storage(RoleSettings):
    """Volume of each server."""

    size: Quantity
    storage_class: ObjectName | None


class BasicAuth(RoleSettings):
    """Secret with the user name and password of a remote store."""

    secret: ObjectName
    """Secret in the namespace monitoring."""
    username_key: str = "username"
    """Key of the Secret with the user name."""
    password_key: str = "password"  # noqa: S105  # a key's name
    """Key of the Secret with the password."""


class RemoteStore(RoleSettings):
    """A remote-write endpoint that receives all samples."""

    name: ObjectName
    """Name of the endpoint in Prometheus' own metrics."""
    url: str
    """URL to which samples are posted."""
    basic_auth: BasicAuth | None = None
    """Reference to the user name and password."""
    sigv4_region: str | None = None
    """AWS region of an Amazon Managed Prometheus; requests are signed with the pod's identity."""

    @field_validator("url")
    @classmethod
    def _no_secret_in_it(cls, url: str) -> str:
        return _checked_url(url)

    @field_validator("sigv4_region")
    @classmethod
    def _one_way_in(cls, region: str | None, info: ValidationInfo) -> str | None:
        if region and info.data.get("basic_auth"):
            raise ValueError("basicAuth is also set, and the two are mutually exclusive; keep one")
        return region


class Prometheus(RoleSettings):
    """The Prometheus servers."""

    url: str | None
    replicas: Annotated[StrictInt, Field(ge=1, le=4)]
    scrape_interval: Duration
    evaluation_interval: Duration
    retention: Duration
    # Before the size, which is checked against it.
    storage: Storage
    retention_size: Size
    resources: dict[str, dict[str, Quantity]]
    remote_write: tuple[RemoteStore, ...]

    @field_validator("url")
    @classmethod
    def _an_address(cls, url: str | None) -> str | None:
        return url and _checked_url(url)

    @field_validator("scrape_interval", "evaluation_interval")
    @classmethod
    def _in_bounds(cls, interval: str) -> str:
        return _between(interval, *_SCRAPE_SECONDS)

    @field_validator("remote_write")
    @classmethod
    def _unique(cls, stores: tuple[RemoteStore, ...]) -> tuple[RemoteStore, ...]:
        names = [store.name for store in stores]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"{name} is a duplicate; rename one")
        return stores

    @field_validator("retention_size")
    @classmethod
    def _fits_the_volume(cls, kept: str, info: ValidationInfo) -> str:
        storage: Storage | None = info.data.get("storage")
        if storage and prometheus_bytes(kept) > parse_quantity(storage.size) * _ROOM:
            most = int(parse_quantity(storage.size) * _ROOM) // 2**30
            raise ValueError(
                f"{kept} leaves too little of storage.size {storage.size} for the write-ahead log and compactions; at "
                f"most {most}GB fit (85%), or give it a larger volume"
            )
        return kept


class Alertmanager(RoleSettings):
    """Alertmanager."""

    enabled: StrictBool
    replicas: Annotated[StrictInt, Field(ge=1, le=9)]
    config_secret: ObjectName | None
    storage: Storage

    @field_validator("config_secret")
    @classmethod
    def _is_read(cls, secret: str | None, info: ValidationInfo) -> str | None:
        if secret and info.data.get("enabled") is False:
            raise ValueError(f'nothing reads "{secret}" while alertmanager.enabled is false')
        return secret


class AdminSecret(RoleSettings):
    """Secret with the credentials of Grafana's administrator."""

    name: ObjectName
    """Name of the Secret."""
    user_key: str = "admin-user"
    """Key of the Secret with the user name."""
    password_key: str = "admin-password"  # noqa: S105  # a key's name
    """Key of the Secret with the password."""


class Grafana(RoleSettings):
    """Dashboards."""

    enabled: StrictBool
    admin_secret: AdminSecret | None


class Scrape(RoleSettings):
    """Which parts of the cluster are scraped."""

    api_server: StrictBool
    kubelet: StrictBool
    node_exporter: StrictBool
    kube_state_metrics: StrictBool
    core_dns: StrictBool
    controller_manager: StrictBool
    scheduler: StrictBool
    etcd: StrictBool
    proxy: StrictBool


class InferenceScrape(RoleSettings):
    """Scraping of inference pods."""

    interval: Duration
    window: Duration

    @field_validator("interval")
    @classmethod
    def _in_bounds(cls, interval: str) -> str:
        return _between(interval, *_INFERENCE_SECONDS)

    @field_validator("window")
    @classmethod
    def _enough_scrapes(cls, window: str, info: ValidationInfo) -> str:
        interval: str = info.data.get("interval", "1s")
        least = _SCRAPES_IN_WINDOW * seconds(interval)
        if seconds(window) < least:
            raise ValueError(
                f"{window} holds fewer than {_SCRAPES_IN_WINDOW} scrapes of interval {interval}, so that rates have "
                f"gaps; give it {least}s or more"
            )
        return window


class Alerts(RoleSettings):
    """The platform's alerts."""

    enabled: StrictBool
    runbook_url: str | None
    disabled: tuple[AlertName, ...]
    ignored_xids: tuple[Annotated[StrictInt, Field(ge=1, le=999)], ...]
    gpu_memory_celsius: Annotated[StrictInt, Field(ge=50, le=120)]
    job_not_ready_minutes: Annotated[StrictInt, Field(ge=1, le=1440)]
    volume_free_percent: Annotated[StrictInt, Field(ge=1, le=90)]

    @field_validator("runbook_url")
    @classmethod
    def _an_address(cls, url: str | None) -> str | None:
        return url and _checked_url(url).rstrip("/")


class MonitoringSettings(RoleSettings):
    """See defaults.yaml."""

    enabled: StrictBool
    external_labels: dict[str, str]
    prometheus: Prometheus
    alertmanager: Alertmanager
    grafana: Grafana
    scrape: Scrape
    disabled_default_rules: tuple[RuleGroup, ...]
    inference: InferenceScrape
    alerts: Alerts
    dashboards: StrictBool

    @field_validator("external_labels")
    @classmethod
    def _tell_clusters_apart(cls, labels: dict[str, str]) -> dict[str, str]:
        if not labels.get("cluster"):
            raise ValueError("cluster is missing; a receiver could not tell this cluster from another")
        for name in labels:
            if name in _OPERATORS_OWN:
                raise ValueError(f"{name} is set by the Prometheus operator itself; remove it")
            if not _LABEL.fullmatch(name):
                raise ValueError(
                    f"{name!r} is not a valid label name; use letters, digits and _, not starting with a digit"
                )
        return labels

    @field_validator("alerts")
    @classmethod
    def _have_what_they_ask(cls, alerts: Alerts, info: ValidationInfo) -> Alerts:
        # An alert without its metric never fires, which looks like a healthy platform.
        scrape: Scrape | None = info.data.get("scrape")
        if scrape and info.data.get("enabled") and alerts.enabled:
            asked: dict[AlertName, tuple[bool, str]] = {
                "InferenceJobNotReady": (scrape.kube_state_metrics, "kubeStateMetrics"),
                "AutoscalerWithoutMetrics": (scrape.kube_state_metrics, "kubeStateMetrics"),
                "VolumeAlmostFull": (scrape.kubelet, "kubelet"),
            }
            for alert, (there, key) in asked.items():
                if not there and alert not in alerts.disabled:
                    raise ValueError(f"{alert} requires scrape.{key}; enable that, or add {alert} to alerts.disabled")
        return alerts

    @property
    def namespace(self) -> str | None:
        """Namespace of Prometheus; None if the role is off."""
        return NAMESPACE if self.enabled else None

    @property
    def prometheus_url(self) -> str | None:
        """In-cluster address of Prometheus; None if there is none."""
        if self.prometheus.url:
            return self.prometheus.url.rstrip("/")
        return f"http://{RELEASE}-prometheus.{NAMESPACE}.svc:9090" if self.enabled else None


def _between(interval: str, least: int, most: int) -> str:
    if not least <= seconds(interval) <= most:
        raise ValueError(f"is {interval}; it must be from {least}s to {most}s")
    return interval


def _checked_url(url: str) -> str:
    """Return the address, which must be a valid URL without credentials."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"expected a URL that starts with http:// or https://, got {parts.hostname or url!r}")
    if parts.username or parts.password:
        raise ValueError("the URL contains credentials in plain text; refer to a Secret")
    return url
