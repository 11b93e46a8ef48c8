"""Rules as policies: names, levels, schemas, remedies; jobs and what is made of them."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pulumi_policy
import pytest
import yaml

from inferstack.policy.model import Rule
from inferstack.policy.registry import find, rules
from inferstack.policy.resource import UNKNOWN, Resource
from inferstack.project import project_root
from policies.gate import Gate
from policies.jobs import children
from policies.pack import apply_settings, concerned, make_policy, schema
from policies.remedy import mend

TODAY = dt.date(2026, 11, 25)
TAGGED = find("aws-resources-tagged")


@pytest.fixture
def gate() -> Gate:
    return Gate(TODAY)


@pytest.mark.parametrize("rule", rules().values(), ids=list(rules()))
def test_each_rule_is_a_policy_of_its_own_name(gate: Gate, rule: Rule) -> None:
    policy = make_policy(rule, gate)
    kind = pulumi_policy.StackValidationPolicy if rule.of_stack else pulumi_policy.ResourceValidationPolicy
    assert isinstance(policy, kind)
    assert policy.name == rule.id
    assert policy.severity
    assert policy.severity.value == rule.severity
    assert policy.framework
    assert policy.framework.reference == rule.frameworks[0].control
    assert policy.remediation_steps == rule.fix
    told = (rule.title, rule.severity, *(part for one in rule.frameworks for part in (one.name, one.control)))
    assert all(part in policy.description for part in told)
    if isinstance(policy, pulumi_policy.ResourceValidationPolicy):
        assert policy.has_remediation() is bool(rule.remedy)


def test_levels_and_schemas_are_the_stacks(gate: Gate) -> None:
    policies = [make_policy(rule, gate) for rule in rules().values()]
    settings = '{"policies": {"levels": {"%s": "remediate"}, "config": {"%s": {"present": ["team"]}}}}'
    gate.configure("dev", {"inferstack:security": settings % (TAGGED.id, TAGGED.id)})
    apply_settings(policies, gate)
    levels = {policy.name: policy.enforcement_level for policy in policies}
    assert levels.pop(TAGGED.id) is pulumi_policy.EnforcementLevel.REMEDIATE
    assert set(levels.values()) == {pulumi_policy.EnforcementLevel.MANDATORY}
    (tagged,) = [policy for policy in policies if policy.name == TAGGED.id]
    assert tagged.config_schema
    assert tagged.config_schema.properties["present"]["default"] == ["team"]


def test_a_schema_is_json_schema() -> None:
    (option,) = schema(find("tenant-quotas-cap-gpus"), {"required": ["pods"]}).values()
    assert (option["type"], option["items"], option["default"]) == ("array", {"type": "string"}, ["pods"])
    assert schema(TAGGED, TAGGED.defaults)["required"]["additionalProperties"] == {"type": "string"}


def test_types_that_no_rule_looks_at_are_passed_over() -> None:
    assert concerned("kubernetes:core/v1:Pod")
    assert not concerned("kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition")


@pytest.mark.parametrize(
    ("properties", "wanted"),
    [
        ({}, {"tags": {"team": "nlp"}}),
        ({"tags": {"owner": "x"}}, {"tags": {"owner": "x", "team": "nlp"}}),
        ({"tags": {"team": ""}}, {"tags": {"team": "nlp"}}),
        ({"tags": {"team": "other"}}, None),
    ],
)
def test_a_remedy_adds_what_is_missing_and_leaves_the_rest(properties: Any, wanted: Any) -> None:
    assert mend(TAGGED, properties, {"required": {"team": "nlp", "unknown-value": ""}}) == wanted


def test_a_remedy_writes_labels_where_kubernetes_has_them() -> None:
    labels = TAGGED.model_copy(update={"remedy": "labels"})
    assert mend(labels, {"metadata": {"name": "x"}}, {"required": {"a": "b"}}) == {
        "metadata": {"name": "x", "labels": {"a": "b"}}
    }


def job(**spec: Any) -> Resource:
    whole = {"model": "bert-base-uncased", "replicas": 2, "resources": {"limits": {"nvidia.com/gpu": 1}}, **spec}
    manifest = {
        "apiVersion": "deepseek.ai/v1",
        "kind": "InferenceJob",
        "metadata": {"name": "bert", "namespace": "nlp"},
        "spec": whole,
    }
    return Resource("urn:job", "kubernetes:deepseek.ai/v1:InferenceJob", "job", manifest)


def test_a_job_is_judged_with_what_the_operator_makes_of_it() -> None:
    requests = {"nvidia.com/gpu": 1}
    made = children(job(resources={"requests": requests, "limits": requests}))
    assert [one.label for one in made] == ["Deployment nlp/bert", "Service nlp/bert", "PodDisruptionBudget nlp/bert"]
    assert {(one.urn, one.origin, one.parent) for one in made} == {("urn:job", "urn:job", "urn:job")}


def test_a_job_that_cannot_be_planned_or_is_not_known_makes_nothing() -> None:
    assert children(job(model="")) == ()
    assert children(job(model=UNKNOWN)) == ()
    assert children(Resource("urn:pod", "kubernetes:core/v1:Pod", "pod", {"kind": "Pod"})) == ()


def test_the_engine_is_told_how_to_run_the_pack() -> None:
    content = yaml.safe_load((project_root() / "policies" / "PulumiPolicy.yaml").read_text())
    program = yaml.safe_load((project_root() / "Pulumi.yaml").read_text())
    assert content["runtime"]["name"] == "python"
    assert content["runtime"]["options"]["virtualenv"] == f"../{program['runtime']['options']['virtualenv']}"
