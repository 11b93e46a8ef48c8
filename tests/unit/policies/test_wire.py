"""Decoding once for all policies, and what of the SDK that rests on."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from typing import Any

import pytest
from google.protobuf import struct_pb2
from pulumi.runtime import proto
from pulumi_policy import deserialize, policy, proxy

from inferstack.policy.resource import UNKNOWN
from inferstack.project import project_root
from policies import wire

SECRET = {deserialize.SPECIAL_SIG_KEY: deserialize.SPECIAL_SECRET_SIG, "value": "hidden"}


def struct(**values: Any) -> struct_pb2.Struct:
    made = struct_pb2.Struct()
    made.update(values)
    return made


def test_plain_values_are_json_with_whole_numbers_and_unknowns_at_any_depth() -> None:
    unknown = proxy.UNKNOWN_STRING_VALUE
    found = wire.Properties(
        struct(replicas=3, ratio=0.5, names=["a", unknown], below={"token": SECRET, "on": True})
    ).plain

    assert (repr(found["replicas"]), found["ratio"]) == ("3", 0.5)
    assert found["names"][0] == "a"
    assert found["names"][1] is UNKNOWN
    assert found["below"] == {"token": "hidden", "on": True}


def test_what_is_changed_keeps_its_marks() -> None:
    marked = wire.Properties(struct(token=SECRET, later=proxy.UNKNOWN_STRING_VALUE, tags={"team": "nlp"})).marked()
    marked["tags"]["cost-center"] = "platform"

    assert deserialize.serialize_properties(marked) == {
        "token": SECRET,
        "later": proxy.UNKNOWN_STRING_VALUE,
        "tags": {"team": "nlp", "cost-center": "platform"},
    }


def test_a_message_is_the_same_object_as_long_as_it_is_kept() -> None:
    request = proto.AnalyzeRequest()
    request.properties.update({"a": 1})
    kept = request.properties
    assert request.properties is kept


@pytest.mark.parametrize("name", list(wire.OURS))
def test_the_sdk_has_and_uses_what_is_replaced(name: str) -> None:
    assert hasattr(policy, name)
    used = [node.id for node in ast.walk(ast.parse(inspect.getsource(policy))) if isinstance(node, ast.Name)]
    assert used.count(name) >= 3, "in Analyze, AnalyzeStack and for providers"


def test_the_sdk_decodes_in_no_other_way() -> None:
    tree = ast.parse(inspect.getsource(policy))
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "json_format"
    }
    assert used == {"MessageToDict"}
    assert isinstance(policy._PolicyAnalyzerServicer, type)
    assert {"_get_policy_config", "_get_enforcement_level", "Configure", "ConfigureStack"} <= vars(
        policy._PolicyAnalyzerServicer
    ).keys()


def test_the_sdk_then_decodes_nothing() -> None:
    """In a process of its own: it stays installed."""
    script = (
        "from google.protobuf import struct_pb2; from policies import wire; from pulumi_policy import policy;"
        "wire.install(); message = struct_pb2.Struct();"
        "made = policy.unknown_checking_proxy("
        "policy.deserialize_properties(policy.json_format.MessageToDict(message), True));"
        "assert isinstance(made, wire.Properties) and made.message is message"
    )
    subprocess.run([sys.executable, "-c", script], cwd=project_root(), check=True)
