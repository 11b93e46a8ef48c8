"""Publishes decisions: writes ``status.scaling`` of jobs and an Event for each change of the reason."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping

from inferstack.api import constants
from inferstack.api.labels import SCALER
from inferstack.apimachinery.objects import Object
from inferstack.apimachinery.rfc3339 import format_epoch
from inferstack.controllers.scaling import status
from inferstack.controllers.scaling.decision import JobDecision, PredictiveJob
from inferstack.controllers.scaling.metrics import FailureLog, ScalerMetrics
from inferstack.controllers.scaling.status import NoDecision
from inferstack.k8s import KubeClient
from inferstack.k8s.events import EventWriter, make_event
from inferstack.k8s.informer import REQUEST_ERRORS, Informer
from inferstack.scaling.plan import INTERVAL

_CONCURRENT_WRITES = 16


class Publisher:
    """Writes decisions to the API server.

    Args:
        kube: connected client.
        jobs: informer of InferenceJobs; learns each written status at once.
        validity: seconds for which a decision is valid.
        metrics: counts decisions and writes.
        failures: records failed writes.
        clock: returns seconds since the epoch.
    """

    def __init__(
        self,
        kube: KubeClient,
        jobs: Informer,
        validity: float,
        metrics: ScalerMetrics,
        failures: FailureLog,
        clock: Callable[[], float],
    ) -> None:
        self.events = EventWriter(kube, SCALER)
        self._kube, self._jobs, self._validity = kube, jobs, validity
        self._metrics, self._failures, self._clock = metrics, failures, clock

    async def publish(
        self,
        jobs: Mapping[str, PredictiveJob],
        outcomes: Mapping[str, JobDecision | NoDecision],
        asleep: Collection[str],
        now: float,
    ) -> None:
        """Write changed decisions, and clear the status of jobs that no longer request predictive scaling.

        Args:
            jobs: the jobs that request predictive scaling.
            outcomes: decisions by namespace/name.
            asleep: jobs that have 0 replicas now.
            now: seconds since the epoch.
        """
        limit = asyncio.Semaphore(_CONCURRENT_WRITES)

        async def write(raw: Object, scaling: Object | None) -> None:
            async with limit:
                await self._apply(raw, scaling)

        async with asyncio.TaskGroup() as group:
            for key, outcome in outcomes.items():
                scaling = self._format(jobs[key], outcome, now, asleep=key in asleep)
                self._metrics.decisions[scaling["reason"]] += 1
                if status.must_publish(jobs[key].scaling, scaling, now, self._validity):
                    group.create_task(write(jobs[key].raw, scaling))
            for key, raw in self._jobs.objects.items():
                if key not in jobs and (raw.get("status") or {}).get("scaling"):
                    group.create_task(write(raw, None))

    def _format(self, job: PredictiveJob, outcome: JobDecision | NoDecision, now: float, *, asleep: bool) -> Object:
        if isinstance(outcome, NoDecision):
            return status.format_no_decision(outcome, job.scaling, now)
        return status.format_decision(
            outcome.decision,
            outcome.capacity,
            generation=job.raw["metadata"]["generation"],
            asleep=asleep,
            cold_start=outcome.cold_start,
            horizon=outcome.cold_start + INTERVAL,
            now=now,
            validity=self._validity,
            note=outcome.note,
        )

    async def _apply(self, raw: Object, scaling: Object | None) -> None:
        meta = raw["metadata"]
        body: Object = {
            "apiVersion": constants.API_VERSION,
            "kind": constants.KIND,
            # With the uid, the API server rejects the write if a new job of the same name has replaced this one.
            "metadata": {key: meta[key] for key in ("name", "namespace", "uid")},
        }
        if scaling is not None:
            body["status"] = {"scaling": scaling}
        try:
            updated = await self._kube.apply(body, field_manager=SCALER, subresource="status")
        except REQUEST_ERRORS as error:
            # The next round retries, unless the job has been deleted.
            self._failures.failed("kubernetes", error)
            return
        self._failures.succeeded("kubernetes")
        self._metrics.writes += 1
        published = (raw.get("status") or {}).get("scaling")
        if scaling is not None and (transition := status.transition(published, scaling)):
            now = format_epoch(self._clock())
            self.events.post(make_event(raw, transition, now=now, manager=SCALER))
        self._jobs.remember(updated)
