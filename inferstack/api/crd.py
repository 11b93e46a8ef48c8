"""The CustomResourceDefinitions, generated from the models."""

from __future__ import annotations

from typing import Any

from inferstack.api import autoscale, constants, job, mig_rollout, resources
from inferstack.api.base import ApiModel
from inferstack.api.schema import structural
from inferstack.apimachinery.labels import PART_OF, PLATFORM

_RULES = {**autoscale.RULES, **job.RULES, **resources.RULES, **mig_rollout.RULES}
_MAP_KEYS = {
    ".spec.env": ("name",),
    ".spec.autoscale.metrics": ("type",),
    ".spec.nodes": ("name",),
    ".status.conditions": ("type",),
    ".status.nodes": ("name",),
}
_COLUMNS = (
    {
        "name": "Ready",
        "type": "string",
        "jsonPath": ".status.ready",
        "description": "Ready replicas of desired replicas",
    },
    {"name": "GPUs", "type": "integer", "jsonPath": ".status.gpus", "description": "Total GPUs or MIG slices"},
    {"name": "Profile", "type": "string", "jsonPath": ".status.profile", "description": "MIG profile, or whole"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {"name": "Model", "type": "string", "jsonPath": ".spec.model", "priority": 1},
    {"name": "Runtime", "type": "string", "jsonPath": ".status.runtime", "priority": 1},
    {
        "name": "Reason",
        "type": "string",
        "jsonPath": '.status.conditions[?(@.type=="Ready")].reason',
        "description": "Reason of the Ready condition",
        "priority": 1,
    },
)
_ROLLOUT_COLUMNS = (
    {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
    {"name": "Done", "type": "string", "jsonPath": ".status.done", "description": "Nodes with their new layout"},
    {"name": "Node", "type": "string", "jsonPath": ".status.current", "description": "Nodes in progress"},
    {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    {"name": "Failed", "type": "integer", "jsonPath": ".status.failed", "priority": 1},
    {"name": "Message", "type": "string", "jsonPath": ".status.message", "priority": 1},
)


def crds() -> list[dict[str, Any]]:
    """Return all CustomResourceDefinitions of the project as manifests."""
    return [_inference_job(), _mig_rollout()]


def _inference_job() -> dict[str, Any]:
    scale = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    names = {"kind": constants.KIND, "plural": constants.PLURAL, "shortNames": ["ij"]}
    return _crd(job.InferenceJob, names, scope="Namespaced", columns=_COLUMNS, subresources={"scale": scale})


def _mig_rollout() -> dict[str, Any]:
    names = {"kind": constants.ROLLOUT_KIND, "plural": constants.ROLLOUT_PLURAL, "shortNames": ["mr"]}
    return _crd(mig_rollout.MigRollout, names, scope="Cluster", columns=_ROLLOUT_COLUMNS, subresources={})


def _crd(
    model: type[ApiModel],
    names: dict[str, Any],
    *,
    scope: str,
    columns: tuple[dict[str, Any], ...],
    subresources: dict[str, Any],
) -> dict[str, Any]:
    schema = structural(model, _RULES, _MAP_KEYS)
    properties = schema["properties"]
    # The API server defines these three and accepts no restrictions on them in a schema.
    properties["apiVersion"] = {"type": "string", "description": properties["apiVersion"]["description"]}
    properties["kind"] = {"type": "string", "description": properties["kind"]["description"]}
    properties["metadata"] = {"type": "object"}
    schema["required"] = ["spec"]
    version = {
        "name": constants.VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}, **subresources},
        "additionalPrinterColumns": [dict(column) for column in columns],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{names['plural']}.{constants.GROUP}",
            "labels": {PART_OF: PLATFORM},
        },
        "spec": {
            "group": constants.GROUP,
            "names": {
                **names,
                "listKind": f"{names['kind']}List",
                "singular": str(names["kind"]).lower(),
                "categories": ["gpu"],
            },
            "scope": scope,
            "versions": [version],
        },
    }
