"""ValidatingAdmissionPolicies: their rules, scope, exceptions and exempt accounts."""

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
EXCEPTION = {
    "rule": "pods-not-privileged",
    "resource": "Pod nlp/serv*",
    "owner": "nlp",
    "reason": "its profiler reads the counters of the CPU",
    "expires": TODAY,
}


def policies(policy_settings: PolicySettings, today: dt.date = TODAY) -> list[tuple[Object, Object]]:
    return make_policies(policy_settings, today, tenant_label="example/tenant", labels={"made": "here"})


def validations(pairs: list[tuple[Object, Object]]) -> dict[str, tuple[Object, Object, Object]]:
    """Return each rule's validation with its policy and binding."""
    return {
        validation["message"].partition(":")[0]: (validation, policy, binding)
        for policy, binding in pairs
        for validation in policy["spec"]["validations"]
    }


def covered(policy: Object) -> set[tuple[str, str]]:
    """Return the API groups and resources that a policy matches."""
    resource_rules = policy["spec"]["matchConstraints"]["resourceRules"]
    return {
        (api_group, name) for rule in resource_rules for api_group in rule["apiGroups"] for name in rule["resources"]
    }


def test_each_cel_rule_is_in_exactly_one_policy() -> None:
    pairs = policies(settings())
    assert sum(len(policy["spec"]["validations"]) for policy, _ in pairs) == len(IN_CEL)
    assert validations(pairs).keys() == {rule.id for rule in IN_CEL}
    assert len(pairs) < 8
    names = [obj["metadata"]["name"] for pair in pairs for obj in pair]
    assert len(set(names)) == len(pairs)
    assert all(name.startswith(PREFIX) for name in names)


def test_policy_variables_include_those_of_each_rule_in_order() -> None:
    for each in group(IN_CEL, settings(), TODAY):
        for rule in each.rules:
            (alone,) = group([rule], settings(), TODAY)
            assert alone.variables.items() <= each.variables.items()
            # Each variable follows those that it uses.
            order = list(each.variables)
            for name, text in each.variables.items():
                assert all(order.index(used) < order.index(name) for used in re.findall(r"variables\.(\w+)", text))


def test_rules_with_conflicting_variables_are_in_different_policies() -> None:
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
def test_rule_applies_to_its_kinds_only(rule: Rule) -> None:
    validation, policy, _ = validations(policies(settings()))[rule.id]
    assert rule.cel
    guard = f"!(object.kind in {sorted(rule.cel.served)}) || ".replace("'", '"')
    ((alone, _),) = policies(settings(levels={name: "disabled" for name in rules() if name != rule.id}))
    assert covered(alone) <= covered(policy)
    assert validation["expression"].startswith(guard) is (covered(alone) != covered(policy))


def test_level_sets_the_validation_actions() -> None:
    levels = {"images-not-latest": "advisory", "pods-have-resources": "disabled"}
    by_rule = validations(policies(settings(levels=levels)))
    assert "pods-have-resources" not in by_rule
    _, policy, binding = by_rule["images-not-latest"]
    assert policy["metadata"]["name"] == "inferstack-rules-all-advisory"
    assert binding["spec"]["validationActions"] == ["Warn", "Audit"]
    assert by_rule["pods-not-privileged"][2]["spec"]["validationActions"] == ["Deny"]
    lenient = validations(policies(settings(enforcement="advisory", levels={"pods-not-privileged": "mandatory"})))
    assert lenient["images-not-latest"][2]["spec"]["validationActions"] == ["Warn", "Audit"]
    assert lenient["pods-not-privileged"][2]["spec"]["validationActions"] == ["Deny"]


def test_policy_names_differ_by_enforcement_level() -> None:
    def names(level: str) -> set[str]:
        return {obj["metadata"]["name"] for pair in policies(settings(enforcement=level)) for obj in pair}

    assert names("mandatory").isdisjoint(names("advisory"))


def test_namespace_selector_follows_the_scope_of_the_rule() -> None:
    pairs = validations(policies(settings(exemptNamespaces=["kube-system", "monitoring"])))

    def places(rule: str) -> list[Object]:
        expressions: list[Object] = pairs[rule][2]["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"]
        return expressions

    assert places("pods-have-resources") == [{"key": "example/tenant", "operator": "Exists"}]
    assert places("pods-not-privileged") == [
        {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", "monitoring"]}
    ]
    everywhere = validations(policies(settings()))
    assert "matchResources" not in everywhere["pods-not-privileged"][2]["spec"]


def test_admission_for_tenants_excludes_cluster_scoped_objects() -> None:
    pairs = policies(settings(admission="tenants", exemptNamespaces=["kube-system"]))
    for policy, binding in pairs:
        (place,) = binding["spec"]["matchResources"]["namespaceSelector"]["matchExpressions"]
        assert place == {"key": "example/tenant", "operator": "Exists"}
        for resource_rule in policy["spec"]["matchConstraints"]["resourceRules"]:
            assert (resource_rule["scope"] == "Namespaced") is ("namespaces" not in resource_rule["resources"])
    assert policies(settings(admission="none")) == []


def test_exception_is_in_the_validation_of_its_rule_until_it_expires() -> None:
    policy_settings = settings(exceptions=[EXCEPTION])
    by_rule = validations(policies(policy_settings))
    with_exception = {rule for rule, (validation, _, _) in by_rule.items() if "serv.*" in validation["expression"]}
    assert with_exception == {"pods-not-privileged"}
    later = validations(policies(policy_settings, TODAY + dt.timedelta(days=1)))
    assert not [rule for rule, (validation, _, _) in later.items() if "serv.*" in validation["expression"]]


@pytest.mark.parametrize(
    ("resource", "patterns"),
    [
        ("Pod nlp/a", ["^Pod\\ nlp/a$"]),
        ("Deployment nlp/a", ["^Deployment\\ nlp/a$", "^Pod\\ nlp/a\\-.*$"]),
        ("CronJob nlp/a", ["^CronJob\\ nlp/a$", "^Job\\ nlp/a\\-.*$", "^Pod\\ nlp/a\\-.*$"]),
        ("Service nlp/a", ["^Service\\ nlp/a$"]),
    ],
)
def test_exception_of_a_workload_covers_its_pods(resource: str, patterns: list[str]) -> None:
    policy_settings = settings(exceptions=[{**EXCEPTION, "resource": resource}])
    text = validations(policies(policy_settings))["pods-not-privileged"][0]["expression"]
    assert [json.loads(f'"{pattern}"') for pattern in re.findall(r'matches\("(.*?)"\)', text)] == patterns


def test_exempt_accounts_are_service_account_usernames() -> None:
    def conditions(policy_settings: PolicySettings) -> dict[str, str]:
        ((policy, _), *_) = policies(policy_settings)
        return {condition["name"]: condition["expression"] for condition in policy["spec"]["matchConditions"]}

    assert conditions(settings()).keys() == {"not-ending", "not-bookkeeping"}
    assert '["system:serviceaccount:a:b"]' in conditions(settings(exemptAccounts=["a/b"]))["not-exempt"]
