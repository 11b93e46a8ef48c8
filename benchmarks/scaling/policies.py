"""The compared policies. All see the same scrapes and act only through the number of replicas.

- ``HPA``: the algorithm of Kubernetes with its defaults and a utilization target of 80%, on the running and queued
  requests of each replica (the best of the metrics tried: finished requests saturate just when replicas are needed).
- ``HPA at 95%``: the same with a high utilization target.
- ``KEDA``: its defaults, with the total of the same metric as of a Prometheus trigger, and scaling to zero.
- ``static peak``: always the replicas for the busiest minute of the past.
- ``Inferstack``: `inferstack.scaling.plan.decide` after each scrape; an HPA executes the decision.
- ``oracle``: a schedule computed with the future known, see `benchmarks.scaling.oracle`.
"""

from __future__ import annotations

import bisect
from collections.abc import Sequence

from benchmarks.scaling.traces import MINUTE, Array
from inferstack.scaling import reactive
from inferstack.scaling.model import Bounds, Decision, Forecaster, History, ObservedState, Service, Slo
from inferstack.scaling.plan import decide
from inferstack.scaling.simulate import View

EPSILON = 1e-6
BUDGET = 240
"""Window of the error budget in scrapes: an hour."""
WINDOW = 1
"""Window of the current arrival rate in scrapes."""


class Ticker:
    """Fires at fixed intervals."""

    def __init__(self, seconds: float, phase: float = 0.0) -> None:
        self.seconds = seconds
        self.next = phase

    def due(self, now: float) -> bool:
        """Return whether the ticker fires now."""
        if now < self.next - EPSILON:
            return False
        self.next += self.seconds
        return True


def pods(view: View, load: float) -> reactive.Pods:
    """Return the metric of each pod: starting pods run, but have no metric yet."""
    return reactive.Pods([load / view.ready] * view.ready, missing=view.replicas - view.ready)


class Hpa:
    """Kubernetes' HPA."""

    def __init__(self, slots: int, limit: int, utilization: float = reactive.UTILIZATION) -> None:
        self.name = "HPA" if utilization == reactive.UTILIZATION else f"HPA at {utilization:.0%}"
        self._spec = reactive.HpaSpec(1, limit)
        self._target = utilization * slots
        self._hpa_state = reactive.HpaState()
        self._sync = Ticker(reactive.SYNC_SECONDS)

    def act(self, view: View) -> int:
        """Sync every 15 s."""
        if not self._sync.due(view.now) or not view.loads:
            return view.replicas
        proposal = reactive.from_pods(view.replicas, self._target, pods(view, view.load))
        replicas, self._hpa_state = reactive.step(view.now, self._spec, self._hpa_state, view.replicas, [proposal])
        return replicas


class Keda:
    """KEDA and its HPA."""

    def __init__(self, slots: int, limit: int) -> None:
        self.name = "KEDA"
        self._keda = reactive.Keda()
        self._active = 0.0
        self._poll = Ticker(reactive.KEDA_POLLING_SECONDS)
        self._spec = reactive.HpaSpec(1, limit)
        self._target = reactive.UTILIZATION * slots
        self._hpa_state = reactive.HpaState()
        self._sync = Ticker(reactive.SYNC_SECONDS)

    def act(self, view: View) -> int:
        """Poll every 30 s, sync every 15 s."""
        replicas = view.replicas
        if not view.loads:
            return replicas
        if self._poll.due(view.now):
            keda_replicas, self._active = self._keda.step(view.now, replicas, view.load, self._active)
            replicas = replicas if keda_replicas is None else keda_replicas
        if self._sync.due(view.now) and replicas:
            proposal = reactive.from_total(replicas, self._target, view.load)
            replicas, self._hpa_state = reactive.step(view.now, self._spec, self._hpa_state, replicas, [proposal])
        return replicas


class Schedule:
    """A fixed schedule of replicas."""

    def __init__(self, name: str, changes: Sequence[tuple[float, int]]) -> None:
        self.name = name
        self._times = [when for when, _ in changes]
        self._counts = [count for _, count in changes]

    def act(self, view: View) -> int:
        """Follow the schedule."""
        return self._counts[max(bisect.bisect_right(self._times, view.now + EPSILON) - 1, 0)]


class Inferstack:
    """The decision of Inferstack, executed by an HPA."""

    def __init__(
        self, service: Service, slo: Slo, bounds: Bounds, forecaster: Forecaster | None, past: Array, *, name: str
    ) -> None:
        self.name = name
        self.service, self.slo, self.bounds, self.forecaster = service, slo, bounds, forecaster
        self._past = past.tolist()
        self._history_start = -MINUTE * len(past)
        self._sync = Ticker(reactive.SYNC_SECONDS)
        self._hpa_state = reactive.HpaState()
        self._scrapes = 0
        self._at_minute: list[tuple[float, int]] = [(0.0, 0)]
        self._last_request: float | None = None
        self.decision: Decision | None = None
        self.reasons: dict[str, int] = {}

    def act(self, view: View) -> int:
        """Decide after each scrape; the HPA syncs every 15 s."""
        replicas = view.replicas
        if len(view.loads) > self._scrapes:
            self._scrapes = len(view.loads)
            replicas = self._decide(view)
        if self._sync.due(view.now) and self.decision is not None and replicas:
            decision = self.decision
            proposal = reactive.from_pods(replicas, decision.target, pods(view, average(view)))
            down = reactive.ScalingRules(
                decision.behavior["scaleDown"]["stabilizationWindowSeconds"], reactive.DOWN.policies
            )
            spec = reactive.HpaSpec(decision.min_replicas, decision.max_replicas, down=down)
            replicas, self._hpa_state = reactive.step(view.now, spec, self._hpa_state, replicas, [proposal])
        return replicas

    def _decide(self, view: View) -> int:
        now, arrived = view.arrived[-1]
        while now - self._at_minute[-1][0] >= MINUTE:
            # Scrapes are not aligned to minutes: use the nearest one, with its actual interval.
            start, previous = self._at_minute[-1]
            when, count = next(scrape for scrape in view.arrived if scrape[0] >= start + MINUTE - EPSILON)
            self._past.append((count - previous) / (when - start))
            self._at_minute.append((when, count))
        recent = view.arrived[-1 - WINDOW] if len(view.arrived) > WINDOW else (0.0, 0)
        if len(view.arrived) < 2 or arrived > view.arrived[-2][1]:
            self._last_request = now
        previous_decision = self.decision
        state = ObservedState(
            replicas=view.replicas,
            ready=view.ready,
            load=average(view),
            waiting=view.waiting,
            rate=(arrived - recent[1]) / (now - recent[0]),
            rate_seconds=now - recent[0],
            missed=self._missed(view),
            last_request=self._last_request,
            hpa_state=previous_decision.hpa_state if previous_decision else reactive.HpaState(),
            floors=previous_decision.floors if previous_decision else (),
        )
        history = History(self._history_start, MINUTE, self._past)
        self.decision = decide(now, history, self.service, self.slo, self.bounds, state, self.forecaster)
        self.reasons[self.decision.reason.value] = self.reasons.get(self.decision.reason.value, 0) + 1
        return view.replicas if self.decision.replicas is None else self.decision.replicas

    @staticmethod
    def _missed(view: View) -> float | None:
        """Return the fraction of late first tokens of the last hour."""
        until = view.started[-1]
        since = view.started[-1 - BUDGET] if len(view.started) > BUDGET else (0, 0)
        count = until[0] - since[0]
        return 1 - (until[1] - since[1]) / count if count else None


def average(view: View) -> float:
    """Return the mean load of the last minute of scrapes, as ``avg_over_time`` would."""
    recent = view.loads[-4:]
    return sum(recent) / len(recent)
