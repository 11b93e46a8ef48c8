"""The generated CustomResourceDefinition."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from inferstack.api import (
    ConditionType,
    InferenceJob,
    MetricType,
    RuntimeName,
    WhenCold,
    autoscale,
    constants,
    crds,
    job,
    resources,
)
from inferstack.api.base import ApiModel
from inferstack.apimachinery.objects import Object

CRD, ROLLOUT = crds()
(VERSION,) = CRD["spec"]["versions"]
SCHEMA: Object = VERSION["schema"]["openAPIV3Schema"]
RULES = {**autoscale.RULES, **job.RULES, **resources.RULES}


def nodes(schema: Object, path: str = "") -> Iterator[tuple[str, Object]]:
    """Yield each schema below one, itself first, with its path."""
    yield path, schema
    for name, child in schema.get("properties", {}).items():
        yield from nodes(child, f"{path}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{path}[]")
    if "additionalProperties" in schema:
        yield from nodes(schema["additionalProperties"], f"{path}[*]")


NODES = dict(nodes(SCHEMA))


def test_names() -> None:
    assert CRD["metadata"]["name"] == "inferencejobs.deepseek.ai"
    assert CRD["spec"]["group"] == "deepseek.ai"
    assert CRD["spec"]["scope"] == "Namespaced"
    assert CRD["spec"]["names"] == {
        "kind": "InferenceJob",
        "listKind": "InferenceJobList",
        "plural": "inferencejobs",
        "singular": "inferencejob",
        "shortNames": ["ij"],
        "categories": ["gpu"],
    }


def test_one_version_is_served_and_stored() -> None:
    assert (VERSION["name"], VERSION["served"], VERSION["storage"]) == ("v1", True, True)


def test_columns() -> None:
    shown = {column["name"]: column["jsonPath"] for column in VERSION["additionalPrinterColumns"]}
    assert list(shown)[:4] == ["Ready", "GPUs", "Profile", "Age"]
    assert [column["name"] for column in VERSION["additionalPrinterColumns"] if not column.get("priority")] == [
        "Ready", "GPUs", "Profile", "Age",
    ]  # fmt: skip
    for name, path in shown.items():
        if path.startswith(".metadata."):
            continue
        plain = re.sub(r"\[\?.*?\]", "[]", path)
        assert plain in NODES, f"column {name} shows {path}, which is not in the schema"


def test_subresources_point_into_the_schema() -> None:
    assert VERSION["subresources"]["status"] == {}
    scale = VERSION["subresources"]["scale"]
    assert scale == {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    assert set(scale.values()) <= NODES.keys()


def test_the_schema_is_structural() -> None:
    """What the API server asks of a structural schema, and what would make it forget or cost too much."""
    for path, node in NODES.items():
        assert not {"$ref", "title", "allOf", "oneOf", "not", "const", "$defs"} & node.keys(), path
        assert ("type" in node) != ("x-kubernetes-int-or-string" in node), path
        if "anyOf" in node:
            assert node["anyOf"] == [{"type": "integer"}, {"type": "string"}], path
        assert not ("properties" in node and "additionalProperties" in node), path
        assert set(node.get("required", [])) <= node.get("properties", {}).keys(), path
        assert "x-kubernetes-preserve-unknown-fields" not in node, path


def test_the_root_restricts_no_metadata() -> None:
    assert SCHEMA["properties"]["metadata"] == {"type": "object"}
    assert SCHEMA["required"] == ["spec"]


def test_every_size_is_bounded() -> None:
    """Rules over what has no bound cost too much, and a job must not fill etcd."""
    for path, node in NODES.items():
        if not path.startswith(".spec"):
            continue
        match node.get("type"):
            case "string":
                assert "maxLength" in node or "enum" in node, path
            case "array":
                assert "maxItems" in node, path
            case "integer":
                assert {"minimum", "maximum"} <= node.keys(), path
            case "object" if "additionalProperties" in node:
                assert "maxProperties" in node, path
            case None:
                assert {"minimum", "maximum", "maxLength", "pattern"} <= node.keys(), path


def test_every_field_is_described() -> None:
    below = (".metadata", "[]", "[*]")
    assert [path for path, node in NODES.items() if not path.endswith(below) and not node.get("description")] == []


def test_lists_that_are_keyed() -> None:
    keyed = {p: n["x-kubernetes-list-map-keys"] for p, n in NODES.items() if n.get("x-kubernetes-list-type") == "map"}
    assert keyed == {".spec.env": ["name"], ".spec.autoscale.metrics": ["type"], ".status.conditions": ["type"]}
    for path, keys in keyed.items():
        assert set(keys) <= set(NODES[path + "[]"]["required"]), path
    assert NODES[".spec.args"]["x-kubernetes-list-type"] == "atomic"


def test_enumerations_are_those_of_the_models() -> None:
    assert NODES[".spec.runtime"]["enum"] == [name.value for name in RuntimeName]
    assert NODES[".spec.autoscale.metrics[].type"]["enum"] == [kind.value for kind in MetricType]
    assert {kind.value for kind in ConditionType} == {"Ready", "Progressing", "Degraded", "CacheReady"}
    assert NODES[".spec.cache.whenCold"]["enum"] == [choice.value for choice in WhenCold]


def test_defaults_are_those_of_the_models() -> None:
    defaults = {path: node["default"] for path, node in NODES.items() if "default" in node}
    assert defaults == {
        ".spec.replicas": 1,
        ".spec.disruption": {"maxUnavailable": 1},
        ".spec.disruption.maxUnavailable": 1,
        ".spec.autoscale.minReplicas": 1,
        ".spec.autoscale.predictive.slo.confidencePercent": 95,
        ".spec.autoscale.predictive.slo.measure": "TimeToFirstToken",
        ".spec.autoscale.predictive.slo.percentile": 99,
        ".spec.autoscale.predictive.warmReplicas": 0,
        ".spec.cache.path": "/",
        ".spec.cache.whenCold": "Wait",
        ".spec.placement.prefer": "Spread",
        ".status.conditions[].message": "",
    }


RULED: list[tuple[str, type[ApiModel]]] = [
    ("", InferenceJob),
    (".spec", job.InferenceJobSpec),
    (".spec.resources", resources.Resources),
    (".spec.autoscale", autoscale.Autoscale),
    (".spec.autoscale.metrics[]", autoscale.Metric),
    (".spec.env[]", job.EnvVar),
]


def test_all_rules_arrive() -> None:
    assert {path for path, node in NODES.items() if "x-kubernetes-validations" in node} == {path for path, _ in RULED}
    for path, model in RULED:
        assert NODES[path]["x-kubernetes-validations"] == [rule.manifest() for rule in RULES[model]], path


@pytest.mark.parametrize(("path", "model"), RULED, ids=[model.__name__ for _, model in RULED])
def test_rules_name_a_field_and_say_it(path: str, model: type[ApiModel]) -> None:
    for rule in NODES[path]["x-kubernetes-validations"]:
        assert rule["reason"] == "FieldValueInvalid"
        head, _, text = rule["message"].partition(": ")
        assert text
        assert len(rule["message"]) < 2048  # more the API server does not take
        assert "\n" not in rule["message"] + rule["rule"]
        # metadata.name: the API server takes no fieldPath into metadata.
        assert rule.get("fieldPath") == (f".{head}" if path else None)
        assert f"{path}.{head}" in NODES or not path


def test_every_gpu_resource_is_in_the_rules() -> None:
    rules = " ".join(rule["rule"] for rule in NODES[".spec.resources"]["x-kubernetes-validations"])
    assert all(f"'{name}'" in rules for name in constants.GPU_RESOURCES)


def test_each_call_makes_a_crd_of_its_own() -> None:
    """Callers add to it, labels for instance."""
    first = crds()[0]
    first["spec"]["versions"][0]["additionalPrinterColumns"][0]["name"] = "Changed"
    first["metadata"]["labels"]["a"] = "b"
    assert crds()[0] == CRD
