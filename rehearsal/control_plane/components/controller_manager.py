"""kube-controller-manager."""

from __future__ import annotations

from rehearsal.control_plane.crd_conditions import requeue_unestablished
from rehearsal.control_plane.model import Component, PlaneConfig
from rehearsal.control_plane.probe import Probe


def build_controller_manager(config: PlaneConfig) -> Component:
    """Return the controller manager; each controller uses its own ServiceAccount, as in a real cluster."""
    kubeconfig = config.kubeconfig("controller-manager")
    # Hundreds of jobs may be created at once; the defaults (20 requests per second, 5 workers) are too low for that.
    workers = ("deployment", "replicaset", "gc", "resource-quota", "namespace", "endpoint", "service-endpoint")
    return Component(
        name="kube-controller-manager",
        tool="kube-controller-manager",
        args=(
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            f"--bind-address={config.host}",
            f"--secure-port={config.ports.controller_manager}",
            f"--tls-cert-file={config.cert('server')}",
            f"--tls-private-key-file={config.key('server')}",
            f"--root-ca-file={config.cert('ca')}",
            f"--service-account-private-key-file={config.key('service-account')}",
            "--use-service-account-credentials=true",
            "--leader-elect=false",
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
            *(f"--concurrent-{kind}-syncs=20" for kind in workers),
            # A claim that precedes its volume waits for the next sync, 15 s by default.
            "--pvclaimbinder-sync-period=1s",
            f"--horizontal-pod-autoscaler-sync-period={config.options.hpa_sync_seconds:g}s",
            f"--horizontal-pod-autoscaler-downscale-stabilization={config.options.hpa_downscale_seconds:g}s",
            "--profiling=false",
            "--v=1",
        ),
        probe=Probe(f"https://{config.host}:{config.ports.controller_manager}/healthz", secure=True),
        ports=(config.ports.controller_manager,),
        depends_on=("kube-apiserver",),
        restart_with_dependencies=True,
        # The hook runs here because this component restarts after each start of the API server.
        pre_start=requeue_unestablished,
    )
