"""Levels, configuration and exceptions of a stack."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from pydantic import ValidationError

from inferstack.policy.evaluate import apply
from inferstack.policy.examples import stack_of
from inferstack.policy.model import Level
from inferstack.policy.registry import find, rules
from inferstack.policy.resource import UNKNOWN, Resource, Stack, UnknownError, get, has_unknown
from tests.unit.policy.test_rules import TODAY, settings

RULE = find("pods-not-privileged")
EXCEPTION = {
    "rule": RULE.id,
    "resource": "Pod nlp/serv*",
    "owner": "nlp",
    "reason": "its profiler reads the counters of the CPU",
    "expires": "2026-11-25",
}


def messages(**given: Any) -> list[str]:
    stack_settings = settings(**given)
    return [type(result).__name__ for result in apply(RULE, stack_of(RULE.bad[0]), stack_settings, TODAY)]


def test_exception_expires_after_its_last_day() -> None:
    assert messages() == ["Finding"]
    assert messages(exceptions=[EXCEPTION]) == []
    assert messages(exceptions=[{**EXCEPTION, "expires": "2026-11-24"}]) == ["Finding"]
    assert settings(exceptions=[{**EXCEPTION, "expires": "2026-11-24"}]).expired(RULE.id, "Pod nlp/server", TODAY)


@pytest.mark.parametrize("resource", ["Pod nlp/serve", "Pod vision/server", "pod nlp/server", "Deployment nlp/server"])
def test_exception_applies_to_the_named_resource_only(resource: str) -> None:
    assert messages(exceptions=[{**EXCEPTION, "resource": resource}]) == ["Finding"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"levels": {"pods-not-priviliged": "advisory"}}, "did you mean pods-not-privileged"),
        ({"levels": {RULE.id: "remediate"}}, "no safe remedy"),
        ({"levels": {RULE.id: "warn"}}, "disabled"),
        ({"config": {RULE.id: {"systemNamespace": []}}}, "did you mean systemNamespaces"),
        ({"config": {RULE.id: {"systemNamespaces": "kube-system"}}}, "expected array of string"),
        ({"config": {RULE.id: {"systemNamespaces": [1]}}}, "expected array of string"),
        ({"exceptions": [{**EXCEPTION, "rule": "no-such-rule"}]}, "there is no rule"),
        ({"exceptions": [{**EXCEPTION, "reason": "ok"}]}, "at least 10"),
        ({"exceptions": [{**EXCEPTION, "expires": "never"}]}, "expected a day such as"),
        ({"exceptions": [{**EXCEPTION, "expires": 1800000000}]}, "expected a day such as"),
        ({"exceptions": [{**EXCEPTION, "expires": "2027-02-30"}]}, "expected a day such as"),
        ({"exceptions": [{key: value for key, value in EXCEPTION.items() if key != "owner"}]}, "owner"),
    ],
)
def test_invalid_setting_is_rejected(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        settings(**given)


@pytest.mark.parametrize("written", ["2027-01-31", dt.date(2027, 1, 31), "2027-01-31 00:00:00 +0000 UTC"])
def test_expiry_date_accepts_unquoted_yaml_dates(written: Any) -> None:
    (read,) = settings(exceptions=[{**EXCEPTION, "expires": written}]).exceptions
    assert read.expires == dt.date(2027, 1, 31)


def test_stack_sets_levels_and_configuration() -> None:
    stack_settings = settings(
        enforcement="advisory",
        levels={RULE.id: "mandatory"},
        config={RULE.id: {"systemNamespaces": ["nlp"]}},
    )
    assert stack_settings.level(RULE) is Level.MANDATORY
    others = [rule for rule in rules().values() if rule is not RULE]
    assert {stack_settings.level(rule) for rule in others} == {Level.ADVISORY}
    assert messages(config={RULE.id: {"systemNamespaces": ["nlp"]}}) == []


def test_unknown_value_leaves_a_rule_undecided() -> None:
    manifest = {**RULE.bad[0].resources[0]}
    assert not has_unknown(manifest)
    unknown = {**manifest, "metadata": {**manifest["metadata"], "annotations": {"note": UNKNOWN}}}
    token = "kubernetes:core/v1:Pod"
    stack = Stack("prod", (Resource("urn", token, "server", unknown),))
    assert [type(result).__name__ for result in apply(RULE, stack, settings(), TODAY)] == ["Undecided"]
    harmless = {**RULE.good[0].resources[0], "status": UNKNOWN}
    assert list(apply(RULE, Stack("prod", (Resource("urn", token, "s", harmless),)), settings(), TODAY)) == []
    for operation in (bool, len, list, hash, lambda value: value == 1, lambda value: value["a"]):
        with pytest.raises((UnknownError, TypeError)):
            operation(UNKNOWN)
    with pytest.raises(UnknownError):
        get({"a": UNKNOWN}, "a", "b")


def test_missing_path_returns_the_default() -> None:
    assert get({"a": [{"b": 1}]}, "a", 0, "b") == 1
    assert get({"a": [{"b": 1}]}, "a", 1, "b", default="none") == "none"
    assert get({"a": 1}, "a", "b") is None
