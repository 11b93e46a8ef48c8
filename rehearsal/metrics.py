"""Where the metrics of a rehearsal are: names that its control plane, its agent and its load simulator share."""

from __future__ import annotations

from typing import Final

METRICS_NAMESPACE: Final = "kube-system"
METRICS_SERVICE: Final = "rehearsal-metrics-adapter"
"""The Service, a name for loopback, behind which the API server finds prometheus-adapter."""
APISERVICE: Final = "v1beta1.custom.metrics.k8s.io"

PODS_PATH: Final = "/discovery/pods"
"""Of the load simulator: the ports of inference pods, as targets of Prometheus' http_sd_configs."""
GPUS_PATH: Final = "/discovery/gpus"
"""The nodes' dcgm-exporters, in the same form."""
PROXIES_PATH: Final = "/discovery/proxies"
"""The pods' and the gateway's Envoys, in the same form."""
