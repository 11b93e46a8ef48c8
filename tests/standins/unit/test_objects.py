"""State, pruning, quantities, tokens and names."""

from __future__ import annotations

from typing import Any

import pytest

from inferstack.engine.properties import UNKNOWN, Secret
from standins.kubernetes import check, managed_fields, objects, tokens

URN = "urn:pulumi:stack::project::a:b:C$kubernetes:apps/v1:Deployment::my::name"


@pytest.mark.parametrize(
    ("left", "right"),
    [("1000m", "1"), ("1Gi", "1024Mi"), ("1e3", "1k"), ("0.5", "500m"), (2, "2"), ("1.0", 1), ("128974848", "123Mi")],
)
def test_equal_quantities(left: Any, right: Any) -> None:
    assert objects.quantity(left) == objects.quantity(right) is not None


@pytest.mark.parametrize("text", ["", "abc", "1.2.3", "Gi", "1 Gi", "--1", True, None, "1Kx"])
def test_invalid_quantities(text: Any) -> None:
    assert objects.quantity(text) is None


def test_live_object_is_pruned_to_the_inputs() -> None:
    inputs = {
        "spec": {
            "containers": [
                {"name": "b", "resources": {"requests": {"cpu": "1000m"}}, "env": []},
                {"name": "a", "image": "x"},
            ],
            "labels": {"v": "1000m"},
            "args": ["1", "2"],
            "gone": "yes",
        }
    }
    live = {
        "spec": {
            "containers": [
                {"name": "a", "image": "y", "terminationMessagePath": "/dev/x"},
                {"name": "injected"},
                {"name": "b", "resources": {"requests": {"cpu": "1"}}},
            ],
            "labels": {"v": "1", "theirs": "x"},
            "args": ["1", "2", "3"],
            "defaulted": True,
        },
        "status": {},
    }
    assert objects.prune(live, inputs) == {
        "spec": {
            "containers": [
                {"name": "b", "resources": {"requests": {"cpu": "1000m"}}, "env": []},
                {"name": "a", "image": "y"},
            ],
            "labels": {"v": "1"},  # no quantity: a label is compared as it stands
            "args": ["1", "2"],
        }
    }


def test_checkpoint_matches_that_of_the_vendor() -> None:
    inputs = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "s", "y": "p"}}
    marked = {**inputs, "data": {"x": Secret("s"), "y": "p"}}
    live = {**inputs, "metadata": {"name": "a", "uid": "u", "managedFields": [{}]}}
    state = objects.checkpoint(inputs, live, marked, "pulumi-kubernetes-1")
    assert state == {
        **marked,
        "metadata": {"name": "a", "uid": "u"},
        "__inputs": marked,
        "__initialApiVersion": "v1",
        "__fieldManager": "pulumi-kubernetes-1",
    }
    assert objects.inputs_of(state) == inputs
    assert objects.live_of(state)["data"] == {"x": "s", "y": "p"}


def test_secret_data_is_secret_everywhere() -> None:
    listed = objects.annotate_secrets({"kind": "Secret", "data": {"a": "x"}}, {})
    assert listed["data"] == Secret({"a": "x"})
    nested = objects.annotate_secrets(
        {"a": [{"b": 1}], "c": {"d": 1}}, {"a": [{"b": Secret(1)}], "c": {"d": Secret(1)}}
    )
    assert nested == {"a": Secret([{"b": 1}]), "c": {"d": Secret(1)}}


def test_tokens_of_kinds() -> None:
    assert tokens.type_of(URN) == "kubernetes:apps/v1:Deployment"
    assert tokens.name_of(URN) == "my::name"
    assert tokens.gvk_of_token("kubernetes:core/v1:Pod") == tokens.Gvk("", "v1", "Pod")
    assert str(tokens.gvk_of_token("kubernetes:batch/v1:Job")) == "batch/v1/Job"
    with pytest.raises(ValueError, match="kubernetes:Pod"):
        tokens.gvk_of_token("kubernetes:Pod")


@pytest.mark.parametrize(
    ("token", "kind", "patch"),
    [
        ("kubernetes:core/v1:ConfigMapPatch", "ConfigMap", True),
        ("kubernetes:core/v1:ConfigMap", "ConfigMap", False),
        ("kubernetes:example.com/v1:SuperPatch", "SuperPatch", False),
    ],
)
def test_patch_resources_differ_from_kinds_named_patch(token: str, kind: str, *, patch: bool) -> None:
    assert tokens.is_patch(f"urn:pulumi:s::p::{token}::n", kind) is patch


@pytest.mark.parametrize(
    ("gvk", "scope"),
    [
        (tokens.Gvk("", "v1", "Pod"), True),
        (tokens.Gvk("", "v1", "Node"), False),
        (tokens.Gvk("rbac.authorization.k8s.io", "v1", "ClusterRole"), False),
        (tokens.Gvk("example.com", "v1", "Thing"), None),
    ],
)
def test_scopes_of_built_in_kinds(gvk: tokens.Gvk, *, scope: bool | None) -> None:
    assert tokens.built_in_scope(gvk) is scope


def test_lists_of_built_in_kinds_only() -> None:
    assert tokens.is_list("urn:pulumi:s::p::kubernetes:core/v1:PodList::n")
    assert not tokens.is_list("urn:pulumi:s::p::kubernetes:example.com/v1:GuestList::n")


def test_names_come_from_the_seed_or_the_autonaming_proposal() -> None:
    urn = "urn:pulumi:s::p::kubernetes:core/v1:ConfigMap::settings"
    first = check.assign_name({}, {}, urn, b"seed", None)
    assert first == check.assign_name({}, {}, urn, b"seed", None)
    assert first != check.assign_name({}, {}, urn, b"other", None)
    assert check.assign_name({}, {}, urn, b"", "proposed")["metadata"]["name"] == "proposed"
    assert check.assign_name({}, first, urn, b"x", None)["metadata"] == first["metadata"]
    with pytest.raises(check.InputError, match="autonaming is disabled"):
        check.assign_name({}, {}, urn, b"", "")
    with pytest.raises(check.InputError, match="generateName"):
        check.assign_name({"metadata": {"generateName": "x"}}, {}, urn, b"", None)
    assert check.assign_name({"metadata": {"name": UNKNOWN}}, {}, urn, b"", None) == {"metadata": {"name": UNKNOWN}}


def test_update_takes_over_fields_of_the_creation() -> None:
    live = {
        "apiVersion": "v1",
        "metadata": {
            "managedFields": [
                {"manager": "pulumi-kubernetes", "operation": "Update", "fieldsV1": {"f:data": {"f:a": {}}}},
                {"manager": "mine", "operation": "Apply", "fieldsV1": {"f:data": {"f:b": {}}}},
                {"manager": "other", "operation": "Update", "fieldsV1": {"f:data": {"f:c": {}}}},
                {"manager": "kubectl", "operation": "Update", "subresource": "status", "fieldsV1": {"f:status": {}}},
            ]
        },
    }
    ours, *rest = managed_fields.upgrade_managed_fields(live, "mine") or []
    assert (ours["manager"], ours["operation"]) == ("mine", "Apply")
    assert ours["fieldsV1"] == {"f:data": {"f:a": {}, "f:b": {}}}
    assert [entry["manager"] for entry in rest] == ["other", "kubectl"]
    assert managed_fields.upgrade_managed_fields({"metadata": {"managedFields": rest[:1]}}, "mine") is None
    assert managed_fields.field_managers(live, ("data", "c")) == {"other"}
