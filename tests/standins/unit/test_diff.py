"""What changes, what is replaced, what is left alone."""

from __future__ import annotations

from typing import Any

import pytest

from inferstack.engine.properties import UNKNOWN
from standins.kubernetes.diff import Change, compare, force_new, parse, render
from standins.kubernetes.tokens import Gvk

IDENTITY = ("metadata.name", "metadata.namespace")


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ({"a": 1}, {"a": 1}, {}),
        ({"a": 1}, {"a": 1.0}, {}),
        ({"a": 1}, {"a": True}, {"a": "update"}),
        ({"a": "1"}, {"a": 1}, {"a": "update"}),
        ({"a": {"b": 1}}, {"a": {"c": 1}}, {"a.b": "delete", "a.c": "add"}),
        ({"a": [1, 2]}, {"a": [1, 3, 4]}, {"a[1]": "update", "a[2]": "add"}),
        ({"a": [1, 2]}, {"a": [1]}, {"a[1]": "delete"}),
        ({"a": {"x/y.z": "1"}}, {"a": {"x/y.z": "2"}}, {'a["x/y.z"]': "update"}),
        ({"a": None}, {}, {}),
        ({}, {"a": {}}, {"a": "add"}),
        ({"a": 1}, {"a": UNKNOWN}, {"a": "update"}),
        ({"a": {"b": 1}}, {"a": "text"}, {"a": "update"}),
    ],
)
def test_changes_are_listed_by_path(old: dict[str, Any], new: dict[str, Any], changes: dict[str, str]) -> None:
    assert {path: change.kind for path, change in compare(old, new, ()).changes.items()} == changes


def test_replacement_deletes_first_only_with_the_same_name() -> None:
    named = {"metadata": {"name": "n", "namespace": "s"}, "data": {"a": "1"}}
    changed = {**named, "data": {"a": "2"}}
    changes = compare(named, changed, (*IDENTITY, "data"))
    assert changes.changes == {"data.a": Change("update", replace=True)}
    assert changes.delete_first
    assert compare(named, named, IDENTITY).delete_first
    moved = {"metadata": {"name": "n", "namespace": "t"}, "data": {"a": "1"}}
    assert not compare(named, moved, IDENTITY).delete_first
    auto = {"metadata": {"name": "n-1", "annotations": {"pulumi.com/autonamed": "true"}}, "data": {"a": "1"}}
    assert not compare(auto, {**auto, "data": {"a": "2"}}, (*IDENTITY, "data")).delete_first


def test_change_above_or_below_a_force_new_field_replaces() -> None:
    force_new_fields = ("spec.selector", "spec.containers[*].image")
    old = {"spec": {"selector": {"matchLabels": {"a": "1"}}, "containers": [{"image": "x", "name": "n"}]}}
    inside = {"spec": {"selector": {"matchLabels": {"a": "2"}}, "containers": [{"image": "x", "name": "m"}]}}
    assert compare(old, inside, force_new_fields).replaces == ["spec.selector.matchLabels.a"]
    assert compare(
        old, {"spec": {**old["spec"], "containers": [{"image": "y", "name": "n"}]}}, force_new_fields
    ).replaces == ["spec.containers[0].image"]
    assert compare({}, old, force_new_fields).replaces == ["spec"]


def test_ignored_paths_are_not_compared() -> None:
    old = {"spec": {"replicas": 1, "containers": [{"image": "x"}, {"image": "y"}]}}
    new = {"spec": {"replicas": 2, "containers": [{"image": "z"}, {"image": "z"}]}}
    assert set(compare(old, new, (), ("spec.replicas",)).changes) == {
        "spec.containers[0].image",
        "spec.containers[1].image",
    }
    assert set(compare(old, new, (), ("spec.containers[*].image",)).changes) == {"spec.replicas"}
    assert not compare(old, new, (), ("spec",)).changes


@pytest.mark.parametrize("text", ["a.b[0].c", 'a["x.y/z"].b', "a", "a[10][1]", 'a["q\\"q"]', "a[*].b"])
def test_paths_round_trip(text: str) -> None:
    assert render(parse(text)) == text.replace("[*]", ".*") if "*" in text else text


def test_config_maps_and_secrets_are_replaced_unless_mutable() -> None:
    config, secret = Gvk("", "v1", "ConfigMap"), Gvk("", "v1", "Secret")
    strict = {"config_map_mutable": False, "secret_mutable": False}
    lenient = {"config_map_mutable": True, "secret_mutable": True}
    assert "data" in force_new(config, {}, **strict)
    assert "data" not in force_new(config, {}, **lenient)
    assert "data" in force_new(config, {"immutable": True}, **lenient)
    assert "stringData" in force_new(secret, {}, **strict)
    assert force_new(secret, {}, **lenient) == (*IDENTITY, "type")
    assert force_new(Gvk("example.com", "v1", "Thing"), {}, **strict) == IDENTITY
