"""Prometheus."""

from __future__ import annotations

from rehearsal.control_plane.model import Component, PlaneConfig, Probe

_EMPTY = "# Replaced by the agent, which makes it of the PodMonitors and PrometheusRules.\nglobal: {}\n"


def build_prometheus(config: PlaneConfig) -> Component:
    """Return Prometheus with flags that 2.42, which Debian has, and 3.x both know."""
    address = f"{config.host}:{config.ports.prometheus}"
    return Component(
        name="prometheus",
        tool="prometheus",
        args=(
            f"--config.file={config.prometheus / 'prometheus.yml'}",
            f"--storage.tsdb.path={config.prometheus / 'data'}",
            "--storage.tsdb.retention.time=2d",
            f"--web.listen-address={address}",
            # The agent has it read its configuration again.
            "--web.enable-lifecycle",
            "--log.level=warn",
        ),
        probe=Probe(f"http://{address}/-/ready"),
        ports=(config.ports.prometheus,),
        prepare=write_first_configuration,
    )


def write_first_configuration(config: PlaneConfig) -> None:
    """Write what it can start with; a configuration that is there stays."""
    path = config.prometheus / "prometheus.yml"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(_EMPTY)
