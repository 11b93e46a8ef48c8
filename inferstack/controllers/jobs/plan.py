"""From a job as it comes to what must be there for it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from pydantic import ValidationError

from inferstack.api import InferenceJob, SloMeasure, constants, replicas
from inferstack.api.labels import SPEC_REPLICAS, Object
from inferstack.api.runtimes import Runtime, Table
from inferstack.controllers.jobs.builders import make_children, unsupported_metrics
from inferstack.controllers.jobs.obstacles import Obstacle


@dataclass(frozen=True)
class Plan:
    """A job and its runtime, ready to be turned into objects."""

    job: InferenceJob
    runtime: Runtime

    def limits(self, status: Object | None, now: datetime) -> replicas.Limits | None:
        """Return the bounds of an autoscaler that hold now, given the job's status; None where none scales the job."""
        return replicas.limits(self.job.spec, (status or {}).get("scaling"), now)

    def children(
        self, live: Object | None, allowed: replicas.Limits | None = None, *, mounted: bool = True
    ) -> list[Object]:
        """Return the wanted objects.

        Args:
            live: the Deployment as it is.
            allowed: as `limits` says; None: what the job allows by itself.
            mounted: whether replicas get the job's cache.
        """
        allowed = allowed or replicas.own_limits(self.job.spec)
        return make_children(self.job, self.runtime, self._replicas(live, allowed), allowed, mounted=mounted)

    def _replicas(self, live: Object | None, allowed: replicas.Limits | None) -> int:
        spec = self.job.spec
        applied = (live or {}).get("metadata", {}).get("annotations", {}).get(SPEC_REPLICAS)
        return replicas.decide(
            spec.replicas,
            allowed,
            applied=int(applied) if applied and applied.isdecimal() else None,
            live=live["spec"].get("replicas") if live else None,
        )


def make_plan(raw: Mapping[str, Object], table: Table) -> Plan | Obstacle:
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
        return Obstacle("InvalidSpec", "; ".join(_told(error)))
    runtime = table.choose(job.spec)
    if job.spec.port is not None and job.spec.port == runtime.metrics_port:
        return Obstacle("InvalidSpec", f"spec.port: {runtime.name} shows its metrics on {job.spec.port}; take another")
    if unknown := unsupported_metrics(job, runtime):
        has = ", ".join(metric.value for metric in runtime.metrics)
        if unknown == [SloMeasure.TIME_TO_FIRST_TOKEN]:
            has = f"{SloMeasure.LATENCY} and {SloMeasure.QUEUE} (autoscale.predictive.slo.measure)"
        return Obstacle("UnsupportedMetric", f"{runtime.name} has no metric {', '.join(unknown)}: it has {has}")
    return Plan(job, runtime)


def _told(error: ValidationError) -> list[str]:
    return [f"{'.'.join(str(part) for part in found['loc'])}: {found['msg']}" for found in error.errors()]
