"""What the stacks register as rules see it; each stack that ships is recorded once for all tests of a run."""

from __future__ import annotations

import functools
import json
from typing import Any

from inferstack.policy.resource import Resource, Stack
from policies.jobs import children
from tests.program.conftest import Machine, Recording, stack_config


@functools.cache
def shipped(machine: Machine, name: str) -> Stack:
    """Return a stack that ships."""
    return stack_of(name, machine.run(name))


def stack_of(name: str, recording: Recording) -> Stack:
    """Return what a run registered, and what the operator makes of its jobs, as the policy pack sees it."""
    own = (
        Resource(
            _urn(name, resource.urn),
            resource.type,
            resource.name,
            plain(resource.inputs),
            resource.parent,
            bool(resource.options.get("protect")),
        )
        for resource in recording.resources.values()
        if not resource.read
    )
    settings = {
        key.removeprefix("inferstack:"): json.loads(text)
        for key, text in stack_config(name).items()
        if text.startswith("{")
    }
    resources = tuple(result for resource in own for result in (resource, *children(resource)))
    return Stack(name, resources, frozenset(settings.get("tenancy", {}).get("tenants", {})), settings)


def _urn(stack: str, urn: str) -> str:
    """Return a URN as the engine would make it: mocks do not know in which stack they are."""
    return f"urn:pulumi:{stack}::inferstack::{urn.split('::', 2)[2]}"


def plain(value: Any) -> Any:
    """Return a value as the engine means it: protobuf knows no whole numbers."""
    if isinstance(value, dict):
        return {key: plain(below) for key, below in value.items()}
    if isinstance(value, list):
        return [plain(below) for below in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
