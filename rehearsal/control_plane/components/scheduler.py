"""kube-scheduler."""

from __future__ import annotations

from rehearsal.control_plane.model import Component, PlaneConfig
from rehearsal.control_plane.probe import Probe


def build_scheduler(config: PlaneConfig) -> Component:
    """Return the scheduler with its default profile."""
    kubeconfig = config.kubeconfig("scheduler")
    return Component(
        name="kube-scheduler",
        tool="kube-scheduler",
        args=(
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            f"--bind-address={config.host}",
            f"--secure-port={config.ports.scheduler}",
            f"--tls-cert-file={config.cert('server')}",
            f"--tls-private-key-file={config.key('server')}",
            f"--client-ca-file={config.cert('ca')}",
            "--leader-elect=false",
            "--kube-api-qps=1000",
            "--kube-api-burst=2000",
            "--profiling=false",
            "--v=1",
        ),
        probe=Probe(f"https://{config.host}:{config.ports.scheduler}/healthz", secure=True),
        ports=(config.ports.scheduler,),
        depends_on=("kube-apiserver",),
        restart_with_dependencies=True,
    )
