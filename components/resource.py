"""The Pulumi resource that registers a Kubernetes object, whatever its kind."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Mapping
from typing import Any

import pulumi

from inferstack.tokens import token


class KubeObject(pulumi.CustomResource):
    """A Kubernetes object from its manifest.

    The typed classes of pulumi_kubernetes register the token ``kubernetes:<group/version>:<Kind>`` and send the object
    unchanged; this class does the same for every kind. Builders can therefore be pure functions that return manifests,
    built-in kinds and custom resources are handled alike, and the program does not import a thousand classes at start.
    State and plugin see no difference, so a stack can move to the typed classes without a change.
    """

    metadata: pulumi.Output[Any]
    """The object's metadata as the API server holds it."""

    def __init__(
        self, name: str, manifest: Mapping[str, Any], opts: pulumi.ResourceOptions, *, patch: bool = False
    ) -> None:
        """Register ``manifest``; with ``patch``, own only its fields of an existing object."""
        if manifest["kind"] == "Secret":
            secret = pulumi.ResourceOptions(additional_secret_outputs=["data", "stringData"])
            opts = pulumi.ResourceOptions.merge(opts, secret)
        versioned = pulumi.ResourceOptions.merge(opts, pulumi.ResourceOptions(version=plugin_version()))
        kind = token(manifest["apiVersion"], manifest["kind"]) + ("Patch" if patch else "")
        super().__init__(kind, name, dict(manifest), versioned)


@functools.cache
def plugin_version() -> str:
    """Return the version of the Kubernetes plugin, which is that of the installed SDK."""
    return importlib.metadata.version("pulumi_kubernetes")
