"""Policies of a stack: levels, configuration and exceptions, with errors that name the key as it was written."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
import yaml

from components.security.checks import check_exceptions, check_security
from components.security.settings import SecuritySettings
from components.settings import load_role
from inferstack.errors import UserError
from inferstack.policy.model import Level
from inferstack.policy.registry import rules
from inferstack.policy.settings import Admission
from inferstack.project import project_root

TODAY = dt.date(2026, 11, 25)
RULE = "pods-not-privileged"
LEAVE = {
    "rule": RULE,
    "resource": "Pod nlp/profiler",
    "owner": "nlp-engineers",
    "reason": "its profiler reads the counters of the CPU",
    "expires": "2026-12-31",
}


def settings(**policies: Any) -> SecuritySettings:
    """Return the role's settings with these policies."""
    return load_role("security", SecuritySettings, {"policies": policies})


def refusal(**policies: Any) -> str:
    """Return the error message for a stack with these policies."""
    with pytest.raises(UserError) as caught:
        check_exceptions(settings(**policies), TODAY)
    return str(caught.value)


def without(key: str) -> dict[str, str]:
    """Return the exception without one of its keys."""
    return {name: value for name, value in LEAVE.items() if name != key}


def test_a_stack_that_says_nothing_is_held_to_all_rules() -> None:
    policies = settings().policies
    assert {policies.level(rule) for rule in rules().values()} == {Level.MANDATORY}
    assert policies.admission is Admission.CLUSTER
    check_exceptions(settings(), TODAY)


@pytest.mark.parametrize(
    ("stack", "enforcement", "admission"),
    [
        ("local", "advisory", "cluster"),
        ("dev", "advisory", "cluster"),
        ("existing", "mandatory", "tenants"),
        ("staging", "mandatory", "cluster"),
        ("prod", "mandatory", "cluster"),
    ],
)
def test_an_environment_is_shown_or_refused_what_breaks_a_rule(stack: str, enforcement: str, admission: str) -> None:
    config = yaml.safe_load((project_root() / "stacks" / f"Pulumi.{stack}.yaml").read_text())["config"]
    policies = load_role("security", SecuritySettings, config.get("inferstack:security")).policies
    assert (policies.enforcement, policies.admission) == (enforcement, admission)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"enforcement": "warn"}, "enforcement: input should be"),
        ({"enforcement": "disabled"}, "enforcement: input should be"),
        ({"enforce": "advisory"}, "enforce: unknown key; did you mean enforcement?"),
        ({"admission": True}, "admission: input should be 'none', 'tenants' or 'cluster'"),
        (
            {"exemptNamespaces": ["kube_system"]},
            'exemptNamespaces[0]: expected the name of a namespace, got "kube_system".',
        ),
        (
            {"exemptAccounts": ["thinruntime-controller"]},
            "exemptAccounts[0]: expected a service account as namespace/name",
        ),
        (
            {"levels": {"pods-not-priviliged": "advisory"}},
            'levels.pods-not-priviliged: there is no rule "pods-not-priviliged"; did you mean pods-not-privileged?',
        ),
        ({"levels": {RULE: "warn"}}, f"levels.{RULE}: input should be 'disabled', 'advisory', 'mandatory' or"),
        ({"levels": {RULE: "remediate"}}, f"levels.{RULE}: the rule has no safe remedy; use mandatory"),
        ({"levels": [RULE]}, "levels: expected a mapping"),
        ({"config": {"no-such-rule": {}}}, 'config.no-such-rule: there is no rule "no-such-rule"'),
        (
            {"config": {RULE: {"systemNamespace": []}}},
            f"config.{RULE}.systemNamespace: unknown key; did you mean systemNamespaces?",
        ),
        (
            {"config": {RULE: {"systemNamespaces": "kube-system"}}},
            f'config.{RULE}.systemNamespaces: expected array of string, got "kube-system".',
        ),
        ({"config": {RULE: {"systemNamespaces": [1]}}}, f"config.{RULE}.systemNamespaces: expected array of string"),
        ({"config": {RULE: []}}, f"config.{RULE}: expected a mapping"),
        ({"exceptions": {}}, "exceptions: expected a list"),
        ({"exceptions": [{**LEAVE, "rule": "none"}]}, 'exceptions[0].rule: there is no rule "none"'),
        ({"exceptions": [without("owner")]}, "exceptions[0].owner: is required. It is: "),
        ({"exceptions": [without("expires")]}, "exceptions[0].expires: is required. It is: "),
        ({"exceptions": [without("reason")]}, "exceptions[0].reason: is required."),
        ({"exceptions": [{**LEAVE, "reason": "ok"}]}, "exceptions[0].reason: string should have at least 10"),
        ({"exceptions": [{**LEAVE, "expires": "never"}]}, "exceptions[0].expires: expected a day such as 2027-01-31"),
        ({"exceptions": [{**LEAVE, "expires": 20270131}]}, "exceptions[0].expires: expected a day such as 2027-01-31"),
        ({"exceptions": [{**LEAVE, "until": "2027-01-31"}]}, "exceptions[0].until: unknown key; known here: "),
        (
            {"exceptions": [LEAVE, {**LEAVE, "expires": "2027-02-24"}]},
            "exceptions[1].expires: 2027-02-24 is later than the 90 days of "
            "inferstack:security.policies.maxExceptionDays; 2027-02-23 is the latest day.",
        ),
        (
            {"exceptions": [{**LEAVE, "expires": "2026-11-24"}]},
            "exceptions[0]: the exception of nlp-engineers from pods-not-privileged for Pod nlp/profiler ended on "
            "2026-11-24; fix the resource and remove the key",
        ),
        ({"maxExceptionDays": 0}, "maxExceptionDays: input should be greater than or equal to 1"),
        ({"maxExceptionDays": "90"}, "maxExceptionDays: input should be a valid integer"),
    ],
)
def test_what_is_wrong_is_refused_by_its_path(given: dict[str, Any], expected: str) -> None:
    message = refusal(**given)
    assert message.startswith(f"inferstack:security.policies.{expected}")
    assert "Value error" not in message


def test_all_that_is_wrong_is_told_at_once() -> None:
    message = refusal(
        levels={"a-b": "advisory", "c-d": "advisory"}, config={RULE: {"a": 1, "b": 2}}, exceptions=[without("owner")]
    )
    assert [line.partition(": ")[0].removeprefix("inferstack:security.policies.") for line in message.splitlines()] == [
        "levels.a-b",
        "levels.c-d",
        f"config.{RULE}.a",
        f"config.{RULE}.b",
        "exceptions[0].owner",
    ]
    ended = [{**LEAVE, "expires": "2026-11-24"}, {**LEAVE, "expires": "2026-01-01"}]
    assert len(refusal(exceptions=ended).splitlines()) == 2


@pytest.mark.parametrize("expires", ["2026-11-25", "2027-02-23"])
def test_an_exception_holds_from_today_to_the_latest_day(expires: str) -> None:
    check_exceptions(settings(exceptions=[{**LEAVE, "expires": expires}]), TODAY)


def test_an_exception_ends_in_a_stack_without_the_role_too() -> None:
    given = {"enabled": False, "policies": {"exceptions": [{**LEAVE, "expires": "2026-11-24"}]}}
    off = load_role("security", SecuritySettings, given)
    with pytest.raises(UserError, match="ended on 2026-11-24"):
        check_security(off, {}, mesh_encrypts=True, mesh_strict=True, today=TODAY)
