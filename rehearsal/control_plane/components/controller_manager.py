"""kube-controller-manager."""

from __future__ import annotations

from rehearsal.control_plane.crd_conditions import finish_kinds
from rehearsal.control_plane.model import Component, PlaneConfig, Probe


def build_controller_manager(config: PlaneConfig) -> Component:
    """Return the controller manager; each controller has its own service account, as on a real cluster."""
    kubeconfig = config.kubeconfig("controller-manager")
    # Hundreds of jobs may come at once; the defaults (20 requests a second, 5 workers) are for small steady loads.
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
            # A claim that comes before its volume was seen waits for the next look, fifteen seconds by default.
            "--pvclaimbinder-sync-period=1s",
            f"--horizontal-pod-autoscaler-sync-period={config.options.hpa_sync_seconds:g}s",
            f"--horizontal-pod-autoscaler-downscale-stabilization={config.options.hpa_downscale_seconds:g}s",
            "--profiling=false",
            "--v=1",
        ),
        probe=Probe(f"https://{config.host}:{config.ports.controller_manager}/healthz", secure=True),
        ports=(config.ports.controller_manager,),
        needs=("kube-apiserver",),
        restart_with_needs=True,
        # Of its own it has nothing to do with kinds: it is the first that starts after each start of the API server.
        prepare=finish_kinds,
    )
