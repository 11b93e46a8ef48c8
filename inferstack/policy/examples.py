"""The examples of rules as stacks, for tests and `inferstack policy test`."""

from __future__ import annotations

import datetime as dt
from typing import Any

from inferstack.policy.evaluate import Finding, Undecided, apply
from inferstack.policy.model import Example, Rule
from inferstack.policy.resource import Resource, Stack
from inferstack.policy.settings import PolicySettings
from inferstack.tokens import token

TENANTS = frozenset({"nlp", "vision"})
"""Tenants' namespaces in examples."""


def stack_of(example: Example) -> Stack:
    """Return the stack of an example."""
    resources = tuple(resource_of(given, example.stack) for given in example.resources)
    return Stack(example.stack, resources, TENANTS, example.settings)


def evaluate_example(rule: Rule, example: Example, today: dt.date) -> list[Finding | Undecided]:
    """Return the results of a rule on an example, with the example's configuration and without exceptions."""
    return list(apply(rule, stack_of(example), PolicySettings.strict({rule.id: example.config}), today))


def resource_of(given: dict[str, Any], stack: str) -> Resource:
    """Return the resource of a manifest or of ``{type, name, properties, protect}``."""
    if "kind" in given and "apiVersion" in given:
        type_, name = token(given["apiVersion"], given["kind"]), given["metadata"].get("name", "generated")
        return Resource(urn_of(stack, type_, name), type_, name, given)
    type_, name = given["type"], given["name"]
    properties, protect = given.get("properties", {}), given.get("protect", False)
    return Resource(urn_of(stack, type_, name), type_, name, properties, protect=protect)


def urn_of(stack: str, type_: str, name: str) -> str:
    """Return the URN that Pulumi gives a resource without a parent."""
    return f"urn:pulumi:{stack}::inferstack::{type_}::{name}"
