"""The loop of the controller: observe, decide, write the status, act.

Rollouts run one at a time, the oldest first: two at once would each count on the other's nodes. Nodes, pods and budgets
are watched only during a rollout.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import UTC, datetime

from pydantic import ValidationError

from inferstack.api import MigRolloutSpec, MigRolloutStatus, Phase, constants
from inferstack.api.labels import MANAGER
from inferstack.apimachinery.objects import Object
from inferstack.apimachinery.rfc3339 import format_time
from inferstack.controllers.mig.decision import decide
from inferstack.controllers.mig.executor import ActionExecutor
from inferstack.controllers.mig.informers import ClusterInformers
from inferstack.controllers.mig.orphans import Orphans
from inferstack.controllers.mig.status import make_status, make_undecided_status, transitions
from inferstack.k8s import ApiError, KubeClient
from inferstack.k8s.events import EventWriter, make_event
from inferstack.k8s.informer import REQUEST_ERRORS, Informer

_SETTLE_SECONDS = 0.1
"""Changes come in bursts; one run answers a burst."""
_POLL_SECONDS = 1.0
"""Interval at which timeouts and maintenance windows are checked."""
_LIST_SECONDS = 0.1
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 10.0
_ERROR_SECONDS = 30.0
_MOST_ERRORS = 3
"""Validation errors that a message lists."""

_LOG = logging.getLogger("operator.mig")


class RolloutController:
    """The controller of MigRollouts.

    Args:
        kube: connected client.
        clock: returns the time, with time zone.
    """

    def __init__(self, kube: KubeClient, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._kube, self._clock = kube, clock
        self._changed = asyncio.Event()
        self._rollouts = Informer(
            kube,
            constants.API_VERSION,
            constants.ROLLOUT_KIND,
            on_change=self._rollout_changed,
            optional=True,  # jobs are served where this kind is not installed
        )
        self._events = EventWriter(kube)
        self._executor = ActionExecutor(kube)
        self._orphans = Orphans(kube, self._rollouts)
        self._cluster: ClusterInformers | None = None
        self._watching: asyncio.Task[None] | None = None
        self._failures = 0

    async def run(self) -> None:
        """Work until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._rollouts.run())
            group.create_task(self._events.run())
            group.create_task(self._work())

    async def _work(self) -> None:
        await self._rollouts.synced.wait()
        try:
            while True:
                self._changed.clear()
                wait = await self._attempt()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._changed.wait()
                await asyncio.sleep(_SETTLE_SECONDS)
        finally:
            await self._stop_watching()

    async def _attempt(self) -> float | None:
        """Reconcile once; return the seconds after which to do so again, None for the next change."""
        try:
            requeue_after = await self._reconcile()
        except REQUEST_ERRORS as error:
            self._failures += 1
            wait: float = min(_FIRST_WAIT * 2 ** (self._failures - 1), _LONGEST_WAIT)
            level = logging.DEBUG if self._failures == 1 else logging.WARNING
            _LOG.log(level, "%s: %s; next attempt in %.1f s", type(error).__name__, error, wait)
            return wait
        except Exception:  # noqa: BLE001  # a bug that a rollout brings to light must not stop the jobs
            _LOG.exception("unexpected error; next attempt in %.0f s", _ERROR_SECONDS)
            return _ERROR_SECONDS
        self._failures = 0
        return requeue_after

    async def _reconcile(self) -> float | None:
        requeue_after: float | None = await self._orphans.release()
        unfinished = sorted((obj for obj in self._rollouts.objects.values() if not _finished(obj)), key=_order)
        if not unfinished:
            await self._stop_watching()
            return requeue_after
        current, *others = unfinished
        for other in others:
            before = _status(other)
            message = f"waiting for the rollout {current['metadata']['name']}"
            await self._write_status(other, before, self._undecided(other, Phase.PENDING, message, before))
        cluster = self._watch()
        if not cluster.synced:
            return _LIST_SECONDS
        return await self._advance(current, cluster)

    async def _advance(self, rollout: Object, cluster: ClusterInformers) -> float:
        meta = rollout["metadata"]
        try:
            spec = MigRolloutSpec.model_validate(rollout["spec"])
            before = _status(rollout)
        except ValidationError as error:
            problems = (f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()[:_MOST_ERRORS])
            message = f"invalid: {'; '.join(problems)}"
            await self._write_status(rollout, None, self._undecided(rollout, Phase.FAILED, message, None))
            return _POLL_SECONDS
        now = self._clock()
        decision = decide(meta["name"], spec, before, await cluster.state(), now)
        after = make_status(decision, generation=meta["generation"], before=before, now=now)
        # The status first: the operator's next process must find what this one was about to do.
        if not await self._write_status(rollout, before, after):
            return _LIST_SECONDS
        await self._executor.execute(meta["name"], decision.actions, cluster.nodes)
        return _SETTLE_SECONDS if decision.actions else _POLL_SECONDS

    def _undecided(
        self, rollout: Object, phase: Phase, message: str, before: MigRolloutStatus | None
    ) -> MigRolloutStatus:
        generation = rollout["metadata"]["generation"]
        return make_undecided_status(phase, message, generation=generation, before=before, now=self._clock())

    async def _write_status(self, rollout: Object, before: MigRolloutStatus | None, after: MigRolloutStatus) -> bool:
        """Write the status if it changed; return False if the rollout was changed or deleted meanwhile."""
        if before == after:
            return True
        meta = rollout["metadata"]
        # With the resourceVersion, the API server refuses the write if the rollout was changed meanwhile.
        body = {"metadata": {key: meta[key] for key in ("uid", "resourceVersion")}, "status": after.manifest()}
        try:
            answer = await self._kube.patch(
                constants.API_VERSION,
                constants.ROLLOUT_KIND,
                meta["name"],
                body,
                subresource="status",
                field_manager=MANAGER,
            )
        except ApiError as error:
            if error.not_found or error.conflict:
                return False
            raise
        self._rollouts.remember(answer)
        now = format_time(self._clock())
        for transition in transitions(before, after):
            _LOG.info("%s: %s: %s", meta["name"], transition.reason, transition.message)
            self._events.post(make_event(rollout, transition, now=now, kind=constants.ROLLOUT_KIND))
        return True

    def _rollout_changed(self, _before: Object | None, after: Object | None) -> None:
        if after is None or _finished(after):
            self._orphans.check_soon()
        self._changed.set()

    def _watch(self) -> ClusterInformers:
        if self._watching is not None and self._watching.done():
            ended, self._cluster, self._watching = self._watching, None, None
            ended.result()  # a task that watches ends only by an error, which must show
        if self._cluster is None:
            self._cluster = ClusterInformers(self._kube, self._changed.set)
            self._watching = asyncio.create_task(self._cluster.run())
        return self._cluster

    async def _stop_watching(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        self._cluster = self._watching = None


def _status(rollout: Object) -> MigRolloutStatus | None:
    raw = rollout.get("status")
    return MigRolloutStatus.model_validate(raw) if raw else None


def _order(rollout: Object) -> tuple[bool, str, str]:
    """Return the sort key: a rollout that has begun stays first, then the oldest; creation times are whole seconds."""
    meta, phase = rollout["metadata"], (rollout.get("status") or {}).get("phase")
    return phase in (None, Phase.PENDING.value), meta["creationTimestamp"], meta["name"]


def _finished(rollout: Object) -> bool:
    """Return whether nothing more is done for a rollout: it has ended, or is being deleted."""
    phase = Phase((rollout.get("status") or {}).get("phase", Phase.PENDING))
    return phase.final or "deletionTimestamp" in rollout["metadata"]
