"""All that the stacks register, held to all rules: what ships has no findings."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest

from inferstack.policy.evaluate import Finding, Undecided, evaluate
from inferstack.policy.resource import Resource, Stack
from inferstack.policy.settings import PolicySettings
from tests.program.conftest import STACKS, Machine, Recording, stack_config

TODAY = dt.date(2026, 11, 25)


def plain(value: Any) -> Any:
    """Return a value as the engine means it: protobuf knows no whole numbers."""
    if isinstance(value, dict):
        return {key: plain(below) for key, below in value.items()}
    if isinstance(value, list):
        return [plain(below) for below in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def stack_of(name: str, recording: Recording) -> Stack:
    """Return what a run of the program registered as rules see it."""
    resources = tuple(
        Resource(one.urn, one.type, one.name, plain(one.inputs), one.parent, bool(one.options.get("protect")))
        for one in recording.resources.values()
        if not one.read
    )
    tenants = json.loads(stack_config(name).get("inferstack:tenancy", "{}")).get("tenants", {})
    return Stack(name, resources, frozenset(tenants))


@pytest.mark.parametrize("name", STACKS)
def test_what_ships_has_no_findings(machine: Machine, name: str) -> None:
    stack = stack_of(name, machine.run(name))
    said = list(evaluate(stack, PolicySettings.strict(), TODAY))
    assert [(one.rule.id, one.label, one.message) for one in said if isinstance(one, Finding)] == []
    assert [one.rule.id for one in said if isinstance(one, Undecided)] == []
    assert stack.tenants
