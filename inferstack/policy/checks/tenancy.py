"""Checks of tenants' namespaces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from inferstack.apimachinery.labels import TENANT
from inferstack.policy.resource import Resource, Stack, get

Findings = Iterator[tuple[Resource | None, str]]


def bounded(stack: Stack, config: Mapping[str, Any]) -> Findings:
    """Check that each tenant's namespace has a quota and a limit range."""
    existing = {(resource.kind, resource.namespace) for resource in stack.of_kind(*config["kinds"])}
    for namespace in _tenants(stack):
        if missing := [kind for kind in config["kinds"] if (kind, _name(namespace)) not in existing]:
            yield namespace, f"missing: {', '.join(missing)}"


def fenced(stack: Stack, _: Mapping[str, Any]) -> Findings:
    """Check that each tenant's namespace denies ingress by default."""
    denied = {policy.namespace for policy in stack.of_kind("NetworkPolicy") if _denies_ingress(policy)}
    for namespace in _tenants(stack):
        if _name(namespace) not in denied:
            yield namespace, "no NetworkPolicy denies ingress to all pods"


def _tenants(stack: Stack) -> Iterator[Resource]:
    for namespace in stack.of_kind("Namespace"):
        labels = get(namespace.properties, "metadata", "labels", default={})
        if TENANT in labels or _name(namespace) in stack.tenants:
            yield namespace


def _name(namespace: Resource) -> str:
    return str(get(namespace.properties, "metadata", "name"))


def _denies_ingress(policy: Resource) -> bool:
    """Return whether a policy selects all pods and allows no ingress; other policies then add exceptions."""
    spec = get(policy.properties, "spec", default={})
    kinds = get(spec, "policyTypes", default=("Ingress",))
    return not get(spec, "podSelector", default={}) and "Ingress" in kinds and not get(spec, "ingress", default=())
