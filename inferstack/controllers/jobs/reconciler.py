"""Bring each job to what it asks for, and say how it fares.

One run for one job: write the children that differ, remove those that are wanted no more, write the status if it
changed. All it needs is in memory, so a run that finds nothing to do costs no request.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from inferstack.api import constants, labels, runtimes
from inferstack.api.labels import MANAGER, Object
from inferstack.api.replicas import Limits
from inferstack.controllers.jobs import metrics, prune
from inferstack.controllers.jobs.cache import Choice, choose
from inferstack.controllers.jobs.caches import Caches
from inferstack.controllers.jobs.children import KINDS, SERVING, Children, RefusedError
from inferstack.controllers.jobs.obstacles import Obstacle
from inferstack.controllers.jobs.plan import Plan, make_plan
from inferstack.controllers.jobs.status import (
    Seen,
    cold_since,
    make_refused_status,
    make_status,
    own,
    turns,
    under_way,
    urgent,
)
from inferstack.k8s import ApiError, KubeClient
from inferstack.k8s.events import EventWriter, make_event
from inferstack.k8s.informer import TROUBLE, Informer, key_of, newer_of
from inferstack.k8s.workqueue import WorkQueue

_WORKERS = 12
"""Runs at a time. More only queue up at the API server, which then serves the scheduler and the controllers later."""
_SETTLE_SECONDS = 0.05
"""Changes of children and pods come in bursts; one run answers a burst."""
_COUNTS_SECONDS = 1.0
"""How often a status is written of which only counts change."""
_CROWD = 25
"""With more jobs than this in the queue, what can wait does: see `_CROWD_SECONDS`."""
_CROWD_SECONDS = 1.0
"""How long a first "in progress" and the objects that a job can serve without wait for a crowd to pass. Each write that
is put off lets the API server, the scheduler and the controllers bring up replicas sooner."""
_REFUSED_SECONDS = 30.0
"""When to offer again what the API server refused; a change of the job does so at once."""
_SWEEP_SECONDS = 3.0
"""How long after a job the garbage collector may take to remove its children, before the operator does. It is at once,
but for a kind as new as the CRD at installation: that the collector takes note of only after half a minute or more."""
_EXPIRY_SECONDS = 0.01
"""How long after a decision of the predictive scaler has ended the job's own bounds come back: past the rounding."""
_CACHE_SECONDS = 0.2
"""When to look again for the first list of Datasets."""
_FINISH_SECONDS = 5.0
"""How long the clean-up at the end may take; a kubelet kills what is still there after 30 s."""

_LOG = logging.getLogger("operator")


class Reconciler:
    """All jobs in view.

    Args:
        kube: connected client.
        namespace: to serve; None for all.
        clock: returns the time for conditions.
    """

    def __init__(
        self,
        kube: KubeClient,
        namespace: str | None = None,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.listed = asyncio.Event()
        self._kube, self._clock = kube, clock
        self._queue = WorkQueue(self._run, workers=_WORKERS, name="operator")
        self._events = EventWriter(kube)
        self._plans: dict[str, tuple[tuple[str, int], Plan | Obstacle]] = {}
        self._pods: dict[str, dict[str, Object]] = {}
        self._written: dict[str, float] = {}
        self._bereft: set[str] = set()
        self._gone: dict[str, float] = {}
        self._jobs = Informer(
            kube,
            constants.API_VERSION,
            constants.KIND,
            on_change=self._job_changed,
            namespace=namespace,
            prune=prune.prune_job,
        )
        informers = {
            kind: Informer(
                kube,
                version,
                kind,
                on_change=self._child_changed,
                namespace=namespace,
                labels=labels.OURS,
                prune=prune.prune_child,
            )
            for kind, version in KINDS.items()
        }
        self._children = Children(kube, informers)
        pods = Informer(
            kube,
            "v1",
            "Pod",
            on_change=self._pod_changed,
            namespace=namespace,
            labels=labels.OURS,
            prune=prune.prune_pod,
        )
        self._informers = [self._jobs, *informers.values(), pods]
        # Of all namespaces: a Dataset may stand for one in another.
        self._caches = Caches(kube, self._cache_changed)

    async def run(self) -> None:
        """Work until cancelled.

        No job is reconciled before the first lists are in: a child that is not listed yet would be written again.

        Raises:
            ExceptionGroup: of the errors that ended a task, such as `CredentialError`.
        """
        async with asyncio.TaskGroup() as group:
            for informer in self._informers:
                group.create_task(informer.run())
            group.create_task(self._events.run())
            group.create_task(self._caches.run())
            for informer in self._informers:
                await informer.synced.wait()
            self.listed.set()
            group.create_task(self._queue.run())

    async def finish(self) -> None:
        """Remove what jobs that are gone left behind; call it after `run`.

        Whoever takes a platform down deletes the jobs and then the operator at once. The pods must not outlive that:
        their nodes and namespaces go next.
        """
        if not self.listed.is_set():
            return  # every job would look gone
        try:
            async with asyncio.timeout(_FINISH_SECONDS):
                for key in self._children.keys() - self.jobs.keys():
                    await self._clear(key)
        except TROUBLE as error:
            _LOG.warning("what deleted jobs left behind is the garbage collector's now: %s", error)

    def problem(self) -> str | None:
        """Return why the operator does not serve jobs yet, None when it does."""
        if self.listed.is_set():
            return None
        missing = [informer for informer in self._informers if not informer.synced.is_set()]
        reasons = sorted({informer.trouble for informer in missing if informer.trouble})
        return "waiting for the first lists" + (f": {'; '.join(reasons)}" if reasons else "")

    def metrics(self) -> str:
        """Return what Prometheus may see, in its text format."""
        return metrics.render(jobs=len(self.jobs), waiting=self._queue.waiting, listed=self.listed.is_set())

    @property
    def jobs(self) -> dict[str, Object]:
        """The jobs in view, by key."""
        return self._jobs.objects

    def _job_changed(self, before: Object | None, after: Object | None) -> None:
        key = key_of(newer_of(before, after))
        if after is None:
            self._forget(key)
        else:
            self._gone.pop(key, None)
        if before is None or after is None or _matters(before) != _matters(after):
            self._queue.add(key)

    def _forget(self, key: str) -> None:
        self._queue.forget(key)
        self._children.forget(key)
        self._bereft.discard(key)
        self._plans.pop(key, None)
        self._written.pop(key, None)

    def _child_changed(self, before: Object | None, after: Object | None) -> None:
        key = key_of(newer_of(before, after))
        if after is None:
            self._bereft.add(key)
        self._queue.add_after(key, _SETTLE_SECONDS)

    def _pod_changed(self, before: Object | None, after: Object | None) -> None:
        meta = newer_of(before, after)["metadata"]
        key = f"{meta['namespace']}/{meta['labels'][labels.JOB]}"
        pods = self._pods.setdefault(key, {})
        if after is None:
            pods.pop(meta["name"], None)
            if not pods:
                del self._pods[key]
        else:
            pods[meta["name"]] = after
        # A pod that is well tells nothing that its Deployment's counts do not tell.
        if any(side and len(side["status"]) > 1 for side in (before, after)):
            self._queue.add_after(key, _SETTLE_SECONDS)

    def _cache_changed(self, dataset: str) -> None:
        for key, job in self.jobs.items():
            named = (job["spec"].get("cache") or {}).get("dataset")
            if named and self._caches.concerns(dataset, job["metadata"]["namespace"], named):
                self._queue.add_after(key, _SETTLE_SECONDS)

    async def _run(self, key: str) -> float | None:
        raw = self.jobs.get(key)
        if raw is not None and raw["metadata"].get("deletionTimestamp"):
            return None
        try:
            return await (self._sweep(key) if raw is None else self._reconcile(key, raw))
        except TROUBLE:
            raise
        except Exception:  # noqa: BLE001  # a flaw that one job brings to light must not stop the others
            _LOG.exception("%s: unexpected error; again in %.0f s", key, _REFUSED_SECONDS)
            return _REFUSED_SECONDS

    async def _reconcile(self, key: str, raw: Object) -> float | None:
        if key in self._bereft and not await self._still_there(key, raw):
            return None
        plan = self._plan(key, raw)
        if isinstance(plan, Obstacle):
            return await self._say(key, raw, make_refused_status(raw, plan, now=self._now(), before=raw.get("status")))
        cache = self._choose(key, raw, plan)
        if cache is None and plan.job.spec.cache:
            return _CACHE_SECONDS
        refusal: Obstacle | None = None
        now = self._clock()
        allowed = plan.limits(raw.get("status"), now)
        pauses: list[float | None] = [cache.wait if cache else None]
        if allowed is not None and allowed.until is not None:
            # Nothing tells of a decision that ends because its scaler is gone.
            pauses.append((allowed.until - now).total_seconds() + _EXPIRY_SECONDS)
        try:
            wrote, postponed = await self._write(key, plan, cache, allowed)
            if wrote:
                return None  # the queue or a change brings it back
            pauses.append(_CROWD_SECONDS if postponed else None)
        except RefusedError as refused:
            refusal = refused.obstacle
            pauses.append(_REFUSED_SECONDS)
        seen = Seen(self._children.live("Deployment", key), self._living_pods(key), refusal is None, refusal, cache)
        before = own(raw.get("status"))
        status = make_status(plan.job, plan.runtime, seen, before=before, now=self._now())
        if before is None and under_way(status) and self._queue.waiting > _CROWD:
            return _CROWD_SECONDS
        pauses.append(await self._say(key, raw, status))
        return min((pause for pause in pauses if pause is not None), default=None)

    def _choose(self, key: str, raw: Object, plan: Plan) -> Choice | None:
        """Decide about the cache of a job; None where it has none, or nothing can be said of it yet."""
        cache = plan.job.spec.cache
        warmth = self._caches.look(cache, raw["metadata"]["namespace"]) if cache else None
        if cache is None or warmth is None:
            return None
        since = cold_since(raw.get("status"))
        cold = (self._clock() - datetime.fromisoformat(since)).total_seconds() if since else 0.0
        return choose(
            cache,
            warmth,
            self._children.live("Deployment", key),
            generation=raw["metadata"]["generation"],
            paused=plan.job.spec.replicas == 0,
            cold_seconds=cold,
        )

    async def _write(self, key: str, plan: Plan, cache: Choice | None, allowed: Limits | None) -> tuple[bool, bool]:
        """Write the first child that differs; none while the job waits for its cache.

        One a run: replicas take longest to come, so the Deployments of all waiting jobs go before their other objects.

        Returns:
            Whether one was written, so that the job must be looked at again, and whether one was put off.
        """
        if cache and cache.mounted is None:
            return False, False
        live = self._children.live("Deployment", key)
        for wanted in plan.children(live, allowed, mounted=cache is None or bool(cache.mounted)):
            if not self._children.differs(key, wanted):
                continue
            if wanted["kind"] not in SERVING and self._queue.waiting > _CROWD:
                return False, True
            if await self._children.write(key, wanted):
                self._queue.add(key)
            return True, False
        if not (plan.job.spec.autoscale and plan.job.spec.replicas):
            await self._children.remove("HorizontalPodAutoscaler", key, plan.job.metadata["uid"])
        return False, False

    async def _sweep(self, key: str) -> float | None:
        """Remove what a job left behind that is gone; returns seconds to wait where that is the collector's turn."""
        if not self._children.left(key):
            self._gone.pop(key, None)
            return None
        now = asyncio.get_running_loop().time()
        due = self._gone.setdefault(key, now) + _SWEEP_SECONDS
        if now < due:
            return due - now
        return _SWEEP_SECONDS if await self._clear(key) else None

    async def _clear(self, key: str) -> bool:
        """Delete what a job left behind; return False if the job exists after all: the watch will show it."""
        namespace, _, name = key.rpartition("/")
        if await self._kube.find(constants.API_VERSION, constants.KIND, name, namespace) is not None:
            return False
        for child in self._children.left(key):
            await self._children.delete(child)
        return True

    async def _still_there(self, key: str, raw: Object) -> bool:
        """Return whether the job still exists, before children that vanished are made again.

        Watches are not in step: the deletion of a job may be seen after that of its children. Until it is seen, nothing
        is made for the job.
        """
        meta = raw["metadata"]
        current = await self._kube.find(constants.API_VERSION, constants.KIND, meta["name"], meta["namespace"])
        if current is None or current["metadata"]["uid"] != meta["uid"] or "deletionTimestamp" in current["metadata"]:
            return False
        self._bereft.discard(key)
        return True

    async def _say(self, key: str, raw: Object, status: Object) -> float | None:
        """Write the status if it changed; returns seconds to wait where only counts did, and lately before."""
        before = own(raw.get("status"))
        if before == status:
            return None
        now = asyncio.get_running_loop().time()
        due = self._written.get(key, 0.0) + _COUNTS_SECONDS
        if now < due and not urgent(before, status):
            return due - now
        self._written[key] = now
        meta = raw["metadata"]
        # The uid makes the server refuse it where a new job of the same name has come meanwhile.
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
                return None  # the job is gone, or another one of its name is there: the watch will show it
            raise
        for turn in turns(before, status):
            self._events.post(make_event(raw, turn, now=self._now()))
        self._jobs.remember(answer)
        self._queue.add(key)  # the answer may carry a change of the job that the watch has not shown yet
        return None

    def _plan(self, key: str, raw: Object) -> Plan | Obstacle:
        edition = (raw["metadata"]["uid"], raw["metadata"]["generation"])
        known = self._plans.get(key)
        if known is not None and known[0] == edition:
            return known[1]
        plan = make_plan(raw, runtimes.load())
        self._plans[key] = (edition, plan)
        return plan

    def _living_pods(self, key: str) -> list[Object]:
        pods = self._pods.get(key, {}).values()
        return [
            pod
            for pod in pods
            if not pod["metadata"].get("deletionTimestamp") and pod["status"]["phase"] not in ("Failed", "Succeeded")
        ]

    def _now(self) -> str:
        return self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")


def _matters(job: Object) -> tuple[object, ...]:
    """Return what a run depends on; managed fields and labels are not among it."""
    meta = job["metadata"]
    return meta["uid"], meta["generation"], meta.get("deletionTimestamp"), job.get("status")
