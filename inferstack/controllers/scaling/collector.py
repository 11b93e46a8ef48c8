"""Observes jobs: the cluster through informers, load and service times through Prometheus."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from inferstack.api import InferenceJobSpec, constants, runtimes
from inferstack.api.labels import CHILDREN
from inferstack.apimachinery.objects import Object
from inferstack.apimachinery.rfc3339 import parse_epoch
from inferstack.controllers.scaling import calibration, cluster, promql
from inferstack.controllers.scaling.budget import PoolMember
from inferstack.controllers.scaling.decision import JobState, Observation, PredictiveJob, published_capacity
from inferstack.controllers.scaling.history import HistoryStore
from inferstack.controllers.scaling.prometheus import Prometheus
from inferstack.controllers.scaling.service_metrics import by_job, query_service_times, query_slo_misses
from inferstack.k8s import KubeClient
from inferstack.k8s.informer import Informer

DURATION_WINDOWS = 10
"""Service times are measured over this many rate windows: quantiles need more requests than rates."""
RECENT_STEPS = 360
"""Steps for measuring the capacity of a replica: 6 h of one-minute steps, so a changed model counts within half a
day."""

Vector = Mapping[str, float]


@dataclass(frozen=True)
class LoopSettings:
    """Periods of the control loop, in seconds."""

    interval: float = 5.0
    """Between two rounds."""
    window: float = 30.0
    """Window of rates; at least four scrapes."""
    validity: float = 60.0
    """How long a published decision is valid."""
    step: float = 60.0
    """Step of the history."""
    depth: float = 14 * 86400.0
    """Length of the history."""


class Collector:
    """Collects observations of all jobs that request predictive scaling.

    Args:
        kube: connected client.
        prometheus: client of Prometheus.
        settings: periods of the loop.
        namespace: namespace to watch for jobs; None for all.
        clock: returns seconds since the epoch.
    """

    def __init__(
        self,
        kube: KubeClient,
        prometheus: Prometheus,
        settings: LoopSettings,
        namespace: str | None,
        clock: Callable[[], float],
    ) -> None:
        self.prometheus = prometheus
        self.states: dict[str, JobState] = {}
        """State of each job between rounds, by namespace/name."""
        self.history = HistoryStore(
            prometheus,
            step=settings.step,
            depth=max(1, round(settings.depth / settings.step)),
            window=settings.window,
            recent=RECENT_STEPS,
        )
        self._settings, self._clock = settings, clock
        self._cold_starts = cluster.ColdStarts()
        self._specs: dict[str, tuple[tuple[str, int], InferenceJobSpec | None]] = {}

        def watch(version: str, kind: str, prune: Callable[[Object], Object], **options: Any) -> Informer:
            options = {"on_change": lambda _, __: None, "namespace": namespace, **options}
            return Informer(kube, version, kind, prune=prune, **options)

        self.jobs = watch(constants.API_VERSION, constants.KIND, cluster.prune_job)
        self.deployments = watch("apps/v1", "Deployment", cluster.prune_deployment, labels=CHILDREN)
        # All pods of the cluster: pods in any namespace can hold GPUs.
        self.pods = watch("v1", "Pod", cluster.prune_pod, on_change=self._cold_starts.observe, namespace=None)
        self.nodes = watch("v1", "Node", cluster.prune_node, namespace=None)
        self.priorities = watch("scheduling.k8s.io/v1", "PriorityClass", cluster.prune_priority, namespace=None)

    async def start(self, group: asyncio.TaskGroup) -> None:
        """Start all informers except the one of jobs, and wait for their first lists."""
        informers = (self.deployments, self.pods, self.nodes, self.priorities)
        for informer in informers:
            group.create_task(informer.run())
        for informer in informers:
            await informer.synced.wait()

    def predictive_jobs(self) -> dict[str, PredictiveJob]:
        """Return the jobs that request predictive scaling, by namespace/name."""
        jobs = {}
        for key, raw in self.jobs.objects.items():
            autoscale = raw["spec"].get("autoscale") or {}
            if not autoscale.get("predictive") or not raw["spec"].get("replicas", 1):
                continue
            spec = self._spec(key, raw)
            if spec and spec.autoscale and spec.autoscale.predictive and "deletionTimestamp" not in raw["metadata"]:
                jobs[key] = PredictiveJob(key, raw, spec, spec.autoscale.predictive, runtimes.load().choose(spec))
        return jobs

    def forget_deleted_jobs(self) -> None:
        """Drop the state of jobs that no longer exist."""
        for key in [key for key in self.states if key not in self.jobs.objects]:
            del self.states[key]
            self._specs.pop(key, None)
            self._cold_starts.forget(key)

    async def observe(self, jobs: Mapping[str, PredictiveJob]) -> dict[str, Observation]:
        """Return the current load of jobs.

        Raises:
            PrometheusError: a query failed.
        """
        selection = promql.Selection.of(jobs, self._settings.window)
        queries = [
            promql.up(selection),
            promql.arrival_rate(selection),
            promql.running(selection),
            promql.waiting(selection),
        ]
        if any(job.predictive.idle_seconds is not None for job in jobs.values()):
            queries += [promql.new_unserved_requests(selection), promql.mesh_series()]
        up, rate, running, waiting, *mesh = await asyncio.gather(*map(self.prometheus.instant, queries))
        unserved = by_job(mesh[0]) if mesh else {}
        mesh_metrics = bool(mesh and mesh[1] and mesh[1][0].value > 0)
        vectors = {
            name: by_job(samples)
            for name, samples in (("up", up), ("rate", rate), ("running", running), ("waiting", waiting))
        }
        return {
            key: self._observation(job, vectors, unserved=key in unserved, mesh_metrics=mesh_metrics)
            for key, job in jobs.items()
        }

    def _observation(
        self, job: PredictiveJob, vectors: Mapping[str, Vector], *, unserved: bool, mesh_metrics: bool
    ) -> Observation:
        key = job.key
        deployment = self.deployments.objects.get(key)
        replicas = deployment["replicas"] if deployment else job.spec.replicas
        arrival_rate = vectors["rate"].get(key)
        if replicas == 0 and unserved and not arrival_rate:
            arrival_rate = 1 / self._settings.window
        return Observation(
            replicas=replicas,
            ready=deployment["ready"] if deployment else 0,
            up=vectors["up"].get(key),
            arrival_rate=arrival_rate,
            running=vectors["running"].get(key),
            waiting=vectors["waiting"].get(key),
            window=self._settings.window,
            mesh_metrics=mesh_metrics,
        )

    def state(self, job: PredictiveJob, now: float) -> JobState:
        """Return the state of a job; a new one takes the capacity from the job's published status."""
        state = self.states.get(job.key)
        if state is None:
            state = self.states[job.key] = JobState(now, capacity=published_capacity(job.scaling))
            state.last_request = self.history.last_arrival(job.key)
        state.cold_start = self._cold_starts.distribution(job.key, job.runtime.start_seconds)
        return state

    def gpu_pools(self, jobs: Mapping[str, PredictiveJob]) -> dict[str, int]:
        """Return the GPUs that jobs share, by resource."""
        resources = {key: job.spec.resources.gpu for key, job in jobs.items()}
        return cluster.pools(self.nodes.objects.values(), self.pods.objects.values(), resources)

    def pool_member(self, job: PredictiveJob, observation: Observation) -> PoolMember:
        """Return a job as a member of the GPU pool that it shares."""
        return PoolMember(
            resource=job.spec.resources.gpu,
            gpus=job.spec.resources.gpus,
            min_replicas=job.spec.autoscale.min_replicas if job.spec.autoscale else 1,
            priority=cluster.priority(job.spec, self.priorities.objects.values()),
            held=observation.replicas,
            warm=job.predictive.warm_replicas,
        )

    def is_scaled_to_zero(self, key: str) -> bool:
        """Return whether the Deployment of a job exists and has 0 replicas."""
        deployment = self.deployments.objects.get(key)
        return deployment is not None and deployment["replicas"] == 0

    async def update_history(self) -> bool:
        """Extend the history and calibrate all jobs; return whether older history is still missing.

        Raises:
            PrometheusError: a query failed; everything known is kept.
        """
        jobs, now = self.predictive_jobs(), self._clock()
        if not jobs:
            self.history.forget(())
            return False
        created = {key: parse_epoch(job.raw["metadata"]["creationTimestamp"]) for key, job in jobs.items()}
        missing = await self.history.extend(created, now)
        service_times = await query_service_times(self.prometheus, jobs, self._settings.window * DURATION_WINDOWS)
        missed = await query_slo_misses(self.prometheus, {key: job.predictive.slo for key, job in jobs.items()})
        for key, job in jobs.items():
            state = self.state(job, now)
            state.last_request = max(
                (at for at in (state.last_request, self.history.last_arrival(key)) if at is not None), default=None
            )
            state.burstiness = calibration.burstiness(self.history.arrivals(key))
            state.service_times |= service_times.get(key, {})
            state.missed = missed.get(key)
            loads = self.history.loads(key)
            state.capacity = calibration.capacity(loads, job.spec, job.runtime.name) or state.capacity
            await asyncio.sleep(0)
        return missing

    def _spec(self, key: str, raw: Object) -> InferenceJobSpec | None:
        version = (raw["metadata"]["uid"], raw["metadata"]["generation"])
        cached = self._specs.get(key)
        if cached is not None and cached[0] == version:
            return cached[1]
        try:
            spec = InferenceJobSpec.model_validate(raw["spec"])
        except ValidationError:
            spec = None  # the operator reports it in the conditions of the job
        self._specs[key] = (version, spec)
        return spec
