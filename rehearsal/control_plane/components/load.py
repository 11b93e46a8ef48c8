"""The load simulator: simulated requests, and the metrics of inference servers, GPUs and proxies."""

from __future__ import annotations

from rehearsal.control_plane.model import Component, PlaneConfig
from rehearsal.control_plane.probe import Probe


def build_load(config: PlaneConfig) -> Component:
    """Return the load simulator (``rehearsal.load``)."""
    return Component(
        name="load",
        tool=None,
        args=(
            "-m",
            "rehearsal.load",
            f"--kubeconfig={config.kubeconfig('load')}",
            f"--state-dir={config.state}",
            f"--port={config.ports.load}",
        ),
        probe=Probe(f"http://{config.host}:{config.ports.load}/healthz"),
        ports=(config.ports.load,),
        depends_on=("kube-apiserver",),
    )
