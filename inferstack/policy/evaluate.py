"""Hold resources to rules."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from inferstack.policy.celeval import complaint
from inferstack.policy.model import Level, Rule
from inferstack.policy.registry import function, rules
from inferstack.policy.resource import Resource, Stack, UnknownError
from inferstack.policy.settings import PolicySettings


@dataclass(frozen=True)
class Finding:
    """One resource that is not as a rule wants it."""

    rule: Rule
    resource: Resource | None
    """None where it is the stack as a whole."""
    message: str
    """What is wrong and what to do."""

    @property
    def label(self) -> str:
        """What a person calls the resource."""
        return self.resource.label if self.resource else "stack"


@dataclass(frozen=True)
class Undecided:
    """A check that rests on a value which only the update knows; it is made again then."""

    rule: Rule
    resource: Resource | None


def concerns(rule: Rule, resource: Resource, tenants: frozenset[str]) -> bool:
    """Tell whether a rule looks at single resources, and at this one."""
    if rule.check is not None:
        return resource.type in rule.check.types
    assert rule.cel is not None  # noqa: S101  # a rule has one of the two
    if resource.kind not in rule.cel.served:
        return False
    return rule.cel.scope == "all" or resource.namespace in tenants


def check_resource(rule: Rule, resource: Resource, config: Mapping[str, Any], tenants: frozenset[str]) -> list[str]:
    """Return what is wrong with a resource by a rule that looks at single ones.

    Raises:
        UnknownError: it rests on a value that a preview does not know.
    """
    if not concerns(rule, resource, tenants):
        return []
    if rule.cel is not None:
        said = complaint(rule, resource, config)
        return [said] if said else []
    assert rule.check is not None  # noqa: S101  # a rule has one of the two
    return list(function(rule.check.function)(resource, config))


def check_stack(rule: Rule, stack: Stack, config: Mapping[str, Any]) -> list[tuple[Resource | None, str]]:
    """Return what is wrong with a stack by a rule that looks at it as a whole.

    Raises:
        UnknownError: it rests on a value that a preview does not know.
    """
    assert rule.check is not None  # noqa: S101  # such a rule has one
    return list(function(rule.check.function)(stack, config))


def evaluate(stack: Stack, settings: PolicySettings, today: dt.date) -> Iterator[Finding | Undecided]:
    """Yield what all rules that are not disabled say of a stack; what has an exception today is left out."""
    for rule in rules().values():
        if settings.level(rule) is not Level.DISABLED:
            yield from apply(rule, stack, settings, today)


def apply(rule: Rule, stack: Stack, settings: PolicySettings, today: dt.date) -> Iterator[Finding | Undecided]:
    """Yield what one rule says of a stack."""
    config = settings.config_of(rule)
    if rule.of_stack:
        try:
            found = check_stack(rule, stack, config)
        except UnknownError:
            yield Undecided(rule, None)
            return
        findings = (Finding(rule, resource, message) for resource, message in found)
        yield from (one for one in findings if settings.excepted(rule.id, one.label, today) is None)
        return
    for resource in stack.resources:
        try:
            said = check_resource(rule, resource, config, stack.tenants)
        except UnknownError:
            yield Undecided(rule, resource)
            continue
        if said and settings.excepted(rule.id, resource.label, today) is None:
            yield from (Finding(rule, resource, message) for message in said)
