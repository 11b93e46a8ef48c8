"""How long requests take, and how many of them too long: asked of Prometheus for all jobs at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from inferstack.api import Slo, SloMeasure
from inferstack.api.labels import SERIES_JOB
from inferstack.controllers.scaling import calibrate, signals
from inferstack.controllers.scaling.prometheus import Prometheus, Sample
from inferstack.scaling.model import Distribution

BUDGET_SECONDS = 3600.0
"""Over which misses of the service level are counted, as in `inferstack.scaling.model.State.missed`."""


async def durations(
    prometheus: Prometheus, jobs: Iterable[str], window: float
) -> dict[str, dict[SloMeasure, Distribution]]:
    """Return the measured times of requests without waiting, by job and measure.

    Args:
        prometheus: to ask.
        jobs: by namespace/name.
        window: seconds over which is measured.

    Raises:
        PrometheusError: it did not answer.
    """
    keys = set(jobs)
    asked = signals.Selection.of(keys, window)
    found: dict[str, dict[SloMeasure, Distribution]] = {key: {} for key in keys}
    for measure in (SloMeasure.TIME_TO_FIRST_TOKEN, SloMeasure.LATENCY):
        quantiles: dict[str, list[tuple[float, float]]] = {}
        for share in signals.SHARES:
            query = signals.quantile(measure, share, asked)
            for key, seconds in by_job(await prometheus.instant(query)).items() if query else ():
                quantiles.setdefault(key, []).append((share, seconds))
        for key in quantiles.keys() & keys:
            if made := calibrate.distribution(quantiles[key]):
                found[key][measure] = made
    means = by_job(await prometheus.instant(signals.mean_seconds(asked)))
    for key in means.keys() & keys:
        found[key].setdefault(SloMeasure.LATENCY, calibrate.exponential(means[key], signals.SHARES))
    return found


async def missed(prometheus: Prometheus, levels: Mapping[str, Slo]) -> dict[str, float]:
    """Return the share of the last hour's requests that missed their job's service level, where there were any.

    Args:
        prometheus: to ask.
        levels: service levels by job.

    Raises:
        PrometheusError: it did not answer.
    """
    found = {}
    for measure in sorted({level.measure for level in levels.values()}):
        keys = {key for key, level in levels.items() if level.measure is measure}
        asked = signals.Selection.of(keys, BUDGET_SECONDS)
        buckets: dict[str, list[tuple[float, float]]] = {}
        for one in await prometheus.instant(signals.times(measure, asked)):
            buckets.setdefault(_job_of(one), []).append((float(one.labels["le"]), one.value))
        for key in keys & buckets.keys():
            share = calibrate.missed(buckets[key], levels[key].milliseconds / 1000)
            if share is not None:
                found[key] = share
    return found


def by_job(found: Sequence[Sample]) -> dict[str, float]:
    """Return finite values by namespace/name."""
    return {_job_of(one): one.value for one in found if math.isfinite(one.value)}


def _job_of(one: Sample) -> str:
    return f"{one.labels.get('namespace')}/{one.labels.get(SERIES_JOB)}"
