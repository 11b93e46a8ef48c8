"""Settings and resources as the engine gives them to the pack."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from pulumi.runtime import proto
from pulumi_policy import proxy

from inferstack.errors import UserError
from inferstack.policy.model import Level
from inferstack.policy.registry import find, rules
from policies.gate import Gate, may_concern

TODAY = dt.date(2026, 11, 25)
POD = find("pods-not-privileged")
BUCKETS = find("aws-bucket-versioned")
Object = dict[str, Any]


def gate(stack: str = "prod", **settings: Object) -> Gate:
    made = Gate(TODAY)
    given = {"tenancy": {"tenants": {"nlp": {"gpus": 8}}}, **settings}
    made.configure(stack, {f"inferstack:{role}": json.dumps(value) for role, value in given.items()})
    return made


def request(token: str, name: str, properties: Object, kind: type = proto.AnalyzeRequest) -> Any:
    made = kind(urn=f"urn:pulumi:prod::inferstack::{token}::{name}", type=token, name=name)
    made.properties.update(properties)
    return made


def pod(name: str = "server", *, privileged: Any = True) -> Any:
    container = {"name": "server", "image": "server", "securityContext": {"privileged": privileged}}
    metadata = {"name": name, "namespace": "nlp"}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}
    return request("kubernetes:core/v1:Pod", name, manifest)


def told(held: Gate, asked: Any) -> list[str]:
    held.note(asked)
    return held.judge_resource(POD, held.of(asked.urn))


def leave(expires: str) -> Object:
    reason = "its profiler reads the counters of the CPU"
    return {"rule": POD.id, "resource": "Pod nlp/*", "owner": "nlp", "reason": reason, "expires": expires}


def test_a_stack_that_says_nothing_has_the_defaults() -> None:
    held = Gate(TODAY)
    assert {held.settings.level(rule) for rule in rules().values()} == {Level.MANDATORY}
    assert held.stack.tenants == frozenset()


def test_settings_and_tenants_are_those_of_the_program() -> None:
    held = gate("dev", security={"policies": {"enforcement": "advisory", "levels": {POD.id: "disabled"}}})
    assert (held.settings.level(POD), held.settings.level(BUCKETS)) == (Level.DISABLED, Level.ADVISORY)
    assert (held.stack.name, held.stack.tenants) == ("dev", frozenset({"nlp"}))
    assert held.stack.settings["tenancy"] == {"tenants": {"nlp": {"gpus": 8}}}


def test_a_wrong_setting_is_told_by_its_key() -> None:
    with pytest.raises(UserError, match=r"inferstack:security\.policies\.enforcement"):
        gate(security={"policies": {"enforcement": "sometimes"}})


def test_what_a_resource_does_wrong_is_told_with_its_label() -> None:
    (said,) = told(gate(), pod())
    assert said == f"Pod nlp/server: server: {POD.fix}"
    assert told(gate(), pod(privileged=False)) == []


def test_what_a_preview_cannot_know_is_no_finding_and_the_update_decides() -> None:
    held = gate()
    assert told(held, pod(privileged=proxy.UNKNOWN_BOOLEAN_VALUE)) == []
    assert len(told(held, pod(privileged=True))) == 1


def test_an_exception_holds_until_its_day_and_is_named_after_it() -> None:
    assert told(gate(security={"policies": {"exceptions": [leave("2026-11-25")]}}), pod()) == []
    (said,) = told(gate(security={"policies": {"exceptions": [leave("2026-11-24")]}}), pod())
    assert said.endswith(" Its exception ended on 2026-11-24, owner nlp.")


def test_the_engine_may_put_another_configuration_in_place() -> None:
    held = gate(security={"policies": {"config": {"autoscalers-are-bounded": {"maxReplicas": 10}}}})
    rule = find("autoscalers-are-bounded")
    assert held.settings.config_of(rule)["maxReplicas"] == 10
    held.set_config({rule.id: {"maxReplicas": 20}})
    assert held.settings.config_of(rule)["maxReplicas"] == 20


def test_a_stack_is_judged_by_what_was_registered_and_in_that_order() -> None:
    held = gate()
    names = ["b", "a"]
    for name in names:
        held.note(request("aws:s3/bucket:Bucket", name, {"bucket": name}))
    made = [request("aws:s3/bucket:Bucket", name, {"bucket": "made"}, proto.AnalyzerResource) for name in "abc"]
    held.see_stack(made)
    assert [(one.name, one.properties["bucket"]) for one in held.stack.resources] == [
        ("b", "b"),
        ("a", "a"),
        ("c", "made"),
    ]
    assert {urn.rpartition("::")[2] for urn, _ in held.judge_stack(BUCKETS)} == {"a", "b", "c"}


def test_a_resource_is_decoded_once_for_a_message() -> None:
    held, asked = gate(), pod()
    held.note(asked)
    first = held.of(asked.urn)
    held.note(asked)
    assert held.of(asked.urn) is first
    held.note(pod())
    assert held.of(asked.urn) is not first


def test_rules_are_asked_only_of_what_they_look_at() -> None:
    assert may_concern(POD, "kubernetes:apps/v1:Deployment")
    assert may_concern(POD, "kubernetes:deepseek.ai/v1:InferenceJob"), "the operator makes a Deployment of it"
    assert not may_concern(POD, "kubernetes:core/v1:ConfigMap")
    assert not may_concern(POD, "aws:s3/bucket:Bucket")
    assert may_concern(find("aws-resources-tagged"), "aws:s3/bucket:Bucket")
