"""Policies for the API server: what they hold of which rules, where, and whom they let pass."""

from __future__ import annotations

import datetime as dt
import json
import re

import pytest

from inferstack.apimachinery.objects import Object
from inferstack.policy.admission import PREFIX, group, make_policies
from inferstack.policy.model import Rule
from inferstack.policy.registry import find, rules
from inferstack.policy.settings import PolicySettings
from tests.unit.policy.test_rules import TODAY, settings

IN_CEL = [rule for rule in rules().values() if rule.cel]
LEAVE = {
    "rule": "pods-not-privileged",
    "resource": "Pod nlp/serv*",
    "owner": "nlp",
    "reason": "its profiler reads the counters of the CPU",
    "expires": TODAY,
}


def made(held: PolicySettings, today: dt.date = TODAY) -> list[tuple[Object, Object]]:
    return make_policies(held, today, tenant_label="example/tenant", labels={"made": "here"})


def validations(pairs: list[tuple[Object, Object]]) -> dict[str, tuple[Object, Object, Object]]:
    """Return each rule's validation with its policy and binding."""
    return {
        one["message"].partition(":")[0]: (one, policy, binding)
        for policy, binding in pairs
        for one in policy["spec"]["validations"]
    }


def covered(policy: Object) -> set[tuple[str, str]]:
    """Return groups and resources that a policy is asked about."""
    listed = policy["spec"]["matchConstraints"]["resourceRules"]
    return {(group_, name) for one in listed for group_ in one["apiGroups"] for name in one["resources"]}


def test_each_rule_in_cel_is_held_once_in_few_policies() -> None:
    pairs = made(settings())
    assert sum(len(policy["spec"]["validations"]) for policy, _ in pairs) == len(IN_CEL)
    assert validations(pairs).keys() == {rule.id for rule in IN_CEL}
    assert len(pairs) < 8
    names = [one["metadata"]["name"] for pair in pairs for one in pair]
    assert len(set(names)) == len(pairs)
    assert all(name.startswith(PREFIX) for name in names)


def test_no_rule_of_a_policy_sees_another_ones_variables() -> None:
    for each in group(IN_CEL, settings(), TODAY):
        for rule in each.rules:
            (alone,) = group([rule], settings(), TODAY)
            assert alone.variables.items() <= each.variables.items()
            # Each after those that it uses.
            known = list(each.variables)
            for name, text in each.variables.items():
                assert all(known.index(used) < known.index(name) for used in re.findall(r"variables\.(\w+)", text))


def test_rules_with_the_same_name_for_different_values_part() -> None:
    both = [find("pods-not-privileged"), find("pods-no-host-namespaces")]
    own = {"pods-not-privileged": {"systemNamespaces": ["a"]}, "pods-no-host-namespaces": {"systemNamespaces": ["b"]}}
    apart = group(both, settings(config=own), TODAY)
    assert [(each.rules, each.variables["systemNamespaces"]) for each in apart] == [
        ((both[0],), '["a"]'),
        ((both[1],), '["b"]'),
    ]
    same = {rule.id: {"systemNamespaces": ["a"]} for rule in both}
    assert len(group(both, settings(config=same), TODAY)) == 1


@pytest.mark.parametrize("rule", IN_CEL, ids=[rule.id for rule in IN_CEL])
def test_a_rule_is_asked_about_its_kinds_only(rule: Rule) -> None:
    validation, policy, _ = validations(made(settings()))[rule.id]
    assert rule.cel
    guard = f"!(object.kind in {sorted(rule.cel.served)}) || ".replace("'", '"')
    ((alone, _),) = made(settings(levels={name: "disabled" for name in rules() if name != rule.id}))
    assert covered(alone) <= covered(policy)
    assert validation["expression"].startswith(guard) is (covered(alone) != covered(policy))


def test_levels_decide_what_a_finding_does() -> None:
    levels = {"images-not-latest": "advisory", "pods-have-resources": "disabled"}
    found = validations(made(settings(levels=levels)))
    assert "pods-have-resources" not in found
    _, policy, binding = found["images-not-latest"]
    assert policy["metadata"]["name"] == "inferstack-rules-all-advisory"
    assert binding["spec"]["validationActions"] == ["Warn", "Audit"]
    assert found["pods-not-privileged"][2]["spec"]["validationActions"] == ["Deny"]
    lenient = validations(made(settings(enforcement="advisory", levels={"pods-not-privileged": "mandatory"})))
    assert lenient["images-not-latest"][2]["spec"]["validationActions"] == ["Warn", "Audit"]
    assert lenient["pods-not-privileged"][2]["spec"]["validationActions"] == ["Deny"]


def test_a_stack_that_grows_stricter_gets_new_policies() -> None:
    def names(level: str) -> set[str]:
        return {one["metadata"]["name"] for pair in made(settings(enforcement=level)) for one in pair}

    assert names("mandatory").isdisjoint(names("advisory"))


def test_places_follow_the_scope_of_rules() -> None:
    pairs = validations(made(settings(exemptNamespaces=["kube-system", "monitoring"])))

    def places(rule: str) -> list[Object]:
        expressions: list[Object] = pairs[rule][2]["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"]
        return expressions

    assert places("pods-have-resources") == [{"key": "example/tenant", "operator": "Exists"}]
    assert places("pods-not-privileged") == [
        {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", "monitoring"]}
    ]
    everywhere = validations(made(settings()))
    assert "matchResources" not in everywhere["pods-not-privileged"][2]["spec"]


def test_on_a_cluster_of_others_what_has_no_namespace_is_not_asked_about() -> None:
    pairs = made(settings(admission="tenants", exemptNamespaces=["kube-system"]))
    for policy, binding in pairs:
        (place,) = binding["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"]
        assert place == {"key": "example/tenant", "operator": "Exists"}
        for one in policy["spec"]["matchConstraints"]["resourceRules"]:
            assert (one["scope"] == "Namespaced") is ("namespaces" not in one["resources"])
    assert made(settings(admission="none")) == []


def test_an_exception_is_in_the_rules_own_validation_until_its_day() -> None:
    held = settings(exceptions=[LEAVE])
    found = validations(made(held))
    with_leave = {rule for rule, (one, _, _) in found.items() if "serv.*" in one["expression"]}
    assert with_leave == {"pods-not-privileged"}
    later = validations(made(held, TODAY + dt.timedelta(days=1)))
    assert not [rule for rule, (one, _, _) in later.items() if "serv.*" in one["expression"]]


@pytest.mark.parametrize(
    ("resource", "patterns"),
    [
        ("Pod nlp/a", ["^Pod\\ nlp/a$"]),
        ("Deployment nlp/a", ["^Deployment\\ nlp/a$", "^Pod\\ nlp/a\\-.*$"]),
        ("CronJob nlp/a", ["^CronJob\\ nlp/a$", "^Job\\ nlp/a\\-.*$", "^Pod\\ nlp/a\\-.*$"]),
        ("Service nlp/a", ["^Service\\ nlp/a$"]),
    ],
)
def test_an_exception_of_what_makes_pods_is_one_of_its_pods(resource: str, patterns: list[str]) -> None:
    held = settings(exceptions=[{**LEAVE, "resource": resource}])
    text = validations(made(held))["pods-not-privileged"][0]["expression"]
    assert [json.loads(f'"{one}"') for one in re.findall(r'matches\("(.*?)"\)', text)] == patterns


def test_accounts_that_are_exempt_are_named_as_the_api_server_does() -> None:
    def conditions(held: PolicySettings) -> dict[str, str]:
        ((policy, _), *_) = made(held)
        return {one["name"]: one["expression"] for one in policy["spec"]["matchConditions"]}

    assert conditions(settings()).keys() == {"not-ending", "not-bookkeeping"}
    assert '["system:serviceaccount:a:b"]' in conditions(settings(exemptAccounts=["a/b"]))["not-exempt"]
