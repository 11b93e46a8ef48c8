"""Kubernetes objects of the predictive scaler. Pure."""

from __future__ import annotations

from typing import Any

from components.autoscaling.settings import PredictiveSettings
from components.controller import NAMESPACE, Controller
from inferstack.apimachinery.objects import Object

NAME = "inferstack-scaler"
_SCALER = Controller(NAME)


def make_rights(rules: list[dict[str, Any]]) -> list[Object]:
    """Return the ServiceAccount, ClusterRole and binding of the scaler, with ``rules`` (PolicyRules)."""
    return _SCALER.rights(rules)


def make_deployment(settings: PredictiveSettings, image: str, prometheus_url: str, window: float) -> Object:
    """Return the scaler's Deployment.

    One replica at a time, as two would overwrite each other's status. Without a replica, decisions expire and jobs
    scale by their own metrics.

    Args:
        settings: settings of the scaler.
        image: default image.
        prometheus_url: address of Prometheus.
        window: window of rates in seconds.
    """
    options = {
        "--interval": settings.interval_seconds,
        "--window": f"{window:g}",
        "--validity": settings.valid_seconds,
        "--history-days": settings.history_days,
    }
    container = {
        "name": "scaler",
        "image": settings.image or image,
        "command": ["python", "-m", "inferstack.controllers.scaling"],
        "args": [f"{option}={value}" for option, value in options.items()],
        "env": [{"name": "INFERSTACK_PROMETHEUS_URL", "value": prometheus_url}],
        "resources": settings.resources,
    }
    return _SCALER.deployment(container, ready_seconds=5, start_seconds=30)


def make_budget() -> Object:
    """Return the PodDisruptionBudget: a drain waits until the new scaler is ready."""
    return _SCALER.budget()


def make_monitor() -> Object:
    """Return the PodMonitor of the scaler, on the port of its probes."""
    endpoint = {"port": "health", "path": "/metrics"}
    spec = {"selector": {"matchLabels": _SCALER.selector}, "podMetricsEndpoints": [endpoint]}
    return _SCALER.make("monitoring.coreos.com/v1", "PodMonitor", NAMESPACE, spec=spec)
