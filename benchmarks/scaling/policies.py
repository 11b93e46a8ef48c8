"""The policies that are compared. All see the same scrapes and act through replicas only.

- ``HPA``: Kubernetes' algorithm with its defaults and the default utilisation target of 80 %, on the requests in work
  and waiting of each replica (the best metric of those tried: finished requests saturate just when more are needed).
- ``HPA at 95%``: the same with a target as high as a person might dare.
- ``KEDA``: its defaults; the same metric in total, as of a Prometheus trigger, and to zero after the cool-down.
- ``static peak``: as many as the busiest minute of the past needs, always.
- ``Inferstack``: `inferstack.scaling.plan.decide` after each scrape; an HPA with what it decides is the executor.
- ``oracle``: a schedule made with the future known, see `benchmarks.scaling.oracle`.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from benchmarks.scaling.traces import MINUTE, Array
from inferstack.scaling import reactive
from inferstack.scaling.model import Bounds, Decision, Forecaster, History, Service, Slo, State
from inferstack.scaling.plan import decide
from inferstack.scaling.simulate import View

EPSILON = 1e-6
BUDGET = 240
"""Scrapes over which the error budget is looked at: an hour."""
WINDOW = 1
"""Scrapes whose requests make the present rate."""


class Every:
    """Tells when something is due that happens at fixed intervals."""

    def __init__(self, seconds: float, phase: float = 0.0) -> None:
        self.seconds = seconds
        self.next = phase

    def due(self, now: float) -> bool:
        """Tell whether it is, and wait for the next."""
        if now < self.next - EPSILON:
            return False
        self.next += self.seconds
        return True


def pods(view: View, load: float) -> reactive.Pods:
    """Return the metric of each pod: those that start run already, but have none."""
    return reactive.Pods([load / view.ready] * view.ready, missing=view.replicas - view.ready)


class Hpa:
    """Kubernetes' HPA."""

    def __init__(self, slots: int, most: int, utilisation: float = reactive.UTILISATION) -> None:
        self.name = "HPA" if utilisation == reactive.UTILISATION else f"HPA at {utilisation:.0%}"
        self._spec = reactive.Spec(1, most)
        self._target = utilisation * slots
        self._memory = reactive.Memory()
        self._sync = Every(reactive.SYNC_SECONDS)

    def act(self, view: View) -> int:
        """Sync every 15 s."""
        if not self._sync.due(view.now) or not view.loads:
            return view.replicas
        asked = reactive.from_pods(view.replicas, self._target, pods(view, view.load))
        replicas, self._memory = reactive.step(view.now, self._spec, self._memory, view.replicas, [asked])
        return replicas


class Keda:
    """KEDA and its HPA."""

    def __init__(self, slots: int, most: int) -> None:
        self.name = "KEDA"
        self._keda = reactive.Keda()
        self._active = 0.0
        self._poll = Every(reactive.KEDA_POLLING_SECONDS)
        self._spec = reactive.Spec(1, most)
        self._target = reactive.UTILISATION * slots
        self._memory = reactive.Memory()
        self._sync = Every(reactive.SYNC_SECONDS)

    def act(self, view: View) -> int:
        """Poll every 30 s, sync every 15 s."""
        replicas = view.replicas
        if not view.loads:
            return replicas
        if self._poll.due(view.now):
            own, self._active = self._keda.step(view.now, replicas, view.load, self._active)
            replicas = replicas if own is None else own
        if self._sync.due(view.now) and replicas:
            asked = reactive.from_total(replicas, self._target, view.load)
            replicas, self._memory = reactive.step(view.now, self._spec, self._memory, replicas, [asked])
        return replicas


class Schedule:
    """Replicas that were written down beforehand."""

    def __init__(self, name: str, changes: Sequence[tuple[float, int]]) -> None:
        self.name = name
        self._times = [when for when, _ in changes]
        self._counts = [count for _, count in changes]

    def act(self, view: View) -> int:
        """Follow the plan."""
        return self._counts[max(bisect.bisect_right(self._times, view.now + EPSILON) - 1, 0)]


class Ours:
    """Inferstack's decision, carried out by an HPA."""

    def __init__(
        self, service: Service, slo: Slo, bounds: Bounds, forecaster: Forecaster | None, past: Array, *, name: str
    ) -> None:
        self.name = name
        self.service, self.slo, self.bounds, self.forecaster = service, slo, bounds, forecaster
        self._past = past.tolist()
        self._begin = -MINUTE * len(past)
        self._sync = Every(reactive.SYNC_SECONDS)
        self._memory = reactive.Memory()
        self._seen = 0
        self._at_minute: list[tuple[float, int]] = [(0.0, 0)]
        self._last_request: float | None = None
        self.decision: Decision | None = None
        self.reasons: dict[str, int] = {}

    def act(self, view: View) -> int:
        """Decide after each scrape; the HPA syncs every 15 s."""
        replicas = view.replicas
        if len(view.loads) > self._seen:
            self._seen = len(view.loads)
            replicas = self._decide(view)
        if self._sync.due(view.now) and self.decision is not None and replicas:
            made = self.decision
            asked = reactive.from_pods(replicas, made.target, pods(view, average(view)))
            down = reactive.Rules(made.behavior["scaleDown"]["stabilizationWindowSeconds"], reactive.DOWN.policies)
            spec = reactive.Spec(made.min_replicas, made.max_replicas, down=down)
            replicas, self._memory = reactive.step(view.now, spec, self._memory, replicas, [asked])
        return replicas

    def _decide(self, view: View) -> int:
        now, arrived = view.arrived[-1]
        while now - self._at_minute[-1][0] >= MINUTE:
            # Scrapes are not on the minute: the nearest one counts, with its own length.
            began, before = self._at_minute[-1]
            when, count = next(one for one in view.arrived if one[0] >= began + MINUTE - EPSILON)
            self._past.append((count - before) / (when - began))
            self._at_minute.append((when, count))
        recent = view.arrived[-1 - WINDOW] if len(view.arrived) > WINDOW else (0.0, 0)
        if len(view.arrived) < 2 or arrived > view.arrived[-2][1]:
            self._last_request = now
        made = self.decision
        state = State(
            replicas=view.replicas,
            ready=view.ready,
            load=average(view),
            waiting=view.waiting,
            rate=(arrived - recent[1]) / (now - recent[0]),
            rate_seconds=now - recent[0],
            missed=self._missed(view),
            last_request=self._last_request,
            memory=made.memory if made else reactive.Memory(),
            floors=made.floors if made else (),
        )
        history = History(self._begin, MINUTE, self._past)
        self.decision = decide(now, history, self.service, self.slo, self.bounds, state, self.forecaster)
        self.reasons[self.decision.reason.value] = self.reasons.get(self.decision.reason.value, 0) + 1
        return view.replicas if self.decision.replicas is None else self.decision.replicas

    @staticmethod
    def _missed(view: View) -> float | None:
        """Return the share of late first tokens of the last hour."""
        until = view.begun[-1]
        since = view.begun[-1 - BUDGET] if len(view.begun) > BUDGET else (0, 0)
        count = until[0] - since[0]
        return 1 - (until[1] - since[1]) / count if count else None


def average(view: View) -> float:
    """Return the load over the last minute of scrapes, as ``avg_over_time`` would."""
    recent = view.loads[-4:]
    return sum(recent) / len(recent)
