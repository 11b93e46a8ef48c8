"""The control loop over all jobs: observe, decide, share the GPUs, publish.

Three tasks run concurrently. A round every few seconds queries the current load of all jobs and decides. A second task
extends the history and calibrates the capacity of replicas, once per history step. A third has a worker process compute
forecasts. A round never waits for the other two.

Without an answer from Prometheus, or without series of a job, there is no new decision: the last one expires and the
operator falls back to the job's own bounds. The same happens if this process is gone.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping

from inferstack.controllers.scaling import status
from inferstack.controllers.scaling.budget import share_gpus
from inferstack.controllers.scaling.collector import Collector, LoopSettings
from inferstack.controllers.scaling.decision import JobDecision, JobState, Observation, PredictiveJob, decide_job
from inferstack.controllers.scaling.forecasts import ForecastRequest, ForecastWorker
from inferstack.controllers.scaling.metrics import FailureLog, ScalerMetrics
from inferstack.controllers.scaling.prometheus import Prometheus, PrometheusError
from inferstack.controllers.scaling.publisher import Publisher
from inferstack.controllers.scaling.status import NoDecision
from inferstack.k8s import KubeClient
from inferstack.scaling.plan import INTERVAL

_LOG = logging.getLogger("scaler")


class Scaler:
    """The controller.

    Args:
        kube: connected client.
        prometheus: client of Prometheus.
        settings: periods of the loop.
        namespace: namespace to serve; None for all.
        clock: returns seconds since the epoch.
    """

    def __init__(
        self,
        kube: KubeClient,
        prometheus: Prometheus,
        settings: LoopSettings,
        namespace: str | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.metrics = ScalerMetrics()
        self.collector = Collector(kube, prometheus, settings, namespace, clock)
        self._failures = FailureLog(self.metrics)
        self.publisher = Publisher(kube, self.collector.jobs, settings.validity, self.metrics, self._failures, clock)
        self._prometheus, self._settings, self._clock = prometheus, settings, clock
        self._forecasts = ForecastWorker(self.metrics)
        self._last_round: float | None = None

    async def run(self) -> None:
        """Run until cancelled. Until a job requests predictive scaling, only jobs are watched."""
        collector, interval = self.collector, self._settings.interval
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(collector.jobs.run())
                await collector.jobs.synced.wait()
                while not collector.predictive_jobs():
                    self._last_round = self._clock()
                    await asyncio.sleep(interval)
                _LOG.info("first job with predictive scaling: watching pods, nodes and Prometheus")
                await collector.start(group)
                group.create_task(self.publisher.events.run())
                group.create_task(self._update_history())
                group.create_task(self._update_forecasts())
                while True:
                    began = asyncio.get_running_loop().time()
                    await self.round()
                    duration = asyncio.get_running_loop().time() - began
                    await asyncio.sleep(max(0.0, interval - duration))
        finally:
            self._forecasts.close()

    def unhealthy_reason(self) -> str | None:
        """Return why the scaler is unhealthy, None if it is healthy. An unreachable Prometheus is no reason."""
        if not self.collector.jobs.synced.is_set():
            return "the first list of InferenceJobs has not completed: check the CRD and the scaler's ClusterRole"
        limit = 10 * self._settings.interval + 60
        if self._last_round is not None and self._clock() - self._last_round > limit:
            return f"no round has completed for more than {limit:.0f} s"
        return None

    async def round(self) -> None:
        """Observe all jobs once, decide, and publish what has changed."""
        began = time.monotonic()
        now = self._clock()
        jobs = self.collector.predictive_jobs()
        self.collector.forget_deleted_jobs()
        outcomes: dict[str, JobDecision | NoDecision] = {}
        if jobs:
            try:
                observations = await self.collector.observe(jobs)
            except PrometheusError as error:
                self._failures.failed("prometheus", error)
                outcomes = dict.fromkeys(jobs, NoDecision(status.UNREACHABLE, str(error)))
            else:
                self._failures.succeeded("prometheus")
                outcomes = await self._decide(jobs, observations, now)
        asleep = {key for key in outcomes if self.collector.is_scaled_to_zero(key)}
        await self.publisher.publish(jobs, outcomes, asleep, now)
        self._last_round = self._clock()
        duration = time.monotonic() - began
        metrics = self.metrics
        metrics.jobs, metrics.rounds, metrics.last_round_seconds = len(jobs), metrics.rounds + 1, duration
        metrics.round_seconds += duration
        metrics.questions, metrics.question_seconds = self._prometheus.queries, self._prometheus.query_seconds

    async def _decide(
        self, jobs: Mapping[str, PredictiveJob], observations: Mapping[str, Observation], now: float
    ) -> dict[str, JobDecision | NoDecision]:
        outcomes: dict[str, JobDecision | NoDecision] = {}
        for key, job in jobs.items():
            state = self.collector.state(job, now)
            forecast = self._forecasts.latest.get(key)
            history = self.collector.history.arrivals(key)
            try:
                outcomes[key] = decide_job(now, job.spec, job.predictive, observations[key], state, history, forecast)
            except Exception:  # noqa: BLE001  # an error in one job must not stop the others
                _LOG.exception("%s: unexpected error in the decision", key)
                self.metrics.errors["decision"] += 1
            await asyncio.sleep(0)  # serve health and metrics between two jobs
        members = {key: self.collector.pool_member(jobs[key], observations[key]) for key in outcomes}
        return share_gpus(outcomes, members, self.collector.gpu_pools(jobs))

    async def _update_history(self) -> None:
        """Update the history once per step, and more often until all of the history is there."""
        step, interval = self._settings.step, self._settings.interval
        while True:
            missing = False
            try:
                missing = await self.collector.update_history()
            except PrometheusError as error:
                self._failures.failed("prometheus", error)
            now = self._clock()
            next_step = (math.floor(now / step) + 1) * step - now
            await asyncio.sleep(min(interval, next_step) if missing else next_step + interval / 10)

    async def _update_forecasts(self) -> None:
        """Update the forecasts of all jobs once per history step."""
        while True:
            requests = {}
            for key, job in self.collector.predictive_jobs().items():
                history = self.collector.history.arrivals(key)
                if len(history.rates):
                    state = self.collector.state(job, self._clock())
                    requests[key] = ForecastRequest(history, self._forecast_steps(state, job), _confidence(job))
            await self._forecasts.update(requests)
            await asyncio.sleep(self._settings.step)

    def _forecast_steps(self, state: JobState, job: PredictiveJob) -> int:
        """Return the number of steps to forecast, a power of two: a longer horizon means selecting a model again."""
        cold_start = state.cold_start.quantile(_confidence(job))
        # A cold start, the time for which a replica is kept after it, and the time to the next forecast but one.
        return 1 << math.ceil(math.log2((2 * cold_start + INTERVAL) / self._settings.step + 4))


def _confidence(job: PredictiveJob) -> float:
    return job.predictive.slo.confidence_percent / 100
