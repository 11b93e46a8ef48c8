"""Writes the status of jobs, and an Event for each transition."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime

from inferstack.api import constants
from inferstack.api.labels import MANAGER
from inferstack.apimachinery.objects import Object
from inferstack.apimachinery.rfc3339 import format_time
from inferstack.controllers.jobs.status import own, transitions, urgent
from inferstack.k8s import ApiError, KubeClient
from inferstack.k8s.events import EventWriter, make_event
from inferstack.k8s.informer import Informer

_COUNTS_SECONDS = 1.0
"""The shortest time between two writes of a status in which only counts changed."""


class StatusWriter:
    """Writes the status of jobs.

    Args:
        kube: connected client.
        jobs: receives each status that was written, ahead of its watch.
        enqueue: called with the key of a job whose status was written: the answer may carry a change of the job that
            the watch has not shown yet.
        clock: returns the time of Events.
    """

    def __init__(
        self, kube: KubeClient, jobs: Informer, enqueue: Callable[[str], None], clock: Callable[[], datetime]
    ) -> None:
        self._kube, self._jobs, self._enqueue, self._clock = kube, jobs, enqueue, clock
        self._events = EventWriter(kube)
        self._written: dict[str, float] = {}

    async def run(self) -> None:
        """Send Events until cancelled."""
        await self._events.run()

    def forget(self, key: str) -> None:
        """Drop what is remembered of a deleted job."""
        self._written.pop(key, None)

    async def write(self, key: str, job: Object, status: Object) -> float | None:
        """Write the status if it changed; return seconds to wait where only counts did, shortly after another write."""
        before = own(job.get("status"))
        if before == status:
            return None
        now = asyncio.get_running_loop().time()
        due = self._written.get(key, 0.0) + _COUNTS_SECONDS
        if now < due and not urgent(before, status):
            return due - now
        self._written[key] = now
        meta = job["metadata"]
        # With the uid, the API server refuses the write if another job of this name exists by now.
        body = {"metadata": {"uid": meta["uid"]}, "status": status}
        try:
            answer = await self._kube.patch(
                constants.API_VERSION,
                constants.KIND,
                meta["name"],
                body,
                meta["namespace"],
                subresource="status",
                field_manager=MANAGER,
            )
        except ApiError as error:
            if error.not_found or error.conflict:
                return None  # the job was deleted, or made again: the watch will show it
            raise
        self._jobs.remember(answer)
        self._enqueue(key)
        stamp = format_time(self._clock())
        for transition in transitions(before, status):
            self._events.post(make_event(job, transition, now=stamp))
        return None
