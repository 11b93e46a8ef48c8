"""The desired state of a node, and the patches from the current state to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from inferstack.apimachinery.objects import Object
from inferstack.apimachinery.quantity import parse_quantity
from inferstack.mig.gpu_operator import MIG_STATE, STRATEGY
from inferstack.mig.resources import MIG_PREFIX

# Label keys that the simulator owns: it removes those that are not desired. `nvidia.com/mig.config` and
# `nvidia.com/gpu.workload.config` belong to the user.
_OWN_PREFIXES = (
    "feature.node.kubernetes.io/",
    "nvidia.com/cuda.",
    "nvidia.com/gpu.",
    MIG_PREFIX,
    "nvidia.com/mps.",
)
_OWN_KEYS = frozenset({"nvidia.com/mig.capable", STRATEGY, MIG_STATE})
_USERS = frozenset({"nvidia.com/gpu.workload.config", "nvidia.com/gpu.deploy.operands"})


@dataclass(frozen=True)
class Condition:
    """A node condition without its times."""

    type: str
    status: str
    reason: str
    message: str


@dataclass(frozen=True)
class Desired:
    """The part of a node that one role writes."""

    labels: Mapping[str, str] = field(default_factory=dict)
    annotations: Mapping[str, str | None] = field(default_factory=dict)
    """None removes."""
    capacity: Mapping[str, str | None] = field(default_factory=dict)
    """Quantities by resource; None removes."""
    allocatable: Mapping[str, str | None] = field(default_factory=dict)
    conditions: tuple[Condition, ...] = ()

    def __or__(self, other: Desired) -> Desired:
        """Merge two roles, which do not write the same keys."""
        return Desired(
            labels={**self.labels, **other.labels},
            annotations={**self.annotations, **other.annotations},
            capacity={**self.capacity, **other.capacity},
            allocatable={**self.allocatable, **other.allocatable},
            conditions=self.conditions + other.conditions,
        )


def owns_label(key: str) -> bool:
    """Return whether a label is the simulator's to change and remove."""
    return key not in _USERS and (key in _OWN_KEYS or key.startswith(_OWN_PREFIXES))


def metadata_patch(node: Mapping[str, Any], desired: Desired) -> Object | None:
    """Return the merge patch for labels and annotations, or None where nothing differs."""
    meta = node["metadata"]
    labels = meta.get("labels") or {}
    annotations = meta.get("annotations") or {}
    new_labels: dict[str, str | None] = {k: v for k, v in desired.labels.items() if labels.get(k) != v}
    new_labels |= {key: None for key in labels if owns_label(key) and key not in desired.labels}
    new_annotations = {k: v for k, v in desired.annotations.items() if annotations.get(k) != v}
    patch = {"labels": new_labels, "annotations": new_annotations}
    changed = {key: value for key, value in patch.items() if value}
    # The uid keeps the patch from a node that was deleted and made again under the same name.
    return {"metadata": {"uid": meta["uid"], **changed}} if changed else None


def status_patch(node: Mapping[str, Any], desired: Desired, *, now: str) -> Object | None:
    """Return the strategic merge patch for the status subresource, or None where nothing differs.

    Args:
        node: as last seen.
        desired: all roles together.
        now: RFC 3339, for a condition that changes.
    """
    status = node.get("status") or {}
    patch: Object = {}
    for part, quantities in (("capacity", desired.capacity), ("allocatable", desired.allocatable)):
        current = status.get(part) or {}
        changed = {key: value for key, value in quantities.items() if not _equal(current.get(key), value)}
        if changed:
            patch[part] = changed
    current_conditions = {entry["type"]: entry for entry in status.get("conditions") or []}
    conditions = []
    for want in desired.conditions:
        old = current_conditions.get(want.type, {})
        if (old.get("status"), old.get("reason")) == (want.status, want.reason):
            continue
        turned = old.get("lastTransitionTime", now) if old.get("status") == want.status else now
        conditions.append(
            {
                "type": want.type,
                "status": want.status,
                "reason": want.reason,
                "message": want.message,
                "lastHeartbeatTime": now,
                "lastTransitionTime": turned,
            }
        )
    if conditions:
        patch["conditions"] = conditions
    return {"metadata": {"uid": node["metadata"]["uid"]}, "status": patch} if patch else None


def _equal(current: str | None, desired: str | None) -> bool:
    if current is None or desired is None:
        return current is desired
    return current == desired or parse_quantity(current) == parse_quantity(desired)
