"""The answers to the engine's calls."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any
from unittest import mock

import grpc
import pytest
from google.protobuf.empty_pb2 import Empty
from google.protobuf.json_format import MessageToDict
from pulumi.runtime.proto import analyzer_pb2

from inferstack.apimachinery.objects import Object
from inferstack.policy.registry import rules
from policies.analyzer import Analyzer
from policies.evaluator import Evaluator
from policies.pack import NAME

POD, BUCKET, TAGS = "pods-not-privileged", "aws-bucket-versioned", "aws-resources-tagged"
CONTEXT = mock.create_autospec(grpc.ServicerContext, instance=True)


def analyzer(levels: dict[str, str] | None = None, config: Object | None = None) -> Analyzer:
    """An analyzer with all rules disabled but the given ones."""
    subject = Analyzer(Evaluator(dt.date(2026, 11, 25)))
    policies = {"levels": {**dict.fromkeys(rules(), "disabled"), **(levels or {})}, "config": config or {}}
    request = analyzer_pb2.AnalyzerStackConfigureRequest(
        stack="prod", config={"inferstack:security": json.dumps({"policies": policies})}
    )
    subject.ConfigureStack(request, CONTEXT)
    return subject


def request(token: str, properties: Object, kind: type = analyzer_pb2.AnalyzeRequest) -> Any:
    message = kind(urn=f"urn:pulumi:prod::inferstack::{token}::x", type=token, name="x")
    message.properties.update(properties)
    return message


def pod() -> Any:
    container = {"name": "server", "image": "server", "securityContext": {"privileged": True}}
    metadata = {"name": "server", "namespace": "nlp"}
    return request(
        "kubernetes:core/v1:Pod",
        {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}},
    )


@pytest.mark.parametrize(("level", "reported"), [("mandatory", "MANDATORY"), ("advisory", "ADVISORY")])
def test_violation_has_the_level_of_the_stack(level: str, reported: str) -> None:
    (diagnostic,) = analyzer({POD: level}).Analyze(pod(), CONTEXT).diagnostics
    assert (diagnostic.policyName, diagnostic.policyPackName, diagnostic.urn) == (POD, NAME, "")
    assert analyzer_pb2.EnforcementLevel.Name(diagnostic.enforcementLevel) == reported
    assert diagnostic.severity == analyzer_pb2.POLICY_SEVERITY_CRITICAL
    assert diagnostic.message.startswith(f"{diagnostic.description}\nPod nlp/server: ")


def test_disabled_rule_reports_nothing() -> None:
    assert not analyzer().Analyze(pod(), CONTEXT).diagnostics


def test_stack_violation_names_the_resource() -> None:
    bucket = request("aws:s3/bucket:Bucket", {"bucket": "models"}, analyzer_pb2.AnalyzerResource)
    stack = analyzer_pb2.AnalyzeStackRequest(resources=[bucket])
    (diagnostic,) = analyzer({BUCKET: "mandatory"}).AnalyzeStack(stack, CONTEXT).diagnostics
    assert (diagnostic.policyName, diagnostic.urn) == (BUCKET, bucket.urn)
    assert not analyzer().AnalyzeStack(stack, CONTEXT).diagnostics


def test_remediation_returns_changed_properties_and_satisfies_the_rule() -> None:
    subject = analyzer({TAGS: "remediate"}, {TAGS: {"required": {"team": "nlp"}, "present": []}})
    bucket = request("aws:s3/bucket:Bucket", {"bucket": "models"})
    (remediation,) = subject.Remediate(bucket, CONTEXT).remediations
    assert (remediation.policyName, remediation.policyPackName) == (TAGS, NAME)
    assert MessageToDict(remediation.properties) == {"bucket": "models", "tags": {"team": "nlp"}}
    changed = request("aws:s3/bucket:Bucket", MessageToDict(remediation.properties))
    assert not subject.Remediate(changed, CONTEXT).remediations
    assert not subject.Analyze(changed, CONTEXT).diagnostics


def test_violation_without_remediation_is_mandatory() -> None:
    subject = analyzer({TAGS: "remediate"}, {TAGS: {"required": {"team": ""}, "present": []}})
    bucket = request("aws:s3/bucket:Bucket", {"bucket": "models"})
    assert not subject.Remediate(bucket, CONTEXT).remediations
    (diagnostic,) = subject.Analyze(bucket, CONTEXT).diagnostics
    assert diagnostic.enforcementLevel == analyzer_pb2.MANDATORY


def test_engine_configuration_wins_over_the_stack() -> None:
    subject = analyzer({POD: "mandatory"})
    policy = analyzer_pb2.PolicyConfig(enforcementLevel=analyzer_pb2.DISABLED)
    subject.Configure(analyzer_pb2.ConfigureAnalyzerRequest(policyConfig={POD: policy}), CONTEXT)
    assert not subject.Analyze(pod(), CONTEXT).diagnostics


def test_invalid_settings_abort_with_the_key() -> None:
    context = mock.create_autospec(grpc.ServicerContext, instance=True)
    given = {"inferstack:security": json.dumps({"policies": {"levels": {"pods-not-priviledged": "advisory"}}})}
    subject = Analyzer(Evaluator(dt.date(2026, 11, 25)))
    subject.ConfigureStack(analyzer_pb2.AnalyzerStackConfigureRequest(stack="prod", config=given), context)
    (call,) = context.abort.call_args_list
    assert call.args[0] is grpc.StatusCode.INVALID_ARGUMENT
    assert "inferstack:security.policies.levels" in call.args[1]


def test_pack_lists_every_rule() -> None:
    info = analyzer().GetAnalyzerInfo(Empty(), CONTEXT)
    assert (info.name, info.supportsConfig) == (NAME, True)
    assert [policy.name for policy in info.policies] == list(rules())
