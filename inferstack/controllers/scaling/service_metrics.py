"""Request durations and SLO misses of jobs, queried from Prometheus for all jobs at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from inferstack.api import Slo, SloMeasure
from inferstack.api.labels import SERIES_JOB
from inferstack.controllers.scaling import calibration, promql
from inferstack.controllers.scaling.prometheus import Prometheus, Sample
from inferstack.scaling.model import Distribution

BUDGET_SECONDS = 3600.0
"""Window of the error budget, see `inferstack.scaling.model.ObservedState.missed`."""


async def query_service_times(
    prometheus: Prometheus, jobs: Iterable[str], window: float
) -> dict[str, dict[SloMeasure, Distribution]]:
    """Return the measured durations of requests without queueing time, by job and measure.

    Args:
        prometheus: client.
        jobs: jobs as namespace/name.
        window: seconds to measure over.

    Raises:
        PrometheusError: a query failed.
    """
    keys = set(jobs)
    selection = promql.Selection.of(keys, window)
    result: dict[str, dict[SloMeasure, Distribution]] = {key: {} for key in keys}
    for measure in (SloMeasure.TIME_TO_FIRST_TOKEN, SloMeasure.LATENCY):
        quantiles: dict[str, list[tuple[float, float]]] = {}
        for quantile in promql.QUANTILES:
            query = promql.quantile(measure, quantile, selection)
            for key, seconds in by_job(await prometheus.instant(query)).items() if query else ():
                quantiles.setdefault(key, []).append((quantile, seconds))
        for key in quantiles.keys() & keys:
            if distribution := calibration.distribution(quantiles[key]):
                result[key][measure] = distribution
    means = by_job(await prometheus.instant(promql.mean_seconds(selection)))
    for key in means.keys() & keys:
        result[key].setdefault(SloMeasure.LATENCY, calibration.exponential(means[key], promql.QUANTILES))
    return result


async def query_slo_misses(prometheus: Prometheus, slos: Mapping[str, Slo]) -> dict[str, float]:
    """Return the fraction of requests in the last hour that missed the SLO, for jobs that had requests.

    Args:
        prometheus: client.
        slos: SLOs by job.

    Raises:
        PrometheusError: a query failed.
    """
    result = {}
    for measure in sorted({slo.measure for slo in slos.values()}):
        keys = {key for key, slo in slos.items() if slo.measure is measure}
        selection = promql.Selection.of(keys, BUDGET_SECONDS)
        buckets: dict[str, list[tuple[float, float]]] = {}
        for sample in await prometheus.instant(promql.duration_buckets(measure, selection)):
            buckets.setdefault(_job_of(sample), []).append((float(sample.labels["le"]), sample.value))
        for key in keys & buckets.keys():
            missed = calibration.missed_fraction(buckets[key], slos[key].milliseconds / 1000)
            if missed is not None:
                result[key] = missed
    return result


def by_job(samples: Sequence[Sample]) -> dict[str, float]:
    """Return the finite values by namespace/name."""
    return {_job_of(sample): sample.value for sample in samples if math.isfinite(sample.value)}


def _job_of(sample: Sample) -> str:
    return f"{sample.labels.get('namespace')}/{sample.labels.get(SERIES_JOB)}"
