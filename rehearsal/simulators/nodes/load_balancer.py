"""The cloud's load balancers: each Service of type LoadBalancer gets an address that never resolves.

Without an address helm and Pulumi wait forever, as they do on a cluster whose cloud has no load balancers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from inferstack.apimachinery.objects import Object
from inferstack.k8s import ApiError, KubeClient
from inferstack.k8s.informer import Informer, key_of, newer_of
from inferstack.k8s.workqueue import WorkQueue
from rehearsal.simulators import FIELD_MANAGER

DOMAIN = "elb.rehearsal.invalid"
"""Names end in .invalid, which never resolves (RFC 2606, section 2)."""


def wanted_status(service: Mapping[str, Any]) -> Object | None:
    """Return the status that a Service must get, or None if the current status is correct."""
    meta = service["metadata"]
    if service["spec"].get("type") != "LoadBalancer" or meta.get("deletionTimestamp"):
        return None
    address = {"hostname": f"{meta['name']}-{meta['namespace']}.{DOMAIN}"}
    shown = ((service.get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    if [entry.get("hostname") for entry in shown] == [address["hostname"]]:
        return None
    return {"loadBalancer": {"ingress": [address]}}


def prune(service: Object) -> Object:
    """Keep only the fields of a Service that the controller reads."""
    meta = service["metadata"]
    kept = ("name", "namespace", "uid", "resourceVersion", "deletionTimestamp")
    return {
        "metadata": {key: meta[key] for key in kept if key in meta},
        "spec": {"type": service["spec"].get("type")},
        "status": service.get("status"),
    }


class LoadBalancers:
    """Assigns addresses to Services.

    Args:
        kube: connected client.
    """

    def __init__(self, kube: KubeClient) -> None:
        self._kube = kube
        self._queue = WorkQueue(self._reconcile, workers=1, name="load balancers")
        self._services = Informer(kube, "v1", "Service", on_change=self._changed, prune=prune)
        self.informers: Mapping[str, Informer] = {"services": self._services}

    async def run(self) -> None:
        """Run until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._services.run())
            group.create_task(self._queue.run())

    def _changed(self, before: Object | None, after: Object | None) -> None:
        self._queue.add(key_of(newer_of(before, after)))

    async def _reconcile(self, key: str) -> float | None:
        service = self._services.objects.get(key)
        status = wanted_status(service) if service else None
        if service is None or status is None:
            return None
        meta = service["metadata"]
        try:
            self._services.remember(
                await self._kube.patch(
                    "v1",
                    "Service",
                    meta["name"],
                    {"metadata": {"uid": meta["uid"]}, "status": status},
                    meta["namespace"],
                    field_manager=FIELD_MANAGER,
                    subresource="status",
                )
            )
        except ApiError as error:
            if not (error.not_found or error.conflict):
                raise
        return None
