"""The CustomResourceDefinitions, generated from the models."""

from __future__ import annotations

from typing import Any

from inferstack.api import autoscale, constants, job, resources
from inferstack.api.schema import structural

_RULES = {**autoscale.RULES, **job.RULES, **resources.RULES}
_MAP_KEYS = {
    ".spec.env": ("name",),
    ".spec.autoscale.metrics": ("type",),
    ".status.conditions": ("type",),
}
_COLUMNS = (
    {
        "name": "Ready",
        "type": "string",
        "jsonPath": ".status.ready",
        "description": "Replicas that serve, of those wanted",
    },
    {"name": "GPUs", "type": "integer", "jsonPath": ".status.gpus", "description": "GPUs or MIG slices together"},
    {"name": "Profile", "type": "string", "jsonPath": ".status.profile", "description": "MIG profile, or whole"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {"name": "Model", "type": "string", "jsonPath": ".spec.model", "priority": 1},
    {"name": "Runtime", "type": "string", "jsonPath": ".status.runtime", "priority": 1},
    {
        "name": "Reason",
        "type": "string",
        "jsonPath": '.status.conditions[?(@.type=="Ready")].reason',
        "description": "Why the job is ready or not",
        "priority": 1,
    },
)


def crds() -> list[dict[str, Any]]:
    """Return all CustomResourceDefinitions of the project as manifests."""
    return [_inference_job()]


def _inference_job() -> dict[str, Any]:
    schema = structural(job.InferenceJob, _RULES, _MAP_KEYS)
    properties = schema["properties"]
    # The API server has these three itself and takes no restrictions on them in a schema.
    properties["apiVersion"] = {"type": "string", "description": properties["apiVersion"]["description"]}
    properties["kind"] = {"type": "string", "description": properties["kind"]["description"]}
    properties["metadata"] = {"type": "object"}
    schema["required"] = ["spec"]
    version = {
        "name": constants.VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "additionalPrinterColumns": [dict(column) for column in _COLUMNS],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{constants.PLURAL}.{constants.GROUP}",
            "labels": {"app.kubernetes.io/part-of": "inferstack"},
        },
        "spec": {
            "group": constants.GROUP,
            "names": {
                "kind": constants.KIND,
                "listKind": f"{constants.KIND}List",
                "plural": constants.PLURAL,
                "singular": constants.SINGULAR,
                "shortNames": ["ij"],
                "categories": ["gpu"],
            },
            "scope": "Namespaced",
            "versions": [version],
        },
    }
