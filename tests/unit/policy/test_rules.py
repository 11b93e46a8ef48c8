"""Each rule against its own examples, and what it must bring along."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from inferstack.policy.evaluate import Finding
from inferstack.policy.examples import evaluate_example
from inferstack.policy.model import Example, Rule
from inferstack.policy.registry import function, rules
from inferstack.policy.settings import PolicySettings

TODAY = dt.date(2026, 11, 25)


def settings(**given: Any) -> PolicySettings:
    return PolicySettings.model_validate({**PolicySettings.strict().model_dump(by_alias=True), **given})


def findings(rule: Rule, example: Example) -> list[Finding]:
    results = evaluate_example(rule, example, TODAY)
    assert all(isinstance(result, Finding) for result in results), "an example leaves nothing unknown"
    return [result for result in results if isinstance(result, Finding)]


def examples(kind: str) -> list[Any]:
    return [
        pytest.param(rule, example, id=f"{rule.id}-{number}")
        for rule in rules().values()
        for number, example in enumerate(rule.good if kind == "good" else rule.bad)
    ]


@pytest.mark.parametrize(("rule", "example"), examples("good"))
def test_good_example_has_no_finding(rule: Rule, example: Example) -> None:
    assert findings(rule, example) == []


@pytest.mark.parametrize(("rule", "example"), examples("bad"))
def test_bad_example_has_findings(rule: Rule, example: Example) -> None:
    violations = findings(rule, example)
    assert violations, f"{rule.id} has no finding for: {example.title}"
    assert all(finding.rule is rule and finding.message for finding in violations)
    assert "cannot be evaluated" not in " ".join(finding.message for finding in violations), violations


@pytest.mark.parametrize("rule", list(rules().values()), ids=list(rules()))
def test_rule_metadata_is_complete(rule: Rule) -> None:
    assert rule.title.endswith(".")
    assert rule.why.endswith(".")
    assert rule.fix.endswith(".")
    assert len({example.title for example in (*rule.good, *rule.bad)}) == len(rule.good) + len(rule.bad)
    if rule.check:
        assert callable(function(rule.check.function))
    for option in rule.config.values():
        assert option.description.endswith(".")
