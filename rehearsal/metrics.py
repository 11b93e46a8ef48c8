"""Names for metrics that the control plane, the agent and the load simulator share."""

from __future__ import annotations

from typing import Final

METRICS_NAMESPACE: Final = "kube-system"
METRICS_SERVICE: Final = "rehearsal-metrics-adapter"
"""The Service, an alias for localhost, through which the API server reaches prometheus-adapter."""
APISERVICE: Final = "v1beta1.custom.metrics.k8s.io"

PODS_PATH: Final = "/discovery/pods"
"""Path of the load simulator that lists the ports of inference pods as http_sd_configs targets."""
GPUS_PATH: Final = "/discovery/gpus"
"""Path that lists the dcgm-exporters of the nodes as targets."""
PROXIES_PATH: Final = "/discovery/proxies"
"""Path that lists the Envoys of pods and gateway as targets."""
