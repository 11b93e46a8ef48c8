"""The rehearsal's kinds of Fluid are a part of the real ones: held against the chart's CRDs where they can be had."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from components.addon.catalogue import load
from components.addon.plan import rehearsed_crds
from tests import reference

OURS = rehearsed_crds("fluid", load()["fluid"])
BOUNDS = {
    *("required", "enum", "pattern", "default", "format", "x-kubernetes-map-type"),
    *("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems"),
}
"""What narrows a schema: where the real one has it, ours must have the same."""

Schema = dict[str, Any]


def differences(rehearsed: Schema, real: Schema, path: str) -> Iterator[str]:
    for key in sorted(BOUNDS | (rehearsed.keys() - {"properties", "items", "additionalProperties"})):
        if rehearsed.get(key) != real.get(key):
            yield f"{path}: {key} is {rehearsed.get(key)}, in the real kind {real.get(key)}"
    for name, below in rehearsed.get("properties", {}).items():
        if name in real.get("properties", {}):
            yield from differences(below, real["properties"][name], f"{path}.{name}")
        else:
            yield f"{path}.{name}: the real kind has no such field"
    for key in ("items", "additionalProperties"):
        if key in rehearsed:
            yield from differences(rehearsed[key], real.get(key, {}), f"{path}[]")


@pytest.mark.reference
@pytest.mark.parametrize("rehearsed", OURS, ids=lambda crd: crd["spec"]["names"]["kind"])
def test_a_rehearsed_kind_is_a_part_of_the_real_one(rehearsed: Schema) -> None:
    real = reference.crds("fluid")[rehearsed["metadata"]["name"]]
    for key in ("group", "names", "scope"):
        assert rehearsed["spec"][key] == real["spec"][key]
    rehearsed_version, real_version = rehearsed["spec"]["versions"][0], real["spec"]["versions"][0]
    assert (rehearsed_version["name"], rehearsed_version["subresources"]) == (
        real_version["name"],
        real_version["subresources"],
    )
    deviations = differences(
        rehearsed_version["schema"]["openAPIV3Schema"], real_version["schema"]["openAPIV3Schema"], ""
    )
    assert list(deviations) == []


def test_a_kind_that_is_no_part_of_the_real_one_is_noticed() -> None:
    real = {"type": "object", "required": ["a"], "properties": {"a": {"type": "string", "enum": ["x"]}}}
    rehearsed = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "string"}}}
    assert [line.split(":")[0] for line in differences(rehearsed, real, "")] == ["", ".a", ".a", ".b"]


def test_the_kinds_are_those_by_which_a_present_fluid_is_known() -> None:
    assert {crd["metadata"]["name"] for crd in OURS} == set(load()["fluid"].crds)
