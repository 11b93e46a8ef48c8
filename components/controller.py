"""Controllers of ours as objects: identity, budget and Deployment of one process in the platform's own namespace."""

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
    """One of them."""

    name: str
    """Of all its objects."""

    @property
    def selector(self) -> dict[str, str]:
        """Labels that only its pods have."""
        return {APP_NAME: self.name}

    @property
    def labels(self) -> dict[str, str]:
        """Labels of its objects and pods."""
        return {**LABELS, **self.selector, COMPONENT: "operator"}

    def rights(self, rules: list[dict[str, Any]]) -> list[Object]:
        """Return its identity with the ``rules`` (PolicyRules) that its code needs, in all namespaces."""
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
        """Return the budget: a drain waits until the new pod is ready elsewhere."""
        spec = {"minAvailable": 1, "selector": {"matchLabels": self.selector}}
        spec["unhealthyPodEvictionPolicy"] = "AlwaysAllow"
        return self.make("policy/v1", "PodDisruptionBudget", NAMESPACE, spec=spec)

    def deployment(self, container: Object, *, ready_seconds: int, start_seconds: int) -> Object:
        """Return the Deployment: one replica, of which the old one goes before the new one comes.

        Args:
            container: name, image, command and resources; its probes, port and restrictions are added.
            ready_seconds: between two looks whether it is ready.
            start_seconds: in which it need not be alive yet.
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
        """Return an object of its name."""
        metadata: Object = {"name": self.name, "labels": self.labels}
        if namespace:
            metadata["namespace"] = namespace
        return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **rest}
