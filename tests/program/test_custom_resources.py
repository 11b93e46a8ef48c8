"""Each custom resource of each stack, held against the vendor's own CRD: no field that it would drop or refuse."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from inferstack.project import project_root
from inferstack.toolchain.documents import crds_in
from tests.program.conftest import STACKS

if TYPE_CHECKING:
    from tests.program.conftest import Machine, Recording, Registered

REFERENCE = project_root().parent / "shared" / "reference" / "crds"
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
"""Held against its model elsewhere."""


@cache
def reference() -> dict[tuple[str, str, str], dict[str, Any]]:
    """Return the vendors' schemas by group, version and kind; strict: a field that is not named is refused."""
    found = {}
    for path in sorted(REFERENCE.glob("*/*.yaml")):
        for crd in crds_in(path.read_bytes()):
            spec = crd["spec"]
            for version in spec["versions"]:
                schema = version["schema"]["openAPIV3Schema"]
                for head in ("apiVersion", "kind", "metadata"):
                    schema.get("properties", {}).pop(head, None)
                found[spec["group"], version["name"], spec["names"]["kind"]] = strict(schema)
    return found


def strict(schema: Any) -> Any:
    """Return a structural schema as one that refuses what the API server would silently drop."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    made = {key: strict(value) for key, value in schema.items() if key != "properties"}
    if "properties" in schema:
        made["properties"] = {name: strict(below) for name, below in schema["properties"].items()}
    free = schema.get("x-kubernetes-preserve-unknown-fields") or "additionalProperties" in schema
    if schema.get("type") == "object" and not free:
        made["additionalProperties"] = False
    if schema.get("nullable") and isinstance(schema.get("type"), str):
        made["type"] = [schema["type"], "null"]
    return made


def custom(recording: Recording) -> Iterator[Registered]:
    """Yield the objects of kinds that no Kubernetes has by itself."""
    for one in recording.objects():
        group = one.inputs.get("apiVersion", "").rpartition("/")[0]
        if group and group not in BUILT_IN | OWN and not one.read:
            yield one


@pytest.fixture(scope="module", params=STACKS)
def recording(request: pytest.FixtureRequest, machine: Machine) -> Recording:
    """Each stack that ships."""
    return machine.run(request.param)


def test_each_custom_resource_is_what_its_vendor_takes(recording: Recording) -> None:
    if not REFERENCE.is_dir():
        pytest.skip("the vendors' CRDs are not beside this checkout")
    wrong, checked = [], 0
    for one in custom(recording):
        group, _, version = one.inputs["apiVersion"].partition("/")
        schema = reference().get((group, version, one.inputs["kind"]))
        assert schema, f"{one.urn}: there is no {one.inputs['kind']} in {one.inputs['apiVersion']}"
        partial = one.type.endswith("Patch")  # a part of an object: what is required is somebody else's
        manifest = {key: value for key, value in one.inputs.items() if key not in ("apiVersion", "kind", "metadata")}
        wrong += [
            f"{one.urn.rpartition('::')[2]}: {error.json_path}: {error.message[:200]}"
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
