"""Kubernetes objects as plain manifests, and the labels on those of this program. It does not import Pulumi."""

from __future__ import annotations

from collections.abc import Mapping

from inferstack.apimachinery.labels import MANAGED_BY, PART_OF, PLATFORM
from inferstack.apimachinery.objects import Object
from inferstack.versions import load as load_versions

LABELS = {PART_OF: PLATFORM, MANAGED_BY: "pulumi"}
"""Labels of all objects that this program makes."""


def make_namespace(name: str, *, privileged: bool, labels: Mapping[str, str] | None = None) -> Object:
    """Return a namespace of the platform's own.

    Args:
        name: of the namespace.
        privileged: whether its pods need the host; otherwise the baseline Pod Security Standard holds.
        labels: further ones.
    """
    level = "privileged" if privileged else "baseline"
    meta = {"name": name, "labels": {**LABELS, **make_pod_security(level, "enforce"), **(labels or {})}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}


def make_pod_security(level: str, *modes: str) -> dict[str, str]:
    """Return the labels that hold a namespace to a Pod Security Standard.

    The standards change with Kubernetes. They are pinned to the release that the rehearsal runs: an upgrade of a
    cluster then refuses no pod that was let in before.

    Args:
        level: privileged, baseline or restricted.
        modes: any of enforce, audit and warn.
    """
    version = load_versions()["tools"]["kubernetes"]["version"].rpartition(".")[0]
    labels = {f"pod-security.kubernetes.io/{mode}": level for mode in modes}
    return {**labels, **{f"pod-security.kubernetes.io/{mode}-version": version for mode in modes}}
