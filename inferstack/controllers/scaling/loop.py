"""All jobs, again and again: look, decide, share, write.

Three things go on at a time. A round every few seconds asks Prometheus for the present, of all jobs at once, and
decides. Beside it the past is kept up and what a replica can do is measured, once in a step of the history. A worker
process foresees. A round never waits for the other two.

Where Prometheus does not answer, or has nothing of a job, there is no new decision: the last one ends at its time, and
the operator goes back to what the job itself says. The same happens where this process is gone.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from inferstack.api import InferenceJobSpec, Predictive, constants, runtimes
from inferstack.api.labels import OURS, SCALER, Object
from inferstack.api.runtimes import Runtime
from inferstack.controllers.scaling import calibrate, cluster, deciding, measuring, signals, status
from inferstack.controllers.scaling.archive import Archive
from inferstack.controllers.scaling.deciding import Known, Made, Seen
from inferstack.controllers.scaling.forecasting import Forecasting, Wish
from inferstack.controllers.scaling.measuring import by_job
from inferstack.controllers.scaling.metrics import Counts
from inferstack.controllers.scaling.prometheus import Prometheus, PrometheusError
from inferstack.controllers.scaling.sharing import Member, shared
from inferstack.controllers.scaling.status import Trouble
from inferstack.k8s import KubeClient
from inferstack.k8s.events import EventWriter, make_event
from inferstack.k8s.informer import TROUBLE, Informer
from inferstack.scaling.plan import INTERVAL

DURATION_WINDOWS = 10
"""Times of requests are measured over so many windows of the rates: quantiles need more requests than a rate does."""
RECENT_STEPS = 360
"""Steps by which what a replica can do is measured: 6 h in minutes, after a change of the model its newest half day."""
_WRITERS = 16
_LOG = logging.getLogger("scaler")

Vector = Mapping[str, float]


@dataclass(frozen=True)
class Pace:
    """How often what is done, in seconds."""

    interval: float = 5.0
    """Between two rounds."""
    window: float = 30.0
    """Over which rates are taken; at least four scrapes."""
    validity: float = 60.0
    """For which a decision holds after it was written."""
    step: float = 60.0
    """Of the history."""
    depth: float = 14 * 86400.0
    """Of the history."""


@dataclass(frozen=True)
class Job:
    """A job that asks for predictive scaling."""

    key: str
    raw: Object
    spec: InferenceJobSpec
    predictive: Predictive
    runtime: Runtime

    @property
    def scaling(self) -> Object | None:
        """What is written of it."""
        found: Object | None = (self.raw.get("status") or {}).get("scaling")
        return found


class Scaler:
    """The loop.

    Args:
        kube: connected client.
        prometheus: to ask.
        pace: how often what is done.
        namespace: to serve; None for all.
        clock: returns seconds since the epoch.
    """

    def __init__(
        self,
        kube: KubeClient,
        prometheus: Prometheus,
        pace: Pace,
        namespace: str | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.counts = Counts()
        self._kube, self._prometheus, self._pace, self._clock = kube, prometheus, pace, clock
        self._events = EventWriter(kube, SCALER)
        self._cold = cluster.ColdStarts()
        self._known: dict[str, Known] = {}
        self._specs: dict[str, tuple[tuple[str, int], InferenceJobSpec | None]] = {}
        self._troubles: dict[str, str] = {}
        self._last_round: float | None = None
        self.archive = Archive(
            prometheus,
            step=pace.step,
            depth=max(1, round(pace.depth / pace.step)),
            window=pace.window,
            recent=RECENT_STEPS,
        )
        self._forecasting = Forecasting(self.counts)

        def watch(version: str, kind: str, prune: Callable[[Object], Object], **rest: Any) -> Informer:
            rest = {"on_change": lambda _, __: None, "namespace": namespace, **rest}
            return Informer(kube, version, kind, prune=prune, **rest)

        self.jobs = watch(constants.API_VERSION, constants.KIND, cluster.prune_job)
        self._deployments = watch("apps/v1", "Deployment", cluster.prune_deployment, labels=OURS)
        # All pods of the cluster: who else holds GPUs lies in any namespace.
        self._pods = watch("v1", "Pod", cluster.prune_pod, on_change=self._cold.see, namespace=None)
        self._nodes = watch("v1", "Node", cluster.prune_node, namespace=None)
        self._priorities = watch("scheduling.k8s.io/v1", "PriorityClass", cluster.prune_priority, namespace=None)

    async def run(self) -> None:
        """Work until cancelled. Before the first job asks for it, nothing is watched but jobs."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self.jobs.run())
                await self.jobs.synced.wait()
                while not self.asking():  # a look costs nothing
                    self._last_round = self._clock()
                    await asyncio.sleep(self._pace.interval)
                _LOG.info("the first job asks for predictive scaling: watching pods, nodes and Prometheus")
                others = (self._deployments, self._pods, self._nodes, self._priorities)
                for informer in others:
                    group.create_task(informer.run())
                for informer in others:
                    await informer.synced.wait()
                group.create_task(self._events.run())
                group.create_task(self._keep_up())
                group.create_task(self._foresee())
                while True:
                    began = asyncio.get_running_loop().time()
                    await self.round()
                    took = asyncio.get_running_loop().time() - began
                    await asyncio.sleep(max(0.0, self._pace.interval - took))
        finally:
            self._forecasting.close()

    def problem(self) -> str | None:
        """Return why the scaler does not work, None when it does. A Prometheus that is away is no reason to restart."""
        if not self.jobs.synced.is_set():
            return "the first list of InferenceJobs is not in: is the CRD installed, and may the scaler list?"
        patience = 10 * self._pace.interval + 60
        if self._last_round is not None and self._clock() - self._last_round > patience:
            return f"no round was finished for more than {patience:.0f} s"
        return None

    def asking(self) -> dict[str, Job]:
        """Return the jobs that ask for predictive scaling, by namespace/name."""
        found = {}
        for key, raw in self.jobs.objects.items():
            autoscale = raw["spec"].get("autoscale") or {}
            if not autoscale.get("predictive") or not raw["spec"].get("replicas", 1):
                continue
            spec = self._spec(key, raw)
            if spec and spec.autoscale and spec.autoscale.predictive and "deletionTimestamp" not in raw["metadata"]:
                found[key] = Job(key, raw, spec, spec.autoscale.predictive, runtimes.load().choose(spec))
        return found

    async def round(self) -> None:
        """Look at all jobs once, and write what is new."""
        began = time.monotonic()
        now = self._clock()
        jobs = self.asking()
        for key in [key for key in self._known if key not in self.jobs.objects]:
            del self._known[key]
            self._specs.pop(key, None)
            self._cold.forget(key)
        said: dict[str, Made | Trouble] = {}
        if jobs:
            try:
                seen = await self._look(jobs)
            except PrometheusError as error:
                self._fail("prometheus", error)
                said = dict.fromkeys(jobs, Trouble(status.UNREACHABLE, str(error)))
            else:
                self._well("prometheus")
                said = await self._decide(jobs, seen, now)
        await self._write(jobs, said, now)
        self._last_round = self._clock()
        took = time.monotonic() - began
        counts = self.counts
        counts.jobs, counts.rounds, counts.last_round_seconds = len(jobs), counts.rounds + 1, took
        counts.round_seconds += took
        counts.questions, counts.question_seconds = self._prometheus.asked, self._prometheus.seconds

    async def _look(self, jobs: Mapping[str, Job]) -> dict[str, Seen]:
        asked = signals.Selection.of(jobs, self._pace.window)
        queries = [signals.up(asked), signals.arrivals(asked), signals.running(asked), signals.waiting(asked)]
        if any(job.predictive.idle_seconds is not None for job in jobs.values()):
            queries += [signals.first_knocks(asked), signals.meshed()]
        up, rate, running, waiting, *mesh = await asyncio.gather(*map(self._prometheus.instant, queries))
        knocked = by_job(mesh[0]) if mesh else {}
        meshed = bool(mesh and mesh[1] and mesh[1][0].value > 0)
        vectors = {
            name: by_job(found)
            for name, found in (("up", up), ("rate", rate), ("running", running), ("waiting", waiting))
        }
        return {key: self._seen(job, vectors, knocks=key in knocked, meshed=meshed) for key, job in jobs.items()}

    def _seen(self, job: Job, vectors: Mapping[str, Vector], *, knocks: bool, meshed: bool) -> Seen:
        key = job.key
        live = self._deployments.objects.get(key)
        wanted = live["replicas"] if live else job.spec.replicas
        arriving = vectors["rate"].get(key)
        if wanted == 0 and knocks and not arriving:
            arriving = 1 / self._pace.window
        return Seen(
            replicas=wanted,
            ready=live["ready"] if live else 0,
            up=vectors["up"].get(key),
            rate=arriving,
            running=vectors["running"].get(key),
            waiting=vectors["waiting"].get(key),
            window=self._pace.window,
            meshed=meshed,
        )

    async def _decide(self, jobs: Mapping[str, Job], seen: Mapping[str, Seen], now: float) -> dict[str, Made | Trouble]:
        said: dict[str, Made | Trouble] = {}
        for key, job in jobs.items():
            known = self._knows(job, now)
            forecast = self._forecasting.made.get(key)
            history = self.archive.history(key)
            try:
                said[key] = deciding.make(now, job.spec, job.predictive, seen[key], known, history, forecast)
            except Exception:  # noqa: BLE001  # a flaw that one job brings to light must not stop the others
                _LOG.exception("%s: unexpected error while deciding", key)
                self.counts.errors["decision"] += 1
            await asyncio.sleep(0)  # health and metrics are answered between two jobs
        resources = {key: job.spec.resources.gpu for key, job in jobs.items()}
        pools = cluster.pools(self._nodes.objects.values(), self._pods.objects.values(), resources)
        return shared(said, {key: self._member(jobs[key], seen[key]) for key in said}, pools)

    def _member(self, job: Job, seen: Seen) -> Member:
        return Member(
            resource=job.spec.resources.gpu,
            gpus=job.spec.resources.gpus,
            least=job.spec.autoscale.min_replicas if job.spec.autoscale else 1,
            priority=cluster.priority(job.spec, self._priorities.objects.values()),
            held=seen.replicas,
            warm=job.predictive.warm_replicas,
        )

    def _knows(self, job: Job, now: float) -> Known:
        known = self._known.get(job.key)
        if known is None:
            known = self._known[job.key] = Known(now, capacity=deciding.remembered(job.scaling))
            known.last_request = self.archive.last_arrival(job.key)
        known.cold = self._cold.of(job.key, job.runtime.start_seconds)
        return known

    async def _write(self, jobs: Mapping[str, Job], said: Mapping[str, Made | Trouble], now: float) -> None:
        """Write what is new, and take away what was said of jobs that ask no more."""
        limit = asyncio.Semaphore(_WRITERS)

        async def write(raw: Object, scaling: Object | None) -> None:
            async with limit:
                await self._apply(raw, scaling)

        async with asyncio.TaskGroup() as group:
            for key, word in said.items():
                scaling = self._scaling(jobs[key], word, now)
                self.counts.decisions[scaling["reason"]] += 1
                if status.must_write(jobs[key].scaling, scaling, now, self._pace.validity):
                    group.create_task(write(jobs[key].raw, scaling))
            for key, raw in self.jobs.objects.items():
                if key not in jobs and (raw.get("status") or {}).get("scaling"):
                    group.create_task(write(raw, None))

    def _scaling(self, job: Job, word: Made | Trouble, now: float) -> Object:
        if isinstance(word, Trouble):
            return status.make_trouble(word, job.scaling, now)
        live = self._deployments.objects.get(job.key)
        return status.make_scaling(
            word.decision,
            word.capacity,
            generation=job.raw["metadata"]["generation"],
            asleep=live is not None and live["replicas"] == 0,
            cold=word.cold,
            horizon=word.cold + INTERVAL,
            now=now,
            validity=self._pace.validity,
            beside=word.beside,
        )

    async def _apply(self, raw: Object, scaling: Object | None) -> None:
        meta = raw["metadata"]
        body: Object = {
            "apiVersion": constants.API_VERSION,
            "kind": constants.KIND,
            # The uid makes the server refuse it where a new job of the same name has come meanwhile.
            "metadata": {key: meta[key] for key in ("name", "namespace", "uid")},
        }
        if scaling is not None:
            body["status"] = {"scaling": scaling}
        try:
            answer = await self._kube.apply(body, field_manager=SCALER, subresource="status")
        except TROUBLE as error:
            # Said again in the next round, unless the job is gone.
            self._fail("kubernetes", error)
            return
        self._well("kubernetes")
        self.counts.writes += 1
        if scaling is not None and (turn := status.turn((raw.get("status") or {}).get("scaling"), scaling)):
            now = status.rfc3339(self._clock())
            self._events.post(make_event(raw, turn, now=now, manager=SCALER))
        self.jobs.remember(answer)

    async def _keep_up(self) -> None:
        """Ask for the past once in a step, and until all of it is there."""
        while True:
            missing = False
            try:
                missing = await self.learn()
            except PrometheusError as error:
                self._fail("prometheus", error)
            now = self._clock()
            due = (math.floor(now / self._pace.step) + 1) * self._pace.step - now
            await asyncio.sleep(min(self._pace.interval, due) if missing else due + self._pace.interval / 10)

    async def learn(self) -> bool:
        """Keep the past up and measure what replicas can do; returns whether more of the past is missing.

        Raises:
            PrometheusError: it did not answer; what is known stays.
        """
        jobs, now = self.asking(), self._clock()
        if not jobs:
            self.archive.forget(())
            return False
        created = {key: cluster.seconds(job.raw["metadata"]["creationTimestamp"]) for key, job in jobs.items()}
        missing = await self.archive.extend(created, now)
        work = await measuring.durations(self._prometheus, jobs, self._pace.window * DURATION_WINDOWS)
        missed = await measuring.missed(self._prometheus, {key: job.predictive.slo for key, job in jobs.items()})
        for key, job in jobs.items():
            known = self._knows(job, now)
            known.last_request = max(
                (at for at in (known.last_request, self.archive.last_arrival(key)) if at is not None), default=None
            )
            known.burstiness = calibrate.burstiness(self.archive.history(key))
            known.work |= work.get(key, {})
            known.missed = missed.get(key)
            deciding.measure(known, job.spec, job.runtime.name, self.archive.loads(key))
            await asyncio.sleep(0)
        return missing

    async def _foresee(self) -> None:
        """Have jobs foreseen, once in a step of the history."""
        while True:
            wishes = {}
            for key, job in self.asking().items():
                history = self.archive.history(key)
                if len(history.rates):
                    wishes[key] = Wish(history, self._steps(self._knows(job, self._clock()), job), _confidence(job))
            await self._forecasting.renew(wishes)
            await asyncio.sleep(self._pace.step)

    def _steps(self, known: Known, job: Job) -> int:
        """Return the steps to foresee, in powers of two: with more than before, models are chosen anew."""
        cold = known.cold.quantile(_confidence(job))
        # A start, the time that a replica is kept after it, and until the next forecast but one.
        return 1 << math.ceil(math.log2((2 * cold + INTERVAL) / self._pace.step + 4))

    def _spec(self, key: str, raw: Object) -> InferenceJobSpec | None:
        edition = (raw["metadata"]["uid"], raw["metadata"]["generation"])
        held = self._specs.get(key)
        if held is not None and held[0] == edition:
            return held[1]
        try:
            spec = InferenceJobSpec.model_validate(raw["spec"])
        except ValidationError:
            spec = None  # the operator says so in the job's conditions
        self._specs[key] = (edition, spec)
        return spec

    def _fail(self, kind: str, error: Exception) -> None:
        """Count a failure; told once, and not each few seconds while it lasts."""
        self.counts.errors[kind] += 1
        if self._troubles.get(kind) != str(error):
            self._troubles[kind] = str(error)
            _LOG.warning("%s: %s", kind, error)

    def _well(self, kind: str) -> None:
        if self._troubles.pop(kind, None) is not None:
            _LOG.info("%s: works again", kind)


def _confidence(job: Job) -> float:
    return job.predictive.slo.confidence_percent / 100
