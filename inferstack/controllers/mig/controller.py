"""The loop: observe, decide, write down, act.

One rollout is carried out at a time, the oldest first: two at once would each count the other's nodes as there. Nodes,
pods and budgets are watched only while there is one.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from inferstack.api import MigRolloutSpec, MigRolloutStatus, Phase, constants
from inferstack.api.labels import MANAGER
from inferstack.apimachinery.rfc3339 import format_time
from inferstack.controllers.mig import status as telling
from inferstack.controllers.mig.carry_out import Hand
from inferstack.controllers.mig.decide import decide
from inferstack.controllers.mig.observe import Observed
from inferstack.controllers.mig.orphans import Orphans
from inferstack.k8s import ApiError, KubeClient
from inferstack.k8s.events import EventWriter, make_event
from inferstack.k8s.informer import TROUBLE, Informer

Object = dict[str, Any]

_SETTLE_SECONDS = 0.1
"""Changes come in bursts; one look answers a burst."""
_LOOK_SECONDS = 1.0
"""How often time-outs and windows are looked at."""
_LIST_SECONDS = 0.1
_FIRST_WAIT, _LONGEST_WAIT = 0.2, 10.0
_FLAW_SECONDS = 30.0

_LOG = logging.getLogger("operator.mig")


class MigRollouts:
    """All rollouts in view.

    Args:
        kube: connected client.
        clock: returns the time, with time zone.
    """

    def __init__(self, kube: KubeClient, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._kube, self._clock = kube, clock
        self._woken = asyncio.Event()
        self._rollouts = Informer(
            kube,
            constants.API_VERSION,
            constants.ROLLOUT_KIND,
            on_change=self._changed,
            optional=True,  # the operator serves jobs where this kind is not installed
        )
        self._events = EventWriter(kube)
        self._hand = Hand(kube)
        self._orphans = Orphans(kube, self._rollouts)
        self._observed: Observed | None = None
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
                self._woken.clear()
                wait = await self._turn()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(wait):
                        await self._woken.wait()
                await asyncio.sleep(_SETTLE_SECONDS)
        finally:
            await self._stop_watching()

    async def _turn(self) -> float | None:
        """Look once; return the seconds after which to look again, None: when something changes."""
        try:
            wait: float | None = await self._look()
        except TROUBLE as error:
            self._failures += 1
            wait = min(_FIRST_WAIT * 2 ** (self._failures - 1), _LONGEST_WAIT)
            level = logging.DEBUG if self._failures == 1 else logging.WARNING
            _LOG.log(level, "%s: %s; again in %.1f s", type(error).__name__, error, wait)
            return wait
        except Exception:  # noqa: BLE001  # a flaw that a rollout brings to light must not stop the jobs
            _LOG.exception("unexpected error; again in %.0f s", _FLAW_SECONDS)
            return _FLAW_SECONDS
        self._failures = 0
        return wait

    async def _look(self) -> float | None:
        again: float | None = await self._orphans.release()
        waiting = sorted((one for one in self._rollouts.objects.values() if not _ended(one)), key=_turn)
        if not waiting:
            await self._stop_watching()
            return again
        first, *others = waiting
        for other in others:
            await self._queue(other, f"waits for the rollout {first['metadata']['name']}")
        observed = self._watch()
        if not observed.synced:
            return _LIST_SECONDS
        return await self._carry_on(first, observed)

    async def _carry_on(self, rollout: Object, observed: Observed) -> float:
        meta = rollout["metadata"]
        try:
            spec = MigRolloutSpec.model_validate(rollout["spec"])
            before = _status(rollout)
        except ValidationError as error:
            why = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()[:3])
            await self._say(rollout, None, self._other(rollout, Phase.FAILED, f"cannot be read: {why}", None))
            return _LOOK_SECONDS
        now = self._clock()
        decision = decide(meta["name"], spec, before, await observed.look(), now)
        after = telling.make_status(decision, generation=meta["generation"], before=before, now=now)
        # What is about to be done is written first: whoever comes after us must find it.
        if not await self._say(rollout, before, after):
            return _LIST_SECONDS
        await self._hand.carry_out(meta["name"], decision.actions, observed.nodes)
        return _SETTLE_SECONDS if decision.actions else _LOOK_SECONDS

    async def _queue(self, rollout: Object, why: str) -> None:
        before = _status(rollout)
        await self._say(rollout, before, self._other(rollout, Phase.PENDING, why, before))

    def _other(self, rollout: Object, phase: Phase, message: str, before: MigRolloutStatus | None) -> MigRolloutStatus:
        generation = rollout["metadata"]["generation"]
        return telling.make_other(phase, message, generation=generation, before=before, now=self._clock())

    async def _say(self, rollout: Object, before: MigRolloutStatus | None, after: MigRolloutStatus) -> bool:
        """Write the status if it changed; returns whether it stands, or someone was there before us."""
        if before == after:
            return True
        meta = rollout["metadata"]
        # The version makes the server refuse it where the rollout was changed meanwhile, by another operator even.
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
        for turn in telling.turns(before, after):
            _LOG.info("%s: %s: %s", meta["name"], turn.reason, turn.message)
            self._events.post(make_event(rollout, turn, now=now, kind=constants.ROLLOUT_KIND))
        return True

    def _changed(self, _before: Object | None, after: Object | None) -> None:
        if after is None or _ended(after):
            self._orphans.look_again()
        self._woken.set()

    def _watch(self) -> Observed:
        if self._watching is not None and self._watching.done():
            ended, self._observed, self._watching = self._watching, None, None
            ended.result()  # it ends only by a flaw: let it be seen
        if self._observed is None:
            self._observed = Observed(self._kube, self._woken.set)
            self._watching = asyncio.create_task(self._observed.run())
        return self._observed

    async def _stop_watching(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait([self._watching])
        self._observed = self._watching = None


def _status(rollout: Object) -> MigRolloutStatus | None:
    raw = rollout.get("status")
    return MigRolloutStatus.model_validate(raw) if raw else None


def _turn(rollout: Object) -> tuple[bool, str, str]:
    """Return what orders rollouts: whose turn it is keeps it, then the oldest; times of creation are whole seconds."""
    meta, phase = rollout["metadata"], (rollout.get("status") or {}).get("phase")
    return phase in (None, Phase.PENDING.value), meta["creationTimestamp"], meta["name"]


def _ended(rollout: Object) -> bool:
    """Tell whether nothing more is done for a rollout: it is over, or about to be deleted."""
    phase = Phase((rollout.get("status") or {}).get("phase", Phase.PENDING))
    return phase.final or "deletionTimestamp" in rollout["metadata"]
