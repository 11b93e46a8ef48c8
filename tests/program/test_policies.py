"""All that the stacks register, held to all rules: what ships has no findings."""

from __future__ import annotations

import datetime as dt

import pytest

from inferstack.policy.evaluate import Finding, Undecided, evaluate
from inferstack.policy.registry import find
from inferstack.policy.settings import PolicySettings
from tests.program.conftest import STACKS, Machine
from tests.program.policy_stacks import shipped

TODAY = dt.date(2026, 11, 25)


@pytest.mark.parametrize("name", STACKS)
def test_shipped_stacks_have_no_findings(machine: Machine, name: str) -> None:
    stack = shipped(machine, name)
    message = list(evaluate(stack, PolicySettings.strict(), TODAY))
    assert [
        (finding.rule.id, finding.label, finding.message) for finding in message if isinstance(finding, Finding)
    ] == []
    assert [finding.rule.id for finding in message if isinstance(finding, Undecided)] == []
    assert stack.tenants


def test_objects_of_jobs_are_checked_by_rules(machine: Machine) -> None:
    kinds = [resource.kind for resource in shipped(machine, "local").resources if resource.origin]
    assert {"Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler"} <= set(kinds)


@pytest.mark.parametrize("name", STACKS)
def test_every_kind_that_is_tagged_is_known_to_the_rule_of_tags(machine: Machine, name: str) -> None:
    check = find("aws-resources-tagged").check
    assert check is not None
    tagged = {resource.type for resource in shipped(machine, name).resources if "tags" in resource.properties}
    assert {kind for kind in tagged if kind.startswith("aws:")} <= set(check.types)
