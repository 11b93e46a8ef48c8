"""One way to register a Kubernetes object, whatever its kind."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Mapping
from typing import Any

import pulumi

from inferstack.tokens import token
from inferstack.versions import load as load_versions

Object = dict[str, Any]

LABELS = {"app.kubernetes.io/part-of": "inferstack", "app.kubernetes.io/managed-by": "pulumi"}
"""On all that this program makes: who made it, and for what."""


class KubeObject(pulumi.CustomResource):
    """A Kubernetes object given as its manifest.

    The typed classes of pulumi_kubernetes register the token ``kubernetes:<group/version>:<Kind>`` and send the object
    as it is; this class does the same for every kind. So builders stay pure functions that return plain manifests,
    built-in kinds and custom resources look alike, and the program starts without importing a thousand classes. State
    and plugin cannot tell the difference: a stack may move to the typed classes without a change.
    """

    metadata: pulumi.Output[Any]
    """The object's metadata as the API server holds it."""

    def __init__(
        self, name: str, manifest: Mapping[str, Any], opts: pulumi.ResourceOptions, *, patch: bool = False
    ) -> None:
        """Register ``manifest``; with ``patch``, own only the fields it names of an object that is there."""
        if manifest["kind"] == "Secret":
            secret = pulumi.ResourceOptions(additional_secret_outputs=["data", "stringData"])
            opts = pulumi.ResourceOptions.merge(opts, secret)
        versioned = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(version=plugin_version()))
        kind = token(manifest["apiVersion"], manifest["kind"]) + ("Patch" if patch else "")
        super().__init__(kind, name, dict(manifest), versioned)


@functools.cache
def plugin_version() -> str:
    """Return the version of the Kubernetes plugin: that of its installed SDK, as the typed classes ask for it."""
    return importlib.metadata.version("pulumi_kubernetes")


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
