"""Kubernetes objects of the platform's controllers: RBAC, PodDisruptionBudget and Deployment."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from components.objects import LABELS
from inferstack.apimachinery.labels import APP_NAME, COMPONENT
from inferstack.apimachinery.objects import Object

NAMESPACE = "inferstack-system"
HEALTH_PORT = 8080
_RBAC = "rbac.authorization.k8s.io"


@dataclass(frozen=True)
class Controller:
    """A controller process in the platform's namespace."""

    name: str
    """Name of all its objects."""

    @property
    def selector(self) -> dict[str, str]:
        """Labels that select its pods."""
        return {APP_NAME: self.name}

    @property
    def labels(self) -> dict[str, str]:
        """Labels of its objects and pods."""
        return {**LABELS, **self.selector, COMPONENT: "operator"}

    def rights(self, rules: list[dict[str, Any]]) -> list[Object]:
        """Return the ServiceAccount, ClusterRole with ``rules`` (PolicyRules) and ClusterRoleBinding."""
        return [
            self.make("v1", "ServiceAccount", NAMESPACE),
            self.make(f"{_RBAC}/v1", "ClusterRole", None, rules=rules),
            self.make(
                f"{_RBAC}/v1",
                "ClusterRoleBinding",
                None,
                roleRef={"apiGroup": _RBAC, "kind": "ClusterRole", "name": self.name},
                subjects=[{"kind": "ServiceAccount", "name": self.name, "namespace": NAMESPACE}],
            ),
        ]

    def budget(self) -> Object:
        """Return the PodDisruptionBudget, with which a drain waits for the new pod."""
        spec = {"minAvailable": 1, "selector": {"matchLabels": self.selector}}
        spec["unhealthyPodEvictionPolicy"] = "AlwaysAllow"
        return self.make("policy/v1", "PodDisruptionBudget", NAMESPACE, spec=spec)

    def deployment(self, container: Object, *, ready_seconds: int, start_seconds: int) -> Object:
        """Return the Deployment with one replica; an update stops the old pod before it starts the new one.

        Args:
            container: name, image, command and resources; probes, port and security context are added.
            ready_seconds: period of the readiness probe.
            start_seconds: initial delay of the liveness probe.
        """
        probe = {"httpGet": {"path": "/healthz", "port": "health"}}
        env = [{"name": "INFERSTACK_HEALTH_PORT", "value": str(HEALTH_PORT)}, *container.get("env", [])]
        whole = {
            **container,
            "env": env,
            "ports": [{"name": "health", "containerPort": HEALTH_PORT, "protocol": "TCP"}],
            "readinessProbe": {**probe, "periodSeconds": ready_seconds},
            "livenessProbe": {
                **probe,
                "initialDelaySeconds": start_seconds,
                "periodSeconds": 10,
                "failureThreshold": 3,
            },
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            },
        }
        pod = {
            "serviceAccountName": self.name,
            "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
            "terminationGracePeriodSeconds": 10,
            "containers": [whole],
        }
        spec = {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": self.selector},
            "template": {"metadata": {"labels": self.labels}, "spec": pod},
        }
        return self.make("apps/v1", "Deployment", NAMESPACE, spec=spec)

    def make(self, api_version: str, kind: str, namespace: str | None, **rest: Any) -> Object:
        """Return an object with the controller's name and labels."""
        metadata: Object = {"name": self.name, "labels": self.labels}
        if namespace:
            metadata["namespace"] = namespace
        return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}
