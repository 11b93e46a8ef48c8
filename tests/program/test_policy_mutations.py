"""Stacks that ship, each changed in one place: the rule that is meant for it speaks, and no other does."""

from __future__ import annotations

import copy
import dataclasses
import datetime as dt
from collections.abc import Iterable
from typing import Any

import pytest

from inferstack.policy.evaluate import Finding, apply
from inferstack.policy.registry import rules
from inferstack.policy.resource import Resource, Stack
from inferstack.policy.settings import PolicySettings
from tests.program.aws.conftest import record, settings_of
from tests.program.conftest import Machine
from tests.program.mutating import Mutation
from tests.program.mutations import MUTATIONS
from tests.program.policy_stacks import shipped, stack_of

TODAY = dt.date(2026, 11, 25)
STRICT = PolicySettings.strict()
SETTINGS: list[tuple[str, str, tuple[str, ...], Any]] = [
    ("aws-prod-protected", "prod", ("protect",), False),
    ("aws-logs-are-kept", "dev", ("logs", "retentionDays"), 7),
    ("aws-eks-endpoint-private", "prod", ("endpoints", "publicFrom"), ["203.0.113.0/24"]),
    ("aws-cost-capped", "dev", ("gpu", "l40s", "instanceTypes"), ["g6e.24xlarge"]),
]
"""Rule, stack, key below inferstack:cluster.aws, and its value: what a pull request to a stack's file would say."""


@pytest.fixture
def before(machine: Machine, request: pytest.FixtureRequest) -> Stack:
    """The stack of a mutation, as it ships."""
    return shipped(machine, request.getfixturevalue("mutation").stack)


def violated_rules(stack: Stack, resources: Iterable[Resource]) -> set[str]:
    """Return the rules with something to say of a stack, of these of its resources and of it as a whole."""
    part = dataclasses.replace(stack, resources=tuple(resources))
    result: set[str] = set()
    for rule in rules().values():
        for finding in apply(rule, stack if rule.of_stack else part, STRICT, TODAY):
            assert isinstance(finding, Finding), f"{rule.id} rests on something unknown"
            result.add(rule.id)
    return result


@pytest.mark.parametrize(
    "mutation", MUTATIONS, ids=[f"{resource.rule}-{resource.stack}-{resource.what}" for resource in MUTATIONS]
)
def test_a_change_is_caught_by_the_rule_meant_for_it(before: Stack, mutation: Mutation) -> None:
    after = dataclasses.replace(before, resources=tuple(mutation.change(before.resources)))
    # Of what did not change nothing is said: test_shipped_stacks_have_no_findings.
    unchanged = set(map(id, before.resources))
    assert violated_rules(after, [resource for resource in after.resources if id(resource) not in unchanged]) == {
        mutation.rule
    }


@pytest.mark.parametrize(
    ("rule", "stack", "path", "value"), SETTINGS, ids=[f"{setting[0]}-{setting[1]}" for setting in SETTINGS]
)
def test_a_setting_is_caught_by_the_rule_meant_for_it(rule: str, stack: str, path: tuple[str, ...], value: Any) -> None:
    given = copy.deepcopy(settings_of(stack))
    place: Any = given["aws"]
    for key in path[:-1]:
        place = place.setdefault(key, {})
    assert place.get(path[-1]) != value
    place[path[-1]] = value
    changed = stack_of(stack, record(stack, given).recording)
    assert violated_rules(changed, changed.resources) == {rule}


def test_each_rule_is_tried_on_a_stack_that_ships() -> None:
    assert {mutation.rule for mutation in MUTATIONS} == set(rules())
