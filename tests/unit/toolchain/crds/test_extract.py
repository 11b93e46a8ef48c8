"""What is kept of a CRD."""

from __future__ import annotations

from typing import Any

from inferstack.toolchain.crds.extract import slim
from inferstack.toolchain.documents import crds_in

CRD = b"""
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: notes.example.test
  creationTimestamp: null
  labels: {app: notes}
  annotations:
    api-approved.kubernetes.io: https://example.test/approved
    helm.sh/resource-policy: keep
spec:
  group: example.test
  names: {kind: Note, plural: notes}
  scope: Cluster
  versions:
    - name: v1
      served: true
      storage: true
      additionalPrinterColumns: [{name: Text, type: string, jsonPath: .text, description: A column.}]
      schema:
        openAPIV3Schema:
          description: A note.
          type: object
          properties:
            description:
              description: A field of that name.
              type: string
              default: description
              enum: [description, "on", =]
            lines:
              type: array
              items: {description: A line., type: string}
            marks:
              type: object
              additionalProperties: {description: A mark., type: string}
            open: {type: object, additionalProperties: true, default: {description: kept}}
            either:
              anyOf: [{description: One., type: integer}, {type: string, description: Other.}]
              x-kubernetes-validations: [{rule: "true", message: Kept., description: kept}]
status: {storedVersions: []}
"""


def crd() -> dict[str, Any]:
    (document,) = crds_in(CRD)
    return document


def test_status_and_notes_of_generators_go_and_labels_and_the_approval_stay() -> None:
    slimmed = slim(crd(), described=True)
    assert list(slimmed) == ["apiVersion", "kind", "metadata", "spec"]
    assert slimmed["metadata"] == {
        "name": "notes.example.test",
        "labels": {"app": "notes"},
        "annotations": {"api-approved.kubernetes.io": "https://example.test/approved"},
    }
    assert slimmed["spec"] == crd()["spec"]


def test_descriptions_of_schemas_go_and_fields_of_that_name_stay() -> None:
    (version,) = slim(crd(), described=False)["spec"]["versions"]
    assert version["schema"]["openAPIV3Schema"] == {
        "type": "object",
        "properties": {
            "description": {"type": "string", "default": "description", "enum": ["description", "on", "="]},
            "lines": {"type": "array", "items": {"type": "string"}},
            "marks": {"type": "object", "additionalProperties": {"type": "string"}},
            "open": {"type": "object", "additionalProperties": True, "default": {"description": "kept"}},
            "either": {
                "anyOf": [{"type": "integer"}, {"type": "string"}],
                "x-kubernetes-validations": [{"rule": "true", "message": "Kept.", "description": "kept"}],
            },
        },
    }
    assert version["additionalPrinterColumns"][0]["description"] == "A column."


def test_version_without_a_schema_and_metadata_without_notes_are_taken_as_they_are() -> None:
    plain = crd()
    plain["metadata"] = {"name": "notes.example.test", "labels": None, "annotations": None}
    del plain["spec"]["versions"][0]["schema"]
    slimmed = slim(plain, described=False)
    assert slimmed["metadata"] == {"name": "notes.example.test"}
    assert slimmed["spec"] == plain["spec"]
