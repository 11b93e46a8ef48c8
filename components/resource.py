"""The Pulumi resource that registers a Kubernetes object, whatever its kind."""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Mapping
from typing import Any

import pulumi

from inferstack.tokens import token


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
