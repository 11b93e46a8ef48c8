"""All objects of all listable kinds of an API server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from inferstack.apimachinery.objects import Object
from inferstack.k8s.client import KubeClient
from inferstack.k8s.errors import ApiError, UnknownKindError

VOLATILE = frozenset({"ComponentStatus", "Endpoints", "EndpointSlice", "Event", "Lease"})
"""Kinds that the control plane creates and renews by itself."""
_METRICS = ("metrics.k8s.io",)
"""Suffixes of API groups that serve metrics, not objects."""


async def walk(kube: KubeClient, *, labels: str | None = None) -> AsyncIterator[Object]:
    """Yield the objects of all listable kinds, each in its group's preferred version, with apiVersion and kind.

    An announced group that is not served, such as an aggregated API whose server is down, counts as empty.

    Args:
        kube: connected client.
        labels: label selector.
    """
    groups = (await kube.request("GET", "/apis"))["groups"]
    versions = ["v1", *(group["preferredVersion"]["groupVersion"] for group in groups)]
    kinds = [kind for version in versions for kind in await _kinds(kube, version)]
    for listing in asyncio.as_completed([_list(kube, version, kind, labels) for version, kind in kinds]):
        for obj in await listing:
            yield obj


async def _kinds(kube: KubeClient, version: str) -> list[tuple[str, str]]:
    group = version.partition("/")[0] if "/" in version else ""
    if group.endswith(_METRICS):
        return []
    try:
        served = (await kube.request("GET", f"/apis/{version}" if group else f"/api/{version}"))["resources"]
    except ApiError as error:
        if error.code in (404, 503):
            return []
        raise
    return [
        (version, entry["kind"])
        for entry in served
        if "/" not in entry["name"] and "list" in entry["verbs"] and entry["kind"] not in VOLATILE
    ]


async def _list(kube: KubeClient, version: str, kind: str, labels: str | None) -> list[Object]:
    try:
        items = (await kube.list(version, kind, labels=labels))["items"]
    except UnknownKindError:
        return []
    except ApiError as error:
        if error.not_found:  # the CRD was deleted between discovery and list
            return []
        raise
    return [{**item, "apiVersion": version, "kind": kind} for item in items]
