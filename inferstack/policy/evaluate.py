"""Evaluates rules on resources and stacks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from inferstack.policy.celeval import violation
from inferstack.policy.model import Level, Rule
from inferstack.policy.registry import function, rules
from inferstack.policy.resource import Resource, Stack, UnknownError
from inferstack.policy.settings import PolicySettings


@dataclass(frozen=True)
class Finding:
    """One violation of a rule."""

    rule: Rule
    resource: Resource | None
    """None if the stack as a whole violates the rule."""
    message: str
    """The violation and its fix."""

    @property
    def label(self) -> str:
        """Display name of the resource."""
        return self.resource.label if self.resource else "stack"


@dataclass(frozen=True)
class Undecided:
    """A check that depends on a value that only the update knows, which checks again."""

    rule: Rule
    resource: Resource | None


def concerns(rule: Rule, resource: Resource, tenants: frozenset[str]) -> bool:
    """Return whether a rule checks single resources, and this one."""
    if rule.check is not None:
        return resource.type in rule.check.types
    assert rule.cel is not None  # noqa: S101  # a rule has one of the two
    if resource.kind not in rule.cel.served:
        return False
    return rule.cel.scope == "all" or resource.namespace in tenants


def check_resource(rule: Rule, resource: Resource, config: Mapping[str, Any], tenants: frozenset[str]) -> list[str]:
    """Return the messages of a rule on single resources for a resource.

    Raises:
        UnknownError: the result depends on a value that a preview does not know.
    """
    if not concerns(rule, resource, tenants):
        return []
    if rule.cel is not None:
        message = violation(rule, resource, config)
        return [message] if message else []
    assert rule.check is not None  # noqa: S101  # a rule has one of the two
    return list(function(rule.check.function)(resource, config))


def check_stack(rule: Rule, stack: Stack, config: Mapping[str, Any]) -> list[tuple[Resource | None, str]]:
    """Return the resources and messages of a rule on the stack as a whole.

    Raises:
        UnknownError: the result depends on a value that a preview does not know.
    """
    assert rule.check is not None  # noqa: S101  # such a rule has one
    return list(function(rule.check.function)(stack, config))


def evaluate(stack: Stack, settings: PolicySettings, today: dt.date) -> Iterator[Finding | Undecided]:
    """Yield the results of all enabled rules on a stack, without those that have an exception today."""
    for rule in rules().values():
        if settings.level(rule) is not Level.DISABLED:
            yield from apply(rule, stack, settings, today)


def apply(rule: Rule, stack: Stack, settings: PolicySettings, today: dt.date) -> Iterator[Finding | Undecided]:
    """Yield the results of one rule on a stack."""
    config = settings.config_of(rule)
    if rule.of_stack:
        try:
            violations = check_stack(rule, stack, config)
        except UnknownError:
            yield Undecided(rule, None)
            return
        findings = (Finding(rule, resource, message) for resource, message in violations)
        yield from (finding for finding in findings if settings.excepted(rule.id, finding.label, today) is None)
        return
    for resource in stack.resources:
        try:
            messages = check_resource(rule, resource, config, stack.tenants)
        except UnknownError:
            yield Undecided(rule, resource)
            continue
        if messages and settings.excepted(rule.id, resource.label, today) is None:
            yield from (Finding(rule, resource, message) for message in messages)
