"""Names and helpers for Istio objects, shared by the modules of the role."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from components.addon import catalogue
from components.objects import LABELS
from inferstack.apimachinery.objects import Object

ROOT = catalogue.load()["istiod"].namespace
"""Istio's root namespace: its objects apply to the whole mesh."""
INGRESS = catalogue.load()["istio-gateway"].namespace
"""Namespace of the gateway."""
GATEWAY = "inferstack"
"""The Gateway with the stack's hosts."""
GATEWAY_PODS = {"istio": "gateway"}
"""Label that the gateway's chart gives its pods: the release's name, istio-gateway, without istio-."""
CROSS_NETWORK_PORT = 15443
"""Port of Istio's gateways for traffic from other networks."""
SERVICE_PORT = 80
"""Port of the Service of each InferenceJob."""

Job = tuple[str, str]
"""Namespace and name of one of the stack's jobs."""


def make(
    api_version: str,
    kind: str,
    namespace: str,
    name: str,
    spec: Mapping[str, Any],
    annotations: Mapping[str, str] | None = None,
) -> Object:
    """Return an object with the platform's labels.

    In the foreground a custom resource's deletion waits until the garbage collector knows its kind, half a minute after
    the CRD was made; these own nothing that it could collect.
    """
    notes = {"pulumi.com/deletionPropagationPolicy": "background", **(annotations or {})}
    meta = {"name": name, "namespace": namespace, "labels": dict(LABELS), "annotations": notes}
    return {"apiVersion": api_version, "kind": kind, "metadata": meta, "spec": dict(spec)}


def host_of(job: Job) -> str:
    """Return the full name of a job's Service."""
    namespace, name = job
    return f"{name}.{namespace}.svc.cluster.local"
