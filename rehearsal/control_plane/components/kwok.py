"""kwok: plays the kubelets of the simulated nodes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from inferstack.k8s import KubeClient
from rehearsal.control_plane.model import Component, PlaneConfig, Probe

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
        # It does not try again what failed while etcd was away: pods stay Pending, leases stale.
        needs=("etcd", "kube-apiserver"),
        restart_with_needs=True,
        prepare=release_nodes,
    )


def release_nodes(config: PlaneConfig) -> None:
    """Remove the leases of the kwok before: it has no name that lasts, and a new one waits until they run out."""

    async def release() -> None:
        async with await KubeClient.connect(config.state / "kubeconfig") as kube:
            await kube.request("DELETE", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases")

    asyncio.run(release())
