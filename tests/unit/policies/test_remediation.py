"""Labels and tags that a remediation adds."""

from __future__ import annotations

from typing import Any

import pytest
from google.protobuf import json_format, struct_pb2

from inferstack.policy.registry import find
from inferstack.state.checks import SECRET, SIGNATURE
from policies.remediation import remediate

TAGGED = find("aws-resources-tagged")
UNKNOWN = "dd056dcd-154b-4c76-9bd3-c8f88648b5ff"
ASSET = {SIGNATURE: "c44067f5952c0a294b673a41bacd8c17", "path": "model.bin"}
CONFIG = {"required": {"team": "nlp", "value-not-set": ""}}


def struct(values: dict[str, Any]) -> struct_pb2.Struct:
    message = struct_pb2.Struct()
    message.update(values)
    return message


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({}, {"tags": {"team": "nlp"}}),
        ({"tags": {"owner": "x"}}, {"tags": {"owner": "x", "team": "nlp"}}),
        ({"tags": {"team": ""}}, {"tags": {"team": "nlp"}}),
        ({"tags": {"team": None}}, {"tags": {"team": "nlp"}}),
    ],
)
def test_missing_tag_is_added(properties: Any, expected: Any) -> None:
    message = struct(properties)
    assert remediate(TAGGED, message, CONFIG)
    assert json_format.MessageToDict(message) == expected


@pytest.mark.parametrize("tags", [{"team": "other"}, {"team": UNKNOWN}, UNKNOWN])
def test_existing_or_unknown_tag_is_left_alone(tags: Any) -> None:
    message = struct({"tags": tags})
    assert not remediate(TAGGED, message, CONFIG)
    assert json_format.MessageToDict(message) == {"tags": tags}


def test_labels_are_added_to_the_metadata() -> None:
    message = struct({"metadata": {"name": "x"}})
    rule = TAGGED.model_copy(update={"remedy": "labels"})
    assert remediate(rule, message, {"required": {"a": "b"}})
    assert json_format.MessageToDict(message) == {"metadata": {"name": "x", "labels": {"a": "b"}}}


def test_secrets_assets_and_unknown_values_keep_their_marks() -> None:
    secret = {SIGNATURE: SECRET, "value": "hidden"}
    message = struct({"token": secret, "body": ASSET, "later": UNKNOWN, "tags": {"owner": secret}})
    assert remediate(TAGGED, message, CONFIG)
    assert json_format.MessageToDict(message) == {
        "token": secret,
        "body": ASSET,
        "later": UNKNOWN,
        "tags": {"owner": secret, "team": "nlp"},
    }


def test_secret_mapping_stays_secret() -> None:
    message = struct({"tags": {SIGNATURE: SECRET, "value": {"owner": "x"}}})
    assert remediate(TAGGED, message, CONFIG)
    assert json_format.MessageToDict(message) == {
        "tags": {SIGNATURE: SECRET, "value": {"owner": "x", "team": "nlp"}},
    }
