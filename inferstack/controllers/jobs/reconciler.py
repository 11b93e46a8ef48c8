"""Brings each job's children and status to what its spec asks for.

`informers` observes, `plan` and `status` decide, `children` and `status_writer` write. All input is in memory, so a run
that changes nothing sends no request.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from inferstack.api import constants, runtimes
from inferstack.apimachinery.objects import Object
from inferstack.apimachinery.rfc3339 import format_time
from inferstack.controllers.jobs.children import SERVING, Children, RefusedError
from inferstack.controllers.jobs.informers import JobInformers
from inferstack.controllers.jobs.plan import Decision, Plan, make_plan
from inferstack.controllers.jobs.reasons import ConditionReason
from inferstack.controllers.jobs.status import Observation, make_refused_status, make_status, own, under_way
from inferstack.controllers.jobs.status_writer import StatusWriter
from inferstack.k8s import KubeClient
from inferstack.k8s.informer import REQUEST_ERRORS
from inferstack.k8s.workqueue import WorkQueue

_WORKERS = 12
"""Runs at a time. With more, the API server serves the scheduler and the kube-controller-manager later."""
_CROWD = 25
"""With more jobs than this in the queue, what is not needed to serve is put off by `_CROWD_SECONDS`."""
_CROWD_SECONDS = 1.0
"""Each write that is put off lets the API server, the scheduler and the controllers bring up replicas sooner."""
_REFUSED_SECONDS = 30.0
"""When to try again what the API server refused; a change of the job does so at once."""
_SWEEP_SECONDS = 3.0
"""How long the garbage collector has to remove the children of a deleted job before the operator does. It does so at
once, except for a kind whose CRD is new: it notices a new kind only after half a minute or more."""
_CACHE_SECONDS = 0.2
"""When to look again for the first list of Datasets."""
_FINISH_SECONDS = 5.0
"""How long the clean-up at the end may take; a kubelet kills the process after 30 s."""

_LOG = logging.getLogger("operator")


class Reconciler:
    """The controller of InferenceJobs.

    Args:
        kube: connected client.
        namespace: the namespace to watch; None for all.
        clock: returns the time for conditions.
    """

    def __init__(
        self,
        kube: KubeClient,
        namespace: str | None = None,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._kube, self._clock = kube, clock
        self._synced = False
        self._queue = WorkQueue(self._run, workers=_WORKERS, name="operator")
        self._informers = JobInformers(kube, namespace, self._queue)
        self._children = Children(kube, self._informers.children)
        self._status = StatusWriter(kube, self._informers.jobs, self._queue.add, clock)
        self._plans: dict[str, tuple[tuple[str, int], Plan | ConditionReason]] = {}
        self._deleted: dict[str, float] = {}

    async def run(self) -> None:
        """Work until cancelled.

        No job is reconciled before the first lists are in: a child that is not listed yet would be written again.

        Raises:
            ExceptionGroup: of the errors that ended a task, such as `CredentialError`.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._informers.run())
            group.create_task(self._status.run())
            await self._informers.wait_synced()
            self._synced = True
            group.create_task(self._queue.run())

    async def finish(self) -> None:
        """Remove the children of deleted jobs; call it after `run`.

        A teardown deletes the jobs and then the operator at once. Pods must not outlive that: their nodes and
        namespaces are deleted next.
        """
        if not self._synced:
            return  # every job would look deleted
        try:
            async with asyncio.timeout(_FINISH_SECONDS):
                for key in self._children.keys() - self._informers.jobs.objects.keys():
                    await self._clear(key)
        except REQUEST_ERRORS as error:
            _LOG.warning("children of deleted jobs are left to the garbage collector: %s", error)

    def problem(self) -> str | None:
        """Return why jobs are not reconciled yet; None when they are."""
        if self._synced:
            return None
        trouble = self._informers.trouble
        return f"waiting for the first lists: {trouble}" if trouble else "waiting for the first lists"

    def metrics(self) -> str:
        """Return the controller's metrics in Prometheus' text format."""
        return render_metrics(jobs=len(self._informers.jobs.objects), waiting=self._queue.waiting, synced=self._synced)

    async def _run(self, key: str) -> float | None:
        job = self._informers.job(key)
        try:
            if job is None:
                return await self._sweep(key)
            if job["metadata"].get("deletionTimestamp"):
                return None
            return await self._reconcile(key, job)
        except REQUEST_ERRORS:
            raise
        except Exception:  # noqa: BLE001  # a bug that one job brings to light must not stop the others
            _LOG.exception("%s: unexpected error; next attempt in %.0f s", key, _REFUSED_SECONDS)
            return _REFUSED_SECONDS

    async def _reconcile(self, key: str, job: Object) -> float | None:
        self._deleted.pop(key, None)
        if key in self._informers.lost_children and not await self._exists(key, job):
            return None
        now = self._clock()
        plan = self._plan(key, job)
        if isinstance(plan, ConditionReason):
            status = make_refused_status(job, plan, before=job.get("status"), now=format_time(now))
            return await self._status.write(key, job, status)
        cache = plan.job.spec.cache
        cache_state = self._informers.cache_state(cache, job["metadata"]["namespace"]) if cache else None
        if cache and cache_state is None:
            return _CACHE_SECONDS
        decision = plan.decide(job, self._children.live("Deployment", key), cache_state, now)
        requeue: list[float | None] = [decision.requeue_after]
        refusal: ConditionReason | None = None
        try:
            written, postponed = await self._write_child(key, plan, decision)
            if written:
                return None  # the queue or a change brings it back
            requeue.append(_CROWD_SECONDS if postponed else None)
        except RefusedError as error:
            refusal = error.reason
            requeue.append(_REFUSED_SECONDS)
        deployment, pods = self._children.live("Deployment", key), self._informers.running_pods(key)
        observation = Observation(deployment, pods, refusal is None, refusal, decision.cache)
        before = own(job.get("status"))
        status = make_status(plan.job, plan.runtime, observation, before=before, now=format_time(now))
        if before is None and under_way(status) and self._queue.waiting > _CROWD:
            return _CROWD_SECONDS
        requeue.append(await self._status.write(key, job, status))
        return min((seconds for seconds in requeue if seconds is not None), default=None)

    async def _write_child(self, key: str, plan: Plan, decision: Decision) -> tuple[bool, bool]:
        """Write the first child that differs from the desired one.

        One a run: replicas take longest to start, so the Deployments of all waiting jobs go before their other objects.

        Returns:
            Whether one was written, so that the job must be looked at again, and whether one was put off.
        """
        for child in decision.children:
            if not self._children.differs(key, child):
                continue
            if child["kind"] not in SERVING and self._queue.waiting > _CROWD:
                return False, True
            if await self._children.write(key, child):
                self._queue.add(key)
            return True, False
        if decision.without_autoscaler:
            await self._children.remove("HorizontalPodAutoscaler", key, plan.job.metadata["uid"])
        return False, False

    async def _sweep(self, key: str) -> float | None:
        """Remove the children of a deleted job; return seconds to wait while the garbage collector may do so."""
        self._forget(key)
        if not self._children.left(key):
            self._deleted.pop(key, None)
            return None
        now = asyncio.get_running_loop().time()
        due = self._deleted.setdefault(key, now) + _SWEEP_SECONDS
        if now < due:
            return due - now
        return _SWEEP_SECONDS if await self._clear(key) else None

    def _forget(self, key: str) -> None:
        self._queue.forget(key)
        self._children.forget(key)
        self._status.forget(key)
        self._informers.lost_children.discard(key)
        self._plans.pop(key, None)

    async def _clear(self, key: str) -> bool:
        """Delete the children of a deleted job; return False if the job exists after all: the watch will show it."""
        namespace, _, name = key.rpartition("/")
        if await self._kube.find(constants.API_VERSION, constants.KIND, name, namespace) is not None:
            return False
        for child in self._children.left(key):
            await self._children.delete(child)
        return True

    async def _exists(self, key: str, job: Object) -> bool:
        """Return whether a job still exists, before children that vanished are made again.

        Watches are not in step: the deletion of a job may be seen after that of its children. Until it is seen, nothing
        is made for the job.
        """
        meta = job["metadata"]
        current = await self._kube.find(constants.API_VERSION, constants.KIND, meta["name"], meta["namespace"])
        if current is None or current["metadata"]["uid"] != meta["uid"] or "deletionTimestamp" in current["metadata"]:
            return False
        self._informers.lost_children.discard(key)
        return True

    def _plan(self, key: str, job: Object) -> Plan | ConditionReason:
        identity = (job["metadata"]["uid"], job["metadata"]["generation"])
        cached = self._plans.get(key)
        if cached is not None and cached[0] == identity:
            return cached[1]
        plan = make_plan(job, runtimes.load())
        self._plans[key] = (identity, plan)
        return plan


def render_metrics(*, jobs: int, waiting: int, synced: bool) -> str:
    """Return the metrics of the job controller in Prometheus' text format.

    Args:
        jobs: InferenceJobs in the local copy.
        waiting: jobs in the work queue.
        synced: whether the first lists are in, so that jobs are reconciled.
    """
    samples = (
        ("up_to_date", "Whether the first lists are in and jobs are reconciled", int(synced)),
        ("jobs", "InferenceJobs that the operator watches", jobs),
        ("queue_length", "InferenceJobs that wait to be reconciled", waiting),
    )
    prefix = "inferstack_operator_"
    return "".join(
        f"# HELP {prefix}{name} {text}\n# TYPE {prefix}{name} gauge\n{prefix}{name} {value}\n"
        for name, text, value in samples
    )
