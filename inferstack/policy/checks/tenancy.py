"""Checks of what each tenant's namespace must hold."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from inferstack.policy.resource import Resource, Stack, get

TENANT_LABEL = "inferstack.dev/tenant"

Found = Iterator[tuple[Resource | None, str]]


def bounded(stack: Stack, config: Mapping[str, Any]) -> Found:
    """Yield each tenant's namespace that lacks a quota or a limit range."""
    there = {(one.kind, one.namespace) for one in stack.of_kind(*config["kinds"])}
    for namespace in _tenants(stack):
        if lacking := [kind for kind in config["kinds"] if (kind, _name(namespace)) not in there]:
            yield namespace, f"it holds no {' and no '.join(lacking)}"


def fenced(stack: Stack, _: Mapping[str, Any]) -> Found:
    """Yield each tenant's namespace that lets in whatever no policy speaks of."""
    shut = {policy.namespace for policy in stack.of_kind("NetworkPolicy") if _shuts_all(policy)}
    for namespace in _tenants(stack):
        if _name(namespace) not in shut:
            yield namespace, "no NetworkPolicy shuts all of its pods to what is not named"


def _tenants(stack: Stack) -> Iterator[Resource]:
    for namespace in stack.of_kind("Namespace"):
        labels = get(namespace.properties, "metadata", "labels", default={})
        if TENANT_LABEL in labels or _name(namespace) in stack.tenants:
            yield namespace


def _name(namespace: Resource) -> str:
    return str(get(namespace.properties, "metadata", "name"))


def _shuts_all(policy: Resource) -> bool:
    """Tell whether a policy is about all pods and lets nobody in: the others then add what they name."""
    spec = get(policy.properties, "spec", default={})
    kinds = get(spec, "policyTypes", default=("Ingress",))
    return not get(spec, "podSelector", default={}) and "Ingress" in kinds and not get(spec, "ingress", default=())
