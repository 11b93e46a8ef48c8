"""Rules as Pulumi policies, and the objects that the controller creates for a job."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
import yaml
from google.protobuf.json_format import MessageToDict
from pulumi.runtime.proto import analyzer_pb2

from inferstack.policy.model import Level, Rule, Severity
from inferstack.policy.registry import find, rules
from inferstack.policy.resource import UNKNOWN, Resource
from inferstack.policy.settings import PolicySettings
from inferstack.project import project_root
from policies.evaluator import Evaluator
from policies.jobs import children
from policies.pack import level_of, level_value, pack_info, policy_info, schema, severity_value

TAGGED = find("aws-resources-tagged")


@pytest.mark.parametrize("rule", rules().values(), ids=list(rules()))
def test_policy_has_the_metadata_of_its_rule(rule: Rule) -> None:
    info = policy_info(rule, PolicySettings.strict())
    kind = analyzer_pb2.POLICY_TYPE_STACK if rule.of_stack else analyzer_pb2.POLICY_TYPE_RESOURCE
    assert (info.name, info.displayName, info.policy_type) == (rule.id, rule.title, kind)
    assert analyzer_pb2.PolicySeverity.Name(info.severity) == f"POLICY_SEVERITY_{rule.severity.name}"
    assert info.framework.reference == rule.frameworks[0].control
    assert info.remediation_steps == rule.fix
    controls = [part for framework in rule.frameworks for part in (framework.name, framework.control)]
    assert all(part in info.description for part in (rule.title, rule.severity, *controls))


def test_levels_and_schemas_come_from_the_stack() -> None:
    evaluator = Evaluator(dt.date(2026, 11, 25))
    settings = '{"policies": {"levels": {"%s": "remediate"}, "config": {"%s": {"present": ["team"]}}}}'
    evaluator.configure("dev", {"inferstack:security": settings % (TAGGED.id, TAGGED.id)})
    policies = {policy.name: policy for policy in pack_info(evaluator.settings).policies}
    levels = {name: level_of(policy.enforcementLevel) for name, policy in policies.items()}
    assert levels.pop(TAGGED.id) is Level.REMEDIATE
    assert set(levels.values()) == {Level.MANDATORY}
    properties = MessageToDict(policies[TAGGED.id].configSchema.properties)
    assert properties["present"]["default"] == ["team"]


def test_levels_and_severities_have_values_in_the_protocol() -> None:
    assert [level_of(level_value(level)) for level in Level] == list(Level)
    assert {severity_value(severity) for severity in Severity} == {1, 2, 3, 4}


def test_schema_is_a_json_schema() -> None:
    (option,) = schema(find("tenant-quotas-cap-gpus"), {"required": ["pods"]}).values()
    assert (option["type"], option["items"], option["default"]) == ("array", {"type": "string"}, ["pods"])
    assert schema(TAGGED, TAGGED.defaults)["required"]["additionalProperties"] == {"type": "string"}


def job(**spec: Any) -> Resource:
    whole = {"model": "bert-base-uncased", "replicas": 2, "resources": {"limits": {"nvidia.com/gpu": 1}}, **spec}
    manifest = {
        "apiVersion": "deepseek.ai/v1",
        "kind": "InferenceJob",
        "metadata": {"name": "bert", "namespace": "nlp"},
        "spec": whole,
    }
    return Resource("urn:job", "kubernetes:deepseek.ai/v1:InferenceJob", "job", manifest)


def test_children_of_a_job_are_what_the_controller_creates() -> None:
    requests = {"nvidia.com/gpu": 1}
    objects = children(job(resources={"requests": requests, "limits": requests}))
    labels = [resource.label for resource in objects]
    assert labels == ["Deployment nlp/bert", "Service nlp/bert", "PodDisruptionBudget nlp/bert"]
    assert {(resource.urn, resource.origin, resource.parent) for resource in objects} == {
        ("urn:job", "urn:job", "urn:job")
    }


def test_invalid_or_unknown_job_has_no_children() -> None:
    assert children(job(model="")) == ()
    assert children(job(model=UNKNOWN)) == ()
    assert children(Resource("urn:pod", "kubernetes:core/v1:Pod", "pod", {"kind": "Pod"})) == ()


def test_pack_runs_in_the_program_virtual_environment() -> None:
    content = yaml.safe_load((project_root() / "policies" / "PulumiPolicy.yaml").read_text())
    program = yaml.safe_load((project_root() / "Pulumi.yaml").read_text())
    assert content["runtime"]["name"] == "python"
    assert content["runtime"]["options"]["virtualenv"] == f"../{program['runtime']['options']['virtualenv']}"
