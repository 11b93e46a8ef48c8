"""Kubernetes objects of the operator. Pure."""

from __future__ import annotations

from typing import Any

from components.controller import NAMESPACE, Controller
from components.inference.settings import OperatorSettings
from components.objects import LABELS, make_pod_security
from inferstack.apimachinery.objects import Object

NAME = "inferstack-operator"
_OPERATOR = Controller(NAME)


def make_namespace() -> Object:
    """Return the platform's namespace, whose pods need no privileges."""
    modes = make_pod_security("restricted", "enforce", "audit", "warn")
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": {**LABELS, **modes}}}


def make_rights(rules: list[dict[str, Any]]) -> list[Object]:
    """Return the ServiceAccount, ClusterRole with ``rules`` (PolicyRules) and binding of the operator."""
    return _OPERATOR.rights(rules)


def make_budget() -> Object:
    """Return the PodDisruptionBudget, with which a drain waits for the new operator."""
    return _OPERATOR.budget()


def make_deployment(settings: OperatorSettings, image: str) -> Object:
    """Return the operator's Deployment.

    One replica at a time: two operators would handle each change twice. Jobs keep serving without an operator.
    """
    container = {
        "name": "operator",
        "image": settings.image or image,
        "command": ["python", "-m", "inferstack.controllers"],
        "resources": settings.resources,
    }
    return _OPERATOR.deployment(container, ready_seconds=2, start_seconds=10)
