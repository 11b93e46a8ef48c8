"""A component as data, and what its builders are given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Probe:
    """How to ask a component whether it is ready: an HTTP GET that answers 200."""

    url: str
    secure: bool = False
    """Use our CA and the administrator's certificate."""


@dataclass(frozen=True)
class Component:
    """One process of the control plane."""

    name: str
    tool: str | None
    """Name of the binary in versions.yaml; None for a module of this package."""
    args: tuple[str, ...]
    probe: Probe
    ports: tuple[int, ...]
    """TCP ports it listens on, all on loopback; the first is shown to people."""
    needs: tuple[str, ...] = ()
    """Components that must be ready before this one is started."""
    restart_with_needs: bool = False
    """Start it again where one of those is younger: after an outage its own watches come back half a minute later."""
    prepare: Callable[[PlaneConfig], None] | None = None
    """What is to be done right before each start."""
    stop_seconds: float = 10
    """Time for an orderly end before SIGKILL."""


@dataclass(frozen=True)
class Ports:
    """The TCP ports of one rehearsal, all on loopback."""

    etcd: int
    etcd_peer: int
    etcd_metrics: int
    apiserver: int
    controller_manager: int
    scheduler: int
    kwok: int
    agent: int
    # Newer than the rehearsals of some users: 0 until their next start.
    load: int = 0
    prometheus: int = 0
    adapter: int = 0


@dataclass(frozen=True)
class Adapter:
    """How prometheus-adapter is run, which serves custom.metrics.k8s.io."""

    rules: tuple[Mapping[str, Any], ...] = ()
    """Entries of `rules` of its configuration: which series it offers under which name."""
    relist_seconds: int = 30
    """Time between two looks at which series there are: a new one is found within that."""


@dataclass(frozen=True)
class PlaneOptions:
    """What one rehearsal has and another has not; kept in ``run/options.json`` until a start is given others."""

    metrics: bool = False
    """Whether there are Prometheus and the load simulator that it scrapes."""
    adapter: Adapter | None = None
    """Of prometheus-adapter; None: nobody serves custom.metrics.k8s.io. Of no effect without `metrics`."""
    hpa_sync_seconds: float = 15
    """Time between two looks of the HorizontalPodAutoscalers' controller; 15 is Kubernetes' default."""
    hpa_downscale_seconds: float = 300
    """Time over which that controller takes the highest of its answers before it scales down; Kubernetes' default."""


@dataclass(frozen=True)
class PlaneConfig:
    """What every builder knows: where things are."""

    state: Path
    ports: Ports
    options: PlaneOptions = field(default_factory=PlaneOptions)
    host: str = field(default="127.0.0.1")
    """Loopback, always: the rehearsal is nobody else's business."""

    @property
    def prometheus_url(self) -> str | None:
        """Where Prometheus answers; None where the rehearsal has none."""
        return f"http://{self.host}:{self.ports.prometheus}" if self.options.metrics else None

    @property
    def pki(self) -> Path:
        """Folder of keys and certificates, mode 0700."""
        return self.state / "pki"

    @property
    def prometheus(self) -> Path:
        """Folder of Prometheus: configuration, rules and data."""
        return self.state / "prometheus"

    def cert(self, name: str) -> str:
        """Path of a certificate."""
        return str(self.pki / f"{name}.crt")

    def key(self, name: str) -> str:
        """Path of a private key, mode 0600."""
        return str(self.pki / f"{name}.key")

    def kubeconfig(self, user: str) -> str:
        """Path of a component's own kubeconfig, mode 0600."""
        return str(self.pki / f"{user}.kubeconfig")


@dataclass(frozen=True)
class ComponentStatus:
    """What `status` says of one component."""

    name: str
    state: str
    """``running``, ``unhealthy`` (alive, but its probe fails), ``dead`` (was started and is gone) or ``stopped``."""
    pid: int | None = None
    port: int | None = None
    since: float | None = None
    """Start time, seconds since the epoch."""
    memory: int | None = None
    """Resident memory, bytes."""
    detail: str = ""
