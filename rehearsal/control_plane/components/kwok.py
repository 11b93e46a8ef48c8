"""kwok: simulates the kubelets of the nodes."""

from __future__ import annotations

import asyncio
from pathlib import Path

from inferstack.k8s import KubeClient
from rehearsal.control_plane.model import Component, PlaneConfig
from rehearsal.control_plane.probe import Probe

STAGES = Path(__file__).parent.parent / "kwok_stages.yaml"


def build_kwok(config: PlaneConfig) -> Component:
    """Return kwok with the stages of `STAGES`, for nodes with the annotation ``kwok.x-k8s.io/node: fake``."""
    return Component(
        name="kwok",
        tool="kwok",
        args=(
            f"--kubeconfig={config.kubeconfig('kwok')}",
            f"--config={STAGES}",
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
            # Leases instead of status updates: a heartbeat is one small write per node.
            "--node-lease-duration-seconds=40",
            f"--server-address={config.host}:{config.ports.kwok}",
        ),
        probe=Probe(f"http://{config.host}:{config.ports.kwok}/healthz"),
        ports=(config.ports.kwok,),
        # kwok does not retry what failed while etcd was down: pods would stay Pending and leases stale.
        depends_on=("etcd", "kube-apiserver"),
        restart_with_dependencies=True,
        pre_start=release_node_leases,
    )


def release_node_leases(config: PlaneConfig) -> None:
    """Delete the node leases of the previous kwok process: its identity is random, and a new one waits for expiry."""

    async def release() -> None:
        async with await KubeClient.connect(config.state / "kubeconfig") as kube:
            await kube.request("DELETE", "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases")

    asyncio.run(release())
