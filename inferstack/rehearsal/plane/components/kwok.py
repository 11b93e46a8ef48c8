"""kwok: plays the kubelets of the simulated nodes."""

from __future__ import annotations

from pathlib import Path

from inferstack.rehearsal.plane.model import Component, PlaneConfig, Probe

STAGES = Path(__file__).parent.parent / "kwok_stages.yaml"


def build_kwok(config: PlaneConfig) -> Component:
    """Return kwok for nodes with the annotation ``kwok.x-k8s.io/node: fake`` and our own stages."""
    return Component(
        name="kwok",
        tool="kwok",
        args=(
            f"--kubeconfig={config.kubeconfig('kwok')}",
            f"--config={STAGES}",
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
            # Leases instead of status updates: a heartbeat costs one small write a node.
            "--node-lease-duration-seconds=40",
            f"--server-address={config.host}:{config.ports.kwok}",
        ),
        probe=Probe(f"http://{config.host}:{config.ports.kwok}/healthz"),
        ports=(config.ports.kwok,),
        needs=("kube-apiserver",),
        restart_with_needs=True,
    )
