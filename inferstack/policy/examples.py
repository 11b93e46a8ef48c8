"""The examples of rules as stacks: what tests, `inferstack policy test` and pages look at."""

from __future__ import annotations

from typing import Any

from inferstack.policy.model import Example
from inferstack.policy.resource import Resource, Stack

TENANTS = frozenset({"nlp", "vision"})
"""Namespaces that examples use as tenants'."""


def stack_of(example: Example) -> Stack:
    """Return the stack that an example shows."""
    resources = tuple(resource_of(given, example.stack) for given in example.resources)
    return Stack(example.stack, resources, TENANTS, example.settings)


def resource_of(given: dict[str, Any], stack: str) -> Resource:
    """Return a resource out of a manifest, or of ``{type, name, properties, protect}``."""
    if "kind" in given and "apiVersion" in given:
        version = given["apiVersion"]
        token = f"kubernetes:{version if '/' in version else f'core/{version}'}:{given['kind']}"
        name = given["metadata"].get("name", "generated")
        return Resource(urn_of(stack, token, name), token, name, given)
    token, name = given["type"], given["name"]
    properties, protect = given.get("properties", {}), given.get("protect", False)
    return Resource(urn_of(stack, token, name), token, name, properties, protect=protect)


def urn_of(stack: str, token: str, name: str) -> str:
    """Return the URN that Pulumi gives a resource without a parent."""
    return f"urn:pulumi:{stack}::inferstack::{token}::{name}"
