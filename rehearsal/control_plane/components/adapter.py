"""prometheus-adapter: serves custom.metrics.k8s.io from Prometheus."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from rehearsal.control_plane.model import Adapter, Component, PlaneConfig
from rehearsal.control_plane.probe import Probe


def build_adapter(config: PlaneConfig) -> Component:
    """Return the adapter, which only the API server's aggregation layer calls."""
    adapter = config.options.adapter or Adapter()
    kubeconfig = config.kubeconfig("metrics-adapter")
    relist = adapter.relist_seconds
    return Component(
        name="prometheus-adapter",
        tool="prometheus-adapter",
        args=(
            f"--config={_rules_file(config, adapter)}",
            f"--prometheus-url={config.prometheus_url}",
            f"--metrics-relist-interval={relist}s",
            # A series that was missing in two discoveries is no longer a metric.
            f"--metrics-max-age={max(2 * relist, 10)}s",
            f"--lister-kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            f"--bind-address={config.host}",
            f"--secure-port={config.ports.adapter}",
            f"--tls-cert-file={config.cert('metrics-server')}",
            f"--tls-private-key-file={config.key('metrics-server')}",
            f"--client-ca-file={config.cert('ca')}",
        ),
        probe=Probe(f"https://{config.host}:{config.ports.adapter}/readyz", secure=True),
        ports=(config.ports.adapter,),
        # Without Prometheus, it starts with no metrics and discovers them only one interval later.
        depends_on=("kube-apiserver", "prometheus"),
        pre_start=write_rules,
    )


def write_rules(config: PlaneConfig) -> None:
    """Write the adapter's configuration and remove configurations with other rules."""
    adapter = config.options.adapter or Adapter()
    path = _rules_file(config, adapter)
    path.parent.mkdir(parents=True, exist_ok=True)
    for other in path.parent.glob("rules-*.json"):
        if other != path:
            other.unlink()
    # JSON is YAML.
    path.write_text(json.dumps({"rules": list(adapter.rules)}, indent=1) + "\n")


def _rules_file(config: PlaneConfig, adapter: Adapter) -> Path:
    # The adapter reads its configuration once. A hash in the file name changes an argument, so the adapter restarts.
    text = json.dumps(list(adapter.rules), sort_keys=True)
    return config.prometheus / f"rules-{hashlib.sha256(text.encode()).hexdigest()[:12]}.json"
