"""The predictive scaler's objects, as pure functions."""

from __future__ import annotations

from typing import Any

from components.autoscaling.settings import PredictiveSettings
from components.inference.operator_objects import NAMESPACE
from components.objects import LABELS, Object

NAME = "inferstack-scaler"
_HEALTH_PORT = 8080
_SELECTOR = {"app.kubernetes.io/name": NAME}
_LABELS = {**LABELS, **_SELECTOR, "app.kubernetes.io/component": "operator"}
_RBAC = "rbac.authorization.k8s.io"


def make_rights(rules: list[dict[str, Any]]) -> list[Object]:
    """Return the scaler's identity with the ``rules`` (PolicyRules) that its code needs, in all namespaces."""
    return [
        _object("v1", "ServiceAccount", NAMESPACE),
        _object(f"{_RBAC}/v1", "ClusterRole", None, rules=rules),
        _object(
            f"{_RBAC}/v1",
            "ClusterRoleBinding",
            None,
            roleRef={"apiGroup": _RBAC, "kind": "ClusterRole", "name": NAME},
            subjects=[{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}],
        ),
    ]


def make_deployment(settings: PredictiveSettings, image: str, prometheus_url: str, window: float) -> Object:
    """Return the scaler's Deployment.

    One replica, and the old one goes before the new one comes: two would take turns in one status. While none runs,
    the last decisions end by themselves and jobs scale by their own metrics.

    Args:
        settings: of the scaler.
        image: where the settings name none.
        prometheus_url: that it asks.
        window: seconds over which it takes rates.
    """
    probe = {"httpGet": {"path": "/healthz", "port": "health"}}
    options = {
        "--interval": settings.interval_seconds,
        "--window": f"{window:g}",
        "--validity": settings.valid_seconds,
        "--history-days": settings.history_days,
    }
    container = {
        "name": "scaler",
        "image": settings.image or image,
        "command": ["python", "-m", "inferstack.operator.scaling"],
        "args": [f"{option}={value}" for option, value in options.items()],
        "env": [
            {"name": "INFERSTACK_HEALTH_PORT", "value": str(_HEALTH_PORT)},
            {"name": "INFERSTACK_PROMETHEUS_URL", "value": prometheus_url},
        ],
        "ports": [{"name": "health", "containerPort": _HEALTH_PORT, "protocol": "TCP"}],
        "readinessProbe": {**probe, "periodSeconds": 5},
        "livenessProbe": {**probe, "initialDelaySeconds": 30, "periodSeconds": 10, "failureThreshold": 3},
        "resources": settings.resources,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
    }
    pod = {
        "serviceAccountName": NAME,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "terminationGracePeriodSeconds": 10,
        "containers": [container],
    }
    spec = {
        "replicas": 1,
        "strategy": {"type": "Recreate"},
        "selector": {"matchLabels": _SELECTOR},
        "template": {"metadata": {"labels": _LABELS}, "spec": pod},
    }
    return _object("apps/v1", "Deployment", NAMESPACE, spec=spec)


def make_budget() -> Object:
    """Return the budget: a drain waits until the new scaler is ready elsewhere."""
    spec = {"minAvailable": 1, "selector": {"matchLabels": _SELECTOR}, "unhealthyPodEvictionPolicy": "AlwaysAllow"}
    return _object("policy/v1", "PodDisruptionBudget", NAMESPACE, spec=spec)


def make_monitor() -> Object:
    """Return what scrapes the scaler, on the port of its probes."""
    spec = {"selector": {"matchLabels": _SELECTOR}, "podMetricsEndpoints": [{"port": "health", "path": "/metrics"}]}
    return _object("monitoring.coreos.com/v1", "PodMonitor", NAMESPACE, spec=spec)


def _object(api_version: str, kind: str, namespace: str | None, **rest: Any) -> Object:
    metadata: Object = {"name": NAME, "labels": dict(_LABELS)}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}
