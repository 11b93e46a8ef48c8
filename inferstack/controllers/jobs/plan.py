"""From a job to the objects that should exist for it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from inferstack.api import InferenceJob, SloMeasure, constants, replicas
from inferstack.api.labels import SPEC_REPLICAS
from inferstack.api.runtimes import Runtime, Table
from inferstack.apimachinery.objects import Object
from inferstack.apimachinery.rfc3339 import parse_time
from inferstack.controllers.jobs.builders import make_children, unsupported_metrics
from inferstack.controllers.jobs.datasets import CacheDecision, CacheState, decide_cache
from inferstack.controllers.jobs.reasons import ConditionReason, Reason
from inferstack.controllers.jobs.status import cold_since

_EXPIRY_SECONDS = 0.01
"""How long after a decision of the predictive scaler has expired the job's own bounds return: more than rounding."""


@dataclass(frozen=True)
class Decision:
    """What a job's objects should be now."""

    children: Sequence[Object]
    """The desired objects, what makes the job serve first; none while the job waits for its cache."""
    without_autoscaler: bool
    """Whether a HorizontalPodAutoscaler of the job is to be removed."""
    cache: CacheDecision | None
    """How replicas run with regard to the job's cache, if it has one."""
    requeue_after: float | None
    """Seconds after which to decide again although nothing changed."""


@dataclass(frozen=True)
class Plan:
    """A valid job and its runtime."""

    job: InferenceJob
    runtime: Runtime

    def decide(self, raw: Object, live: Object | None, cache_state: CacheState | None, now: datetime) -> Decision:
        """Decide what the job's objects should be.

        Args:
            raw: the job as the API server has it.
            live: its Deployment.
            cache_state: of its Dataset; None if it has no cache.
            now: the time, with time zone.
        """
        cache = self._decide_cache(raw, live, cache_state, now)
        limits = self.limits(raw.get("status"), now)
        requeue = [cache.requeue_after if cache else None]
        if limits is not None and limits.until is not None:
            # No event marks the end of a decision whose scaler is gone.
            requeue.append((limits.until - now).total_seconds() + _EXPIRY_SECONDS)
        held = cache is not None and cache.held
        children = [] if held else self.children(live, limits, mounted=cache is None or bool(cache.mounted))
        return Decision(
            children=children,
            without_autoscaler=not held and not (self.job.spec.autoscale and self.job.spec.replicas),
            cache=cache,
            requeue_after=min((seconds for seconds in requeue if seconds is not None), default=None),
        )

    def _decide_cache(
        self, raw: Object, live: Object | None, state: CacheState | None, now: datetime
    ) -> CacheDecision | None:
        spec = self.job.spec
        if spec.cache is None or state is None:
            return None
        since = cold_since(raw.get("status"))
        return decide_cache(
            spec.cache,
            state,
            live,
            generation=raw["metadata"]["generation"],
            paused=spec.replicas == 0,
            cold_seconds=(now - parse_time(since)).total_seconds() if since else 0.0,
        )

    def limits(self, status: Object | None, now: datetime) -> replicas.Limits | None:
        """Return the autoscaler's bounds now, given the job's status; None if the job is not scaled automatically."""
        return replicas.limits(self.job.spec, (status or {}).get("scaling"), now)

    def children(
        self, live: Object | None, limits: replicas.Limits | None = None, *, mounted: bool = True
    ) -> list[Object]:
        """Return the desired objects.

        Args:
            live: the Deployment.
            limits: the result of `limits`; None for those of the job alone.
            mounted: whether replicas mount the job's cache.
        """
        limits = limits or replicas.own_limits(self.job.spec)
        return make_children(self.job, self.runtime, self._replicas(live, limits), limits, mounted=mounted)

    def _replicas(self, live: Object | None, limits: replicas.Limits | None) -> int:
        spec = self.job.spec
        applied = (live or {}).get("metadata", {}).get("annotations", {}).get(SPEC_REPLICAS)
        return replicas.decide(
            spec.replicas,
            limits,
            applied=int(applied) if applied and applied.isdecimal() else None,
            live=live["spec"].get("replicas") if live else None,
        )


def make_plan(raw: Mapping[str, Object], table: Table) -> Plan | ConditionReason:
    """Return the plan of a job, or why there is none.

    Admission refuses what the models refuse; a job can still come here that an older CRD let in.
    """
    manifest = {
        "apiVersion": constants.API_VERSION,
        "kind": constants.KIND,
        "metadata": raw["metadata"],
        "spec": raw["spec"],
    }
    try:
        job = InferenceJob.model_validate(manifest)
    except ValidationError as error:
        return ConditionReason(Reason.INVALID_SPEC, "; ".join(_messages(error)))
    runtime = table.choose(job.spec)
    if job.spec.port is not None and job.spec.port == runtime.metrics_port:
        return ConditionReason(
            Reason.INVALID_SPEC, f"spec.port: {runtime.name} shows its metrics on {job.spec.port}; take another"
        )
    if unknown := unsupported_metrics(job, runtime):
        has = ", ".join(metric.value for metric in runtime.metrics)
        if unknown == [SloMeasure.TIME_TO_FIRST_TOKEN]:
            has = f"{SloMeasure.LATENCY} and {SloMeasure.QUEUE} (autoscale.predictive.slo.measure)"
        return ConditionReason(
            Reason.UNSUPPORTED_METRIC, f"{runtime.name} has no metric {', '.join(unknown)}: it has {has}"
        )
    return Plan(job, runtime)


def _messages(error: ValidationError) -> list[str]:
    return [f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}" for problem in error.errors()]
