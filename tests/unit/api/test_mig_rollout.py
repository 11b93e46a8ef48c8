"""MigRollout: what the model refuses, and its CustomResourceDefinition."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from inferstack.api import MigRollout, MigRolloutSpec, Phase, Step, constants, crds, mig_rollout
from inferstack.apimachinery.objects import Object
from tests.unit.api.test_crd import nodes as walk

CRD = crds()[1]
(VERSION,) = CRD["spec"]["versions"]
NODES = dict(walk(VERSION["schema"]["openAPIV3Schema"]))
GOOD: Object = {
    "apiVersion": "deepseek.ai/v1",
    "kind": "MigRollout",
    "metadata": {"name": "good"},
    "spec": {
        "nodes": [{"name": "n-1", "layout": "all-1g.5gb"}],
        "windows": [{"days": ["Sat"], "start": "22:00", "durationMinutes": 60}],
    },
}
WINDOW = GOOD["spec"]["windows"][0]

MALFORMED: list[tuple[Object, str]] = [
    ({"nodes": []}, "nodes"),
    ({"nodes": None}, "nodes"),
    ({"nodes": [{"name": "n-1"}]}, "nodes.0.layout"),
    ({"nodes": [{"name": "N_1", "layout": "x"}]}, "nodes.0.name"),
    ({"nodes": [{"name": "n", "layout": "a b"}]}, "nodes.0.layout"),
    ({"nodes": [{"name": "n", "layout": "x" * 64}]}, "nodes.0.layout"),
    ({"nodes": [{"name": "n", "layout": "x", "force": True}]}, "nodes.0.force"),
    ({"nodes": [{"name": "n", "layout": "x"}, {"name": "n", "layout": "y"}]}, "nodes"),
    ({"nodes": [{"name": f"n{i}", "layout": "x"} for i in range(1001)]}, "nodes"),
    ({"maxUnavailableNodes": 0}, "maxUnavailableNodes"),
    ({"maxUnavailableNodes": "1"}, "maxUnavailableNodes"),
    ({"maxFailedNodes": -1}, "maxFailedNodes"),
    ({"drainTimeoutSeconds": 0}, "drainTimeoutSeconds"),
    ({"stateTimeoutSeconds": 86_401}, "stateTimeoutSeconds"),
    ({"paused": "yes"}, "paused"),
    ({"windows": [{**WINDOW, "days": []}]}, "windows.0.days"),
    ({"windows": [{**WINDOW, "days": ["Someday"]}]}, "windows.0.days.0"),
    ({"windows": [{**WINDOW, "start": "24:00"}]}, "windows.0.start"),
    ({"windows": [{**WINDOW, "start": "9:00"}]}, "windows.0.start"),
    ({"windows": [{**WINDOW, "durationMinutes": 1441}]}, "windows.0.durationMinutes"),
    ({"windows": [WINDOW] * 15}, "windows"),
    ({"maxSurge": 1}, "maxSurge"),
]


def test_a_good_one_and_its_defaults() -> None:
    spec = MigRollout.model_validate(GOOD).spec
    assert (spec.max_unavailable_nodes, spec.max_failed_nodes, spec.paused, spec.aborted) == (1, 0, False, False)
    assert (spec.drain_timeout_seconds, spec.state_timeout_seconds) == (900, 600)


@pytest.mark.parametrize(("patch", "field"), MALFORMED)
def test_what_is_malformed_is_named(patch: Object, field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        MigRollout.model_validate({**GOOD, "spec": {**GOOD["spec"], **patch}})
    assert "spec." + field in {".".join(map(str, error["loc"])) for error in caught.value.errors()}


@pytest.mark.parametrize("name", ["Upper", "1st", "a.b", "a" * 64, None])
def test_an_invalid_name_is_rejected(name: str | None) -> None:
    with pytest.raises(ValidationError, match=r"metadata\n.*name: "):
        MigRollout.model_validate({**GOOD, "metadata": {"name": name}})


def test_the_definition() -> None:
    assert CRD["metadata"]["name"] == "migrollouts.deepseek.ai"
    assert CRD["spec"]["scope"] == "Cluster"
    assert CRD["spec"]["names"] == {
        "kind": constants.ROLLOUT_KIND,
        "listKind": "MigRolloutList",
        "plural": constants.ROLLOUT_PLURAL,
        "singular": "migrollout",
        "shortNames": ["mr"],
        "categories": ["gpu"],
    }
    assert VERSION["subresources"] == {"status": {}}
    shown = [column["name"] for column in VERSION["additionalPrinterColumns"] if not column.get("priority")]
    assert shown == ["Phase", "Done", "Node", "Age"]
    for column in VERSION["additionalPrinterColumns"]:
        assert column["jsonPath"] in NODES or column["jsonPath"].startswith(".metadata.")
    assert NODES[".status.phase"]["enum"] == [phase.value for phase in Phase]
    assert NODES[".status.nodes[].step"]["enum"] == [step.value for step in Step]
    keyed = {p: n["x-kubernetes-list-map-keys"] for p, n in NODES.items() if n.get("x-kubernetes-list-type") == "map"}
    assert keyed == {".spec.nodes": ["name"], ".status.conditions": ["type"], ".status.nodes": ["name"]}


def test_all_but_pausing_and_aborting_is_fixed() -> None:
    fields = {field.alias for field in MigRolloutSpec.model_fields.values()}
    ruled = {str(rule.field).removeprefix(".") for rule in mig_rollout.RULES[MigRolloutSpec]}
    assert fields - ruled == {"paused"}
    for path, model in (("", MigRollout), (".spec", MigRolloutSpec)):
        assert NODES[path]["x-kubernetes-validations"] == [rule.manifest() for rule in mig_rollout.RULES[model]]


def test_every_field_is_described_and_every_size_bounded() -> None:
    assert [
        p for p, n in NODES.items() if not p.endswith((".metadata", "[]", "[*]")) and not n.get("description")
    ] == []
    for path, node in NODES.items():
        if path.startswith(".spec"):
            assert node["type"] != "string" or "maxLength" in node or "enum" in node, path
            assert node["type"] != "array" or "maxItems" in node, path
            assert node["type"] != "integer" or {"minimum", "maximum"} <= node.keys(), path
