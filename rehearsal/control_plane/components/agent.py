"""The agent: plays what runs on the simulated nodes beside the kubelet."""

from __future__ import annotations

from rehearsal.control_plane.model import Component, PlaneConfig, Probe


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
        needs=("kube-apiserver",),
        # It ends the processes of its pods first, each with a grace period of its own.
        stop_seconds=40,
    )


def _metrics(config: PlaneConfig) -> tuple[str, ...]:
    if not config.options.metrics:
        return ()
    made = (f"--prometheus-port={config.ports.prometheus}", f"--load-port={config.ports.load}")
    return (*made, f"--adapter-port={config.ports.adapter}") if config.options.adapter else made
