"""Settings and resources in the engine's form, and the violations of rules."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from google.protobuf import struct_pb2
from pulumi.runtime.proto import analyzer_pb2

from inferstack.apimachinery.objects import Object
from inferstack.errors import UserError
from inferstack.policy.model import Level
from inferstack.policy.registry import find, rules
from inferstack.policy.resource import UNKNOWN
from inferstack.state.checks import SECRET, SIGNATURE
from policies.evaluator import Evaluator, rules_for, to_plain

TODAY = dt.date(2026, 11, 25)
POD = find("pods-not-privileged")
BUCKETS = find("aws-bucket-versioned")
UNKNOWN_STRING = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
UNKNOWN_BOOLEAN = "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7"


def evaluator(stack: str = "prod", **settings: Object) -> Evaluator:
    result = Evaluator(TODAY)
    given = {"tenancy": {"tenants": {"nlp": {"gpus": 8}}}, **settings}
    result.configure(stack, {f"inferstack:{role}": json.dumps(value) for role, value in given.items()})
    return result


def request(token: str, name: str, properties: Object, kind: type = analyzer_pb2.AnalyzeRequest) -> Any:
    message = kind(urn=f"urn:pulumi:prod::inferstack::{token}::{name}", type=token, name=name)
    message.properties.update(properties)
    return message


def pod(name: str = "server", *, privileged: Any = True) -> Any:
    container = {"name": "server", "image": "server", "securityContext": {"privileged": privileged}}
    metadata = {"name": name, "namespace": "nlp"}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}
    return request("kubernetes:core/v1:Pod", name, manifest)


def violations(subject: Evaluator, message: Any) -> list[str]:
    subject.add(message)
    return subject.resource_violations(POD, message.urn)


def exception(expires: str) -> Object:
    reason = "its profiler reads the counters of the CPU"
    return {"rule": POD.id, "resource": "Pod nlp/*", "owner": "nlp", "reason": reason, "expires": expires}


def test_default_settings_make_every_rule_mandatory() -> None:
    subject = Evaluator(TODAY)
    assert {subject.level(rule) for rule in rules().values()} == {Level.MANDATORY}
    assert subject.stack.tenants == frozenset()


def test_settings_and_tenants_come_from_the_stack_configuration() -> None:
    subject = evaluator("dev", security={"policies": {"enforcement": "advisory", "levels": {POD.id: "disabled"}}})
    assert (subject.level(POD), subject.level(BUCKETS)) == (Level.DISABLED, Level.ADVISORY)
    assert (subject.stack.name, subject.stack.tenants) == ("dev", frozenset({"nlp"}))
    assert subject.stack.settings["tenancy"] == {"tenants": {"nlp": {"gpus": 8}}}


def test_invalid_setting_is_reported_with_its_key() -> None:
    with pytest.raises(UserError, match=r"inferstack:security\.policies\.enforcement"):
        evaluator(security={"policies": {"enforcement": "sometimes"}})


def test_violation_names_the_object_and_the_container() -> None:
    (message,) = violations(evaluator(), pod())
    assert message == f"Pod nlp/server: server: {POD.fix}"
    assert violations(evaluator(), pod(privileged=False)) == []


def test_unknown_value_is_no_violation_until_the_update_knows_it() -> None:
    subject = evaluator()
    assert violations(subject, pod(privileged=UNKNOWN_BOOLEAN)) == []
    assert len(violations(subject, pod(privileged=True))) == 1


def test_exception_holds_until_its_last_day_and_is_named_afterwards() -> None:
    assert violations(evaluator(security={"policies": {"exceptions": [exception("2026-11-25")]}}), pod()) == []
    (message,) = violations(evaluator(security={"policies": {"exceptions": [exception("2026-11-24")]}}), pod())
    assert "2026-11-24, owner nlp" in message


def test_engine_overrides_levels_and_configuration() -> None:
    subject = evaluator(security={"policies": {"config": {"autoscalers-are-bounded": {"maxReplicas": 10}}}})
    rule = find("autoscalers-are-bounded")
    assert subject.settings.config_of(rule)["maxReplicas"] == 10
    subject.override({rule.id: Level.ADVISORY}, {rule.id: {"maxReplicas": 20}})
    assert subject.settings.config_of(rule)["maxReplicas"] == 20
    assert (subject.level(rule), subject.level(POD)) == (Level.ADVISORY, Level.MANDATORY)


def test_stack_rules_check_registered_inputs_in_registration_order() -> None:
    subject = evaluator()
    for name in ("b", "a"):
        subject.add(request("aws:s3/bucket:Bucket", name, {"bucket": name}))
    subject.add_stack(
        request("aws:s3/bucket:Bucket", name, {"bucket": "output"}, analyzer_pb2.AnalyzerResource) for name in "abc"
    )
    assert [(resource.name, resource.properties["bucket"]) for resource in subject.stack.resources] == [
        ("b", "b"),
        ("a", "a"),
        ("c", "output"),
    ]
    assert {urn.rpartition("::")[2] for urn, _ in subject.stack_violations(BUCKETS)} == {"a", "b", "c"}


def test_each_message_is_decoded_once() -> None:
    subject, message = evaluator(), pod()
    subject.add(message)
    first = subject._analyzed[message.urn]
    subject.add(message)
    assert subject._analyzed[message.urn] is first
    assert first.resources is first.resources
    subject.add(pod())
    assert subject._analyzed[message.urn] is not first


def test_submessage_keeps_its_identity_while_referenced() -> None:
    """`Evaluator.add` relies on it."""
    message = pod()
    properties = message.properties
    assert message.properties is properties


def test_rules_for_a_type() -> None:
    assert POD in rules_for("kubernetes:apps/v1:Deployment")
    assert POD in rules_for("kubernetes:deepseek.ai/v1:InferenceJob"), "the controller creates a Deployment for it"
    assert POD not in rules_for("kubernetes:core/v1:ConfigMap")
    assert POD not in rules_for("aws:s3/bucket:Bucket")
    assert find("aws-resources-tagged") in rules_for("aws:s3/bucket:Bucket")
    assert BUCKETS not in rules_for("aws:s3/bucket:Bucket"), "it checks the stack as a whole"
    assert rules_for("kubernetes:core/v1:Pod")
    assert not rules_for("kubernetes:apiextensions.k8s.io/v1:CustomResourceDefinition")


def test_plain_values_have_whole_numbers_and_unknowns_at_any_depth() -> None:
    message = struct_pb2.Struct()
    message.update(
        {
            "replicas": 3,
            "ratio": 0.5,
            "names": ["a", UNKNOWN_STRING],
            "nested": {"token": {SIGNATURE: SECRET, "value": "hidden"}, "on": True},
        }
    )
    plain = to_plain(message)
    assert (repr(plain["replicas"]), plain["ratio"]) == ("3", 0.5)
    assert plain["names"][0] == "a"
    assert plain["names"][1] is UNKNOWN
    assert plain["nested"] == {"token": "hidden", "on": True}
