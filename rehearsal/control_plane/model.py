"""The data model of the control plane: components, their ports, the options of a rehearsal."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rehearsal.control_plane.probe import Probe


@dataclass(frozen=True)
class Component:
    """One process of the control plane."""

    name: str
    tool: str | None
    """Name of the binary in versions.yaml; None for a module of this package."""
    args: tuple[str, ...]
    probe: Probe
    ports: tuple[int, ...]
    """TCP ports that it listens on, all on loopback; `status` shows the first."""
    depends_on: tuple[str, ...] = ()
    """Components that must be ready before this one starts."""
    restart_with_dependencies: bool = False
    """Restart when a dependency was restarted: after an outage, its watches resume only half a minute later."""
    pre_start: Callable[[PlaneConfig], None] | None = None
    """Hook that runs before each start."""
    stop_seconds: float = 10
    """Grace period between SIGTERM and SIGKILL."""


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
    # Rehearsals of earlier versions lack these ports: 0 until their next start.
    load: int = 0
    prometheus: int = 0
    adapter: int = 0


@dataclass(frozen=True)
class Adapter:
    """Options of prometheus-adapter, which serves custom.metrics.k8s.io."""

    rules: tuple[Mapping[str, Any], ...] = ()
    """Entries of `rules` in its configuration: the metrics that it derives from series."""
    relist_seconds: int = 30
    """Interval of series discovery (`--metrics-relist-interval`)."""


@dataclass(frozen=True)
class PlaneOptions:
    """Options of one rehearsal, stored in ``run/options.json`` until a start changes them."""

    metrics: bool = False
    """Whether to run Prometheus and the load simulator that it scrapes."""
    adapter: Adapter | None = None
    """None: no prometheus-adapter, so custom.metrics.k8s.io is not served. Has no effect without `metrics`."""
    hpa_sync_seconds: float = 15
    """Sync period of the HorizontalPodAutoscaler controller; 15 is Kubernetes' default."""
    hpa_downscale_seconds: float = 300
    """Downscale stabilization window of that controller; 300 is Kubernetes' default."""


@dataclass(frozen=True)
class PlaneConfig:
    """Locations and ports of one control plane: the input of every component builder."""

    state: Path
    ports: Ports
    options: PlaneOptions = field(default_factory=PlaneOptions)
    host: str = field(default="127.0.0.1")
    """Always loopback: nothing outside this machine can reach the rehearsal."""

    @property
    def prometheus_url(self) -> str | None:
        """URL of Prometheus, None if the rehearsal runs none."""
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
    """Status of one component."""

    name: str
    state: str
    """``running``, ``unhealthy`` (the probe fails), ``dead`` (ended without being stopped) or ``stopped``."""
    pid: int | None = None
    port: int | None = None
    since: float | None = None
    """Start time, seconds since the epoch."""
    memory: int | None = None
    """Resident memory, bytes."""
    detail: str = ""


def read_options(path: Path) -> PlaneOptions:
    """Return the stored options, or the defaults if there are none."""
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return PlaneOptions()
    adapter = content.pop("adapter")
    if adapter is not None:
        adapter = Adapter(tuple(adapter["rules"]), adapter["relist_seconds"])
    return PlaneOptions(adapter=adapter, **content)


def write_options(path: Path, options: PlaneOptions) -> None:
    """Store options atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(dataclasses.asdict(options), indent=1) + "\n")
    partial.replace(path)
