"""etcd: the store behind the API server."""

from __future__ import annotations

from rehearsal.control_plane.model import Component, PlaneConfig
from rehearsal.control_plane.probe import Probe


def build_etcd(config: PlaneConfig) -> Component:
    """Return etcd with mutual TLS, so that other users of the machine cannot read the Secrets in it."""
    client = f"https://{config.host}:{config.ports.etcd}"
    peer = f"https://{config.host}:{config.ports.etcd_peer}"
    metrics = f"http://{config.host}:{config.ports.etcd_metrics}"
    authority = config.cert("ca")
    return Component(
        name="etcd",
        tool="etcd",
        args=(
            "--name=rehearsal",
            f"--data-dir={config.state / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=rehearsal={peer}",
            # Serves /health and /metrics only, no stored data.
            f"--listen-metrics-urls={metrics}",
            f"--cert-file={config.cert('server')}",
            f"--key-file={config.key('server')}",
            "--client-cert-auth",
            f"--trusted-ca-file={authority}",
            f"--peer-cert-file={config.cert('server')}",
            f"--peer-key-file={config.key('server')}",
            "--peer-client-cert-auth",
            f"--peer-trusted-ca-file={authority}",
            # Writes are several times faster without fsync. A killed process loses nothing, because the kernel holds
            # what it wrote. A power cut may lose data; the rehearsal is then started again.
            "--unsafe-no-fsync",
            "--auto-compaction-mode=periodic",
            "--auto-compaction-retention=10m",
            "--quota-backend-bytes=4294967296",
            "--log-level=warn",
        ),
        probe=Probe(f"{metrics}/health"),
        ports=(config.ports.etcd, config.ports.etcd_peer, config.ports.etcd_metrics),
    )
