"""The operator's objects, as pure functions."""

from __future__ import annotations

from typing import Any

from components.inference.settings import OperatorSettings
from components.objects import Object, make_pod_security

NAMESPACE = "inferstack-system"
NAME = "inferstack-operator"
_HEALTH_PORT = 8080
_POD_LABELS = {
    "app.kubernetes.io/name": NAME,
    "app.kubernetes.io/component": "operator",
    "app.kubernetes.io/part-of": "inferstack",
    "app.kubernetes.io/managed-by": "pulumi",
}
_SELECTOR = {"app.kubernetes.io/name": NAME}


def make_namespace() -> Object:
    """Return the platform's own namespace; nothing in it needs a privilege."""
    modes = make_pod_security("restricted", "enforce", "audit", "warn")
    labels = {"app.kubernetes.io/part-of": "inferstack", "app.kubernetes.io/managed-by": "pulumi"}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": {**labels, **modes}}}


def make_rights(rules: list[dict[str, Any]]) -> list[Object]:
    """Return the operator's identity with the ``rules`` (PolicyRules) that its code needs, in all namespaces."""
    group = "rbac.authorization.k8s.io"
    return [
        _object("v1", "ServiceAccount", NAMESPACE),
        _object(f"{group}/v1", "ClusterRole", None, rules=rules),
        _object(
            f"{group}/v1",
            "ClusterRoleBinding",
            None,
            roleRef={"apiGroup": group, "kind": "ClusterRole", "name": NAME},
            subjects=[{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}],
        ),
    ]


def make_budget() -> Object:
    """Return the budget: a drain waits until the new operator is ready elsewhere."""
    spec = {"minAvailable": 1, "selector": {"matchLabels": _SELECTOR}, "unhealthyPodEvictionPolicy": "AlwaysAllow"}
    return _object("policy/v1", "PodDisruptionBudget", NAMESPACE, spec=spec)


def make_deployment(settings: OperatorSettings, image: str) -> Object:
    """Return the operator's Deployment.

    One replica, and the old one goes before the new one comes: two operators at once would answer the same change
    twice. Jobs keep serving while none runs.
    """
    probe = {"httpGet": {"path": "/healthz", "port": "health"}}
    container = {
        "name": "operator",
        "image": settings.image or image,
        "command": ["python", "-m", "inferstack.operator"],
        "env": [{"name": "INFERSTACK_HEALTH_PORT", "value": str(_HEALTH_PORT)}],
        "ports": [{"name": "health", "containerPort": _HEALTH_PORT, "protocol": "TCP"}],
        "readinessProbe": {**probe, "periodSeconds": 2},
        "livenessProbe": {**probe, "initialDelaySeconds": 10, "periodSeconds": 10, "failureThreshold": 3},
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
        "template": {"metadata": {"labels": _POD_LABELS}, "spec": pod},
    }
    return _object("apps/v1", "Deployment", NAMESPACE, spec=spec)


def _object(api_version: str, kind: str, namespace: str | None, **rest: Any) -> Object:
    metadata: Object = {"name": NAME, "labels": dict(_POD_LABELS)}
    if namespace:
        metadata["namespace"] = namespace
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}
