"""Kubernetes Events about jobs and rollouts, on a best-effort basis: a lost Event delays nothing."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from inferstack.api import constants
from inferstack.api.labels import MANAGER
from inferstack.apimachinery.objects import Object
from inferstack.k8s import KubeClient
from inferstack.k8s.informer import REQUEST_ERRORS

_LOG = logging.getLogger("operator.events")
_LONGEST_MESSAGE = 1024
_CLUSTER_WIDE = "default"
"""Namespace of Events about cluster-scoped objects; the API server accepts no other."""
_MOST_WAITING = 5000
"""With more unsent Events than this, new ones are dropped, to spare the API server."""


@dataclass(frozen=True)
class Transition:
    """A change of an object's state that deserves an Event."""

    type: str
    """Normal or Warning."""
    reason: str
    message: str


def make_event(
    obj: Object, transition: Transition, *, now: str, kind: str = constants.KIND, manager: str = MANAGER
) -> Object:
    """Return an Event about an object.

    Args:
        obj: the object, with metadata.name, uid, resourceVersion and, unless cluster-scoped, namespace.
        transition: the change to report.
        now: RFC 3339 time.
        kind: of the object.
        manager: the reporting component.
    """
    meta = obj["metadata"]
    namespace = {"namespace": meta["namespace"]} if "namespace" in meta else {}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{meta['name']}.", "namespace": meta.get("namespace", _CLUSTER_WIDE)},
        "involvedObject": {
            "apiVersion": constants.API_VERSION,
            "kind": kind,
            "name": meta["name"],
            **namespace,
            "uid": meta["uid"],
            "resourceVersion": meta["resourceVersion"],
        },
        "type": transition.type,
        "reason": transition.reason,
        "message": transition.message[:_LONGEST_MESSAGE],
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
        "source": {"component": manager},
        "reportingComponent": manager,
        "reportingInstance": manager,
    }


class EventWriter:
    """Sends Events one after another, in the background.

    Args:
        kube: connected client.
        manager: field manager of the writes.
    """

    def __init__(self, kube: KubeClient, manager: str = MANAGER) -> None:
        self._kube, self._manager = kube, manager
        self._waiting: asyncio.Queue[Object] = asyncio.Queue(maxsize=_MOST_WAITING)

    def post(self, event: Object) -> None:
        """Queue an Event."""
        try:
            self._waiting.put_nowait(event)
        except asyncio.QueueFull:
            _LOG.warning("Event dropped: %s", event["message"])

    async def run(self) -> None:
        """Send Events until cancelled."""
        while True:
            event = await self._waiting.get()
            try:
                await self._kube.create(event, field_manager=self._manager)
            except REQUEST_ERRORS as error:
                # The usual cause is a namespace that is being deleted.
                _LOG.debug("Event refused: %s", error)
