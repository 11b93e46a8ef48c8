"""Kubernetes Events for the turns in the life of a job or a rollout; best effort: a lost one must not hold them up."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from inferstack.api import constants
from inferstack.api.labels import MANAGER
from inferstack.apimachinery.objects import Object
from inferstack.k8s import KubeClient
from inferstack.k8s.informer import TROUBLE

_LOG = logging.getLogger("operator.events")
_LONGEST_MESSAGE = 1024
_CLUSTER_WIDE = "default"
"""Namespace of Events about objects that have none; the API server takes no other."""
_MOST_WAITING = 5000
"""Beyond this many unsent Events, new ones are dropped: the API server has other troubles then."""


@dataclass(frozen=True)
class Transition:
    """A change in an object's state that is worth an Event."""

    type: str
    """Normal or Warning."""
    reason: str
    message: str


def make_event(
    obj: Object, transition: Transition, *, now: str, kind: str = constants.KIND, manager: str = MANAGER
) -> Object:
    """Return an Event about an object.

    Args:
        obj: its metadata with name, uid, resourceVersion and, unless it has none, namespace.
        transition: what happened.
        now: RFC 3339 time.
        kind: of the object.
        manager: who tells.
    """
    meta = obj["metadata"]
    within = {"namespace": meta["namespace"]} if "namespace" in meta else {}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{meta['name']}.", "namespace": meta.get("namespace", _CLUSTER_WIDE)},
        "involvedObject": {
            "apiVersion": constants.API_VERSION,
            "kind": kind,
            "name": meta["name"],
            **within,
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
    """Send Events one after the other, behind the work on jobs.

    Args:
        kube: connected client.
        manager: field manager of the writes.
    """

    def __init__(self, kube: KubeClient, manager: str = MANAGER) -> None:
        self._kube, self._manager = kube, manager
        self._waiting: asyncio.Queue[Object] = asyncio.Queue(maxsize=_MOST_WAITING)

    def post(self, event: Object) -> None:
        """Send an Event soon."""
        try:
            self._waiting.put_nowait(event)
        except asyncio.QueueFull:
            _LOG.warning("dropped an Event: %s", event["message"])

    async def run(self) -> None:
        """Send until cancelled."""
        while True:
            event = await self._waiting.get()
            try:
                await self._kube.create(event, field_manager=self._manager)
            except TROUBLE as error:
                # The usual case is a namespace that is about to go.
                _LOG.debug("an Event was not taken: %s", error)
