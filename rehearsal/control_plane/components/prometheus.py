"""Prometheus."""

from __future__ import annotations

from rehearsal.control_plane.model import Component, PlaneConfig
from rehearsal.control_plane.probe import Probe

_EMPTY = "# The agent replaces this file with one from the PodMonitors and PrometheusRules.\nglobal: {}\n"


def build_prometheus(config: PlaneConfig) -> Component:
    """Return Prometheus with flags that both 2.42 (Debian) and 3.x accept."""
    address = f"{config.host}:{config.ports.prometheus}"
    return Component(
        name="prometheus",
        tool="prometheus",
        args=(
            f"--config.file={config.prometheus / 'prometheus.yml'}",
            f"--storage.tsdb.path={config.prometheus / 'data'}",
            "--storage.tsdb.retention.time=2d",
            f"--web.listen-address={address}",
            # The agent reloads the configuration over HTTP.
            "--web.enable-lifecycle",
            "--log.level=warn",
        ),
        probe=Probe(f"http://{address}/-/ready"),
        ports=(config.ports.prometheus,),
        pre_start=write_first_configuration,
    )


def write_first_configuration(config: PlaneConfig) -> None:
    """Write an empty configuration if there is none."""
    path = config.prometheus / "prometheus.yml"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_EMPTY)
