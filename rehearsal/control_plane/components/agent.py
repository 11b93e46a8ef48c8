"""The agent: simulates the operators and daemons of the nodes, apart from the kubelet."""

from __future__ import annotations

from rehearsal.control_plane.model import Component, PlaneConfig
from rehearsal.control_plane.probe import Probe


def build_agent(config: PlaneConfig) -> Component:
    """Return the agent (``rehearsal.simulators``)."""
    return Component(
        name="agent",
        tool=None,
        args=(
            "-m",
            "rehearsal.simulators",
            f"--kubeconfig={config.kubeconfig('agent')}",
            f"--state-dir={config.state}",
            f"--health-port={config.ports.agent}",
            *_metrics(config),
        ),
        probe=Probe(f"http://{config.host}:{config.ports.agent}/healthz"),
        ports=(config.ports.agent,),
        depends_on=("kube-apiserver",),
        # It stops the processes of its pods first, each with its own grace period.
        stop_seconds=40,
    )


def _metrics(config: PlaneConfig) -> tuple[str, ...]:
    if not config.options.metrics:
        return ()
    flags = (f"--prometheus-port={config.ports.prometheus}", f"--load-port={config.ports.load}")
    return (*flags, f"--adapter-port={config.ports.adapter}") if config.options.adapter else flags
