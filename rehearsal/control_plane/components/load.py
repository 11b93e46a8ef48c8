"""The load simulator: what inference servers, GPUs and proxies would show, and who sends requests."""

from __future__ import annotations

from rehearsal.control_plane.model import Component, PlaneConfig, Probe


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
        needs=("kube-apiserver",),
    )
