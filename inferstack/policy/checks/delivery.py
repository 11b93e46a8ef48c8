"""Checks of availability during maintenance."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from inferstack.policy.resource import Resource, Stack, get


def budgets(stack: Stack, _: Mapping[str, Any]) -> Iterator[tuple[Resource | None, str]]:
    """Check that each replicated workload of a tenant has a PodDisruptionBudget."""
    all_budgets = list(stack.of_kind("PodDisruptionBudget"))
    for workload in stack.of_kind("Deployment", "StatefulSet"):
        replicas = get(workload.properties, "spec", "replicas", default=1)
        if workload.namespace not in stack.tenants or replicas < 2:
            continue
        labels = get(workload.properties, "spec", "template", "metadata", "labels", default={})
        if not any(budget.namespace == workload.namespace and _selects(budget, labels) for budget in all_budgets):
            yield workload, f"a drain may evict all {replicas:g} replicas at once"


def _selects(budget: Resource, labels: Mapping[str, Any]) -> bool:
    selector = get(budget.properties, "spec", "selector", default={})
    equal = get(selector, "matchLabels", default={})
    return all(get(labels, key) == equal[key] for key in equal) and all(
        _matches(expression, labels) for expression in get(selector, "matchExpressions", default=())
    )


def _matches(expression: Mapping[str, Any], labels: Mapping[str, Any]) -> bool:
    """Return whether labels match an expression; NotIn matches a missing label (Kubernetes, Labels and Selectors)."""
    key, operator, values = expression["key"], expression["operator"], expression.get("values", ())
    if operator in ("Exists", "DoesNotExist"):
        return bool((key in labels) == (operator == "Exists"))
    return bool((get(labels, key) in values) == (operator == "In"))
