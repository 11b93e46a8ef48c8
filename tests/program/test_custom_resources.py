"""Each custom resource of each stack fits its CRD: no field that the API server would drop or refuse.

The CRDs are those of the rehearsal: of the pinned Go modules, and our own parts of those of Fluid and the GPU operator.
With INFERSTACK_REFERENCE set, the vendors' CRDs too.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from components.addon.catalogue import load
from components.addon.plan import rehearsed_crds
from tests import reference
from tests.program.conftest import STACKS

if TYPE_CHECKING:
    from tests.program.conftest import Machine, Recording, Registered

BUILT_IN = {
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "apps",
    "autoscaling",
    "batch",
    "helm.sh",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
}
OWN = {"deepseek.ai"}
"""Checked against its model elsewhere."""


@cache
def schemas(source: str) -> dict[tuple[str, str, str], dict[str, Any]]:
    """Return the schemas by group, version and kind; strict: a field without a schema is refused.

    Args:
        source: ``rehearsal`` or ``vendors``.
    """
    if source == "vendors":
        crds = list(reference.all_crds().values())
    else:
        crds = [crd for name, facts in load().items() for crd in rehearsed_crds(name, facts)]
    strict_schemas = {}
    for crd in copy.deepcopy(crds):
        spec = crd["spec"]
        for version in spec["versions"]:
            schema = version["schema"]["openAPIV3Schema"]
            for head in ("apiVersion", "kind", "metadata"):
                schema.get("properties", {}).pop(head, None)
            strict_schemas[spec["group"], version["name"], spec["names"]["kind"]] = strict(schema)
    return strict_schemas


def strict(schema: Any) -> Any:
    """Return a structural schema as one that refuses what the API server would silently drop."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    result = {key: strict(value) for key, value in schema.items() if key != "properties"}
    if "properties" in schema:
        result["properties"] = {name: strict(below) for name, below in schema["properties"].items()}
    free = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if schema.get("type") == "object" and not free:
        result["additionalProperties"] = False
    if schema.get("nullable") and isinstance(schema.get("type"), str):
        result["type"] = [schema["type"], "null"]
    return result


def custom(recording: Recording) -> Iterator[Registered]:
    """Yield the objects of kinds that no Kubernetes has by itself."""
    for resource in recording.objects():
        group = resource.inputs.get("apiVersion", "").rpartition("/")[0]
        if group and group not in BUILT_IN | OWN and not resource.read:
            yield resource


@pytest.fixture(scope="module", params=STACKS)
def recording(request: pytest.FixtureRequest, machine: Machine) -> Recording:
    """Each stack that ships."""
    return machine.run(request.param)


@pytest.mark.parametrize("source", ["rehearsal", pytest.param("vendors", marks=pytest.mark.reference)])
def test_each_custom_resource_fits_its_crd(recording: Recording, source: str) -> None:
    wrong, checked = [], 0
    for resource in custom(recording):
        group, _, version = resource.inputs["apiVersion"].partition("/")
        schema = schemas(source).get((group, version, resource.inputs["kind"]))
        assert schema, f"{resource.urn}: there is no {resource.inputs['kind']} in {resource.inputs['apiVersion']}"
        partial = resource.type.endswith("Patch")  # a part of an object: what is required is somebody else's
        manifest = {
            key: value for key, value in resource.inputs.items() if key not in ("apiVersion", "kind", "metadata")
        }
        wrong += [
            f"{resource.urn.rpartition('::')[2]}: {error.json_path}: {error.message[:200]}"
            for error in jsonschema.Draft202012Validator(schema).iter_errors(manifest)
            if not (partial and error.validator == "required")
        ]
        checked += 1
    assert wrong == []
    assert checked


def test_the_strict_schema_finds_what_an_api_server_would_drop() -> None:
    schema = strict(
        {
            "type": "object",
            "required": ["a"],
            "properties": {
                "a": {"type": "object", "properties": {"n": {"type": "integer"}}},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            },
        }
    )
    held = jsonschema.Draft202012Validator(schema)
    assert held.is_valid({"a": {"n": 1}, "free": {"x": 1}})
    assert not held.is_valid({"a": {"m": 1}})
    assert not held.is_valid({"a": {"n": "1"}})
    assert not held.is_valid({})
