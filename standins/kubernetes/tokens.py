"""Pulumi's type tokens and URNs, and the Kubernetes kinds that they stand for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

RELEASE = "kubernetes:helm.sh/v3:Release"

# Cluster-scoped kinds of the API groups that every server has. Discovery returns the scope of other kinds.
_CLUSTER_SCOPED = frozenset(
    {
        "APIService",
        "CSIDriver",
        "CSINode",
        "CertificateSigningRequest",
        "ClusterRole",
        "ClusterRoleBinding",
        "ClusterTrustBundle",
        "ComponentStatus",
        "CustomResourceDefinition",
        "DeviceClass",
        "DeviceTaintRule",
        "FlowSchema",
        "IPAddress",
        "IngressClass",
        "MutatingAdmissionPolicy",
        "MutatingAdmissionPolicyBinding",
        "MutatingWebhookConfiguration",
        "Namespace",
        "Node",
        "PersistentVolume",
        "PriorityClass",
        "PriorityLevelConfiguration",
        "ResourceSlice",
        "RuntimeClass",
        "SelfSubjectAccessReview",
        "SelfSubjectReview",
        "SelfSubjectRulesReview",
        "ServiceCIDR",
        "StorageClass",
        "StorageVersion",
        "SubjectAccessReview",
        "TokenReview",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
        "ValidatingWebhookConfiguration",
        "VolumeAttachment",
        "VolumeAttributesClass",
    }
)
_BUILT_IN_GROUPS = frozenset({"", "apps", "autoscaling", "batch", "policy"})


@dataclass(frozen=True)
class Gvk:
    """Group, version and kind."""

    group: str
    version: str
    kind: str

    @property
    def api_version(self) -> str:
        """``group/version``, or the version alone for the core group."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def __str__(self) -> str:
        return f"{self.api_version}/{self.kind}"


def type_of(urn: str) -> str:
    """Return the type token of a URN (``urn:pulumi:STACK::PROJECT::PARENT$TYPE::NAME``)."""
    return urn.split("::")[2].rpartition("$")[2]


def name_of(urn: str) -> str:
    """Return the resource's name in the program."""
    return urn.split("::", 3)[3]


def gvk_of_token(token: str) -> Gvk:
    """Return the kind of a type token such as ``kubernetes:apps/v1:Deployment``.

    Raises:
        ValueError: the token is not that of a Kubernetes kind.
    """
    parts = token.split(":")
    if len(parts) != 3 or "/" not in parts[1]:
        raise ValueError(f"{token!r} is not the token of a Kubernetes kind, such as kubernetes:apps/v1:Deployment")
    group, _, version = parts[1].partition("/")
    return Gvk("" if group == "core" else group, version, parts[2])


def gvk_of(obj: dict[str, Any]) -> Gvk:
    """Return the group, version and kind of an object."""
    group, _, version = str(obj.get("apiVersion") or "").rpartition("/")
    return Gvk("" if group == "core" else group, version, str(obj.get("kind") or ""))


def is_patch(urn: str, kind: str) -> bool:
    """Return whether a resource is a ``*Patch``: its token ends with Patch and the kind of its object does not."""
    return type_of(urn).endswith("Patch") and not kind.endswith("Patch")


def is_list(urn: str) -> bool:
    """Return whether a resource is a list of objects of a built-in group (``ConfigMapList``)."""
    gvk = gvk_of_token(type_of(urn))
    return is_built_in(gvk.group) and gvk.kind.endswith("List")


def is_built_in(group: str) -> bool:
    """Return whether a group is built into every API server."""
    return group in _BUILT_IN_GROUPS or group.endswith(".k8s.io")


def built_in_scope(gvk: Gvk) -> bool | None:
    """Return whether a kind is namespaced, or None if only the server knows."""
    if gvk.group in _BUILT_IN_GROUPS or (gvk.group.endswith(".k8s.io") and gvk.kind in _CLUSTER_SCOPED):
        return gvk.kind not in _CLUSTER_SCOPED
    return None
