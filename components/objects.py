"""Manifests and labels that all roles share. Does not import Pulumi."""

from __future__ import annotations

from collections.abc import Mapping

from inferstack.apimachinery.labels import MANAGED_BY, PART_OF, PLATFORM
from inferstack.apimachinery.objects import Object
from inferstack.versions import load as load_versions

LABELS = {PART_OF: PLATFORM, MANAGED_BY: "pulumi"}
"""Labels of all objects of this program."""


def make_namespace(name: str, *, privileged: bool, labels: Mapping[str, str] | None = None) -> Object:
    """Return a namespace of the platform.

    Args:
        name: name of the namespace.
        privileged: whether its pods need host access; otherwise the baseline Pod Security Standard applies.
        labels: additional labels.
    """
    level = "privileged" if privileged else "baseline"
    meta = {"name": name, "labels": {**LABELS, **make_pod_security(level, "enforce"), **(labels or {})}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": meta}


def make_pod_security(level: str, *modes: str) -> dict[str, str]:
    """Return the labels that enforce a Pod Security Standard in a namespace.

    The version is pinned to the Kubernetes release of the rehearsal, so that a cluster upgrade rejects no pod that was
    admitted before.

    Args:
        level: privileged, baseline or restricted.
        modes: any of enforce, audit and warn.
    """
    version = load_versions()["tools"]["kubernetes"]["version"].rpartition(".")[0]
    labels = {f"pod-security.kubernetes.io/{mode}": level for mode in modes}
    return {**labels, **{f"pod-security.kubernetes.io/{mode}-version": version for mode in modes}}
