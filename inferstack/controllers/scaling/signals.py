"""What is asked of Prometheus, as PromQL: one query for all jobs. Pure.

Sources of the servers' names: as in ``components/monitoring/recording.py``. Raw series are asked for and not the
recorded ones: these are an evaluation later, and a load that rises is answered by seconds.

Arrivals are finished requests and the growth of those in the server: finished ones alone cannot exceed what the
replicas manage, so they hide an overload. A job without replicas has no servers that tell; of it the mesh tells, whose
gateway counts what it could not deliver.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from inferstack.api import RuntimeName, SloMeasure
from inferstack.api.labels import SERIES_JOB, SERIES_RUNTIME

SHARES = (0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999)
"""Points at which durations are asked for: the middle, and where service levels are."""

_BY = f"sum by (namespace, {SERIES_JOB})"
_KNOCKS_BY = "destination_service_namespace, destination_service_name"


@dataclass(frozen=True)
class Selection:
    """The jobs that are asked for, and the time over which rates are taken."""

    namespaces: tuple[str, ...]
    names: tuple[str, ...]
    window: str
    """A duration of Prometheus."""

    @classmethod
    def of(cls, jobs: Iterable[str], window: float) -> Selection:
        """Return the selection of jobs, by namespace/name, with a window in seconds."""
        pairs = [key.split("/") for key in jobs]
        return cls(
            tuple(sorted({pair[0] for pair in pairs})), tuple(sorted({pair[1] for pair in pairs})), _duration(window)
        )

    def where(self, namespace: str = "namespace", name: str = SERIES_JOB) -> str:
        """Return label matchers. More than was asked for may match, where names repeat in other namespaces."""
        return f'{namespace}=~"{_any(self.namespaces)}",{name}=~"{_any(self.names)}"'


Expression = Callable[[Selection], str]


def _gauge(name: str) -> Expression:
    return lambda asked: f"{_BY} ({name}{{{asked.where()}}})"


def _mean(name: str) -> Expression:
    return lambda asked: f"{_BY} (avg_over_time({name}{{{asked.where()}}}[{asked.window}]))"


def _rate(name: str, scale: str = "") -> Expression:
    return lambda asked: f"{_BY} (rate({name}{{{asked.where()}}}[{asked.window}])){scale}"


def _growth(name: str) -> Expression:
    return lambda asked: f"{_BY} (deriv({name}{{{asked.where()}}}[{asked.window}]))"


def _difference(one: Expression, other: Expression) -> Expression:
    return lambda asked: f"({one(asked)} - {other(asked)})"


@dataclass(frozen=True)
class Server:
    """What a kind of server shows of itself."""

    finished: Expression
    """Requests a second that it has answered."""
    running: Expression
    """Requests in work now."""
    running_mean: Expression
    """Requests in work over the window."""
    waiting: str
    """The gauge of requests that wait."""
    growing: tuple[str, ...]
    """Gauges whose growth is of requests that have come and are not finished."""
    work: Mapping[SloMeasure, str]
    """Histograms of times in seconds without waiting; newer servers have them."""
    durations: Mapping[SloMeasure, str]
    """Histograms of times in seconds, waiting included; where there are none, `mean_seconds` is all that is known."""
    queue: str | None = None
    """Histogram of times of waiting in seconds."""
    mean_seconds: Expression | None = None
    """Mean time of a request, without waiting."""


SERVERS: Mapping[RuntimeName, Server] = {
    RuntimeName.VLLM: Server(
        finished=_rate("vllm:request_success_total"),
        running=_gauge("vllm:num_requests_running"),
        running_mean=_mean("vllm:num_requests_running"),
        waiting="vllm:num_requests_waiting",
        growing=("vllm:num_requests_running", "vllm:num_requests_waiting"),
        work={
            SloMeasure.TIME_TO_FIRST_TOKEN: "vllm:request_prefill_time_seconds",
            SloMeasure.LATENCY: "vllm:request_inference_time_seconds",
        },
        durations={
            SloMeasure.TIME_TO_FIRST_TOKEN: "vllm:time_to_first_token_seconds",
            SloMeasure.LATENCY: "vllm:e2e_request_latency_seconds",
        },
        queue="vllm:request_queue_time_seconds",
    ),
    # No count of requests in work: by Little's law it is the time that they spend in work, all together, a second.
    RuntimeName.TEXT_EMBEDDINGS_INFERENCE: Server(
        finished=_rate("te_request_success"),
        running=_difference(_rate("te_request_duration_sum"), _rate("te_request_queue_duration_sum")),
        running_mean=_difference(_rate("te_request_duration_sum"), _rate("te_request_queue_duration_sum")),
        waiting="te_queue_size",
        growing=("te_queue_size",),
        work={SloMeasure.LATENCY: "te_request_inference_duration"},
        durations={SloMeasure.LATENCY: "te_request_duration"},
        queue="te_request_queue_duration",
    ),
    RuntimeName.TRITON: Server(
        finished=_rate("nv_inference_request_success"),
        running=_difference(
            _rate("nv_inference_request_duration_us", " / 1e6"), _rate("nv_inference_queue_duration_us", " / 1e6")
        ),
        running_mean=_difference(
            _rate("nv_inference_request_duration_us", " / 1e6"), _rate("nv_inference_queue_duration_us", " / 1e6")
        ),
        waiting="nv_inference_pending_request_count",
        growing=("nv_inference_pending_request_count",),
        work={},
        durations={},
        mean_seconds=lambda asked: (
            f"{_difference(_rate('nv_inference_request_duration_us'), _rate('nv_inference_queue_duration_us'))(asked)}"
            f" / ({_rate('nv_inference_request_success')(asked)} > 0) / 1e6"
        ),
    ),
}


def up(asked: Selection) -> str:
    """Return the replicas of each job that show their metrics."""
    return f"{_BY} (up{{{asked.where()}}} == 1)"


def finished(asked: Selection) -> str:
    """Return requests a second that each job has answered."""
    return _each(lambda server: server.finished, asked)


def running(asked: Selection, *, mean: bool = False) -> str:
    """Return requests in work of each job; ``mean``: over the window."""
    return _each(lambda server: server.running_mean if mean else server.running, asked)


def waiting(asked: Selection, *, mean: bool = False) -> str:
    """Return requests that wait of each job; ``mean``: over the window."""
    return _each(lambda server: (_mean if mean else _gauge)(server.waiting), asked)


def arrivals(asked: Selection) -> str:
    """Return requests a second that come to each job; to one without replicas, those that the mesh cannot deliver."""
    made = []
    for name, server in SERVERS.items():
        parts = [server.finished(asked), *(_growth(gauge)(asked) for gauge in server.growing)]
        idle = _idle(name, asked)
        made.append(f"clamp_min({' + '.join(f'({part} or {idle})' for part in parts)}, 0)")
    return " or ".join([*made, _as_jobs(knocks(asked))])


def knocks(asked: Selection) -> str:
    """Return requests a second for each job as the mesh's gateways and clients count them."""
    where = asked.where("destination_service_namespace", "destination_service_name")
    return f'sum by ({_KNOCKS_BY}) (rate(istio_requests_total{{reporter="source",{where}}}[{asked.window}]))'


def first_knocks(asked: Selection) -> str:
    """Return whether requests have come for each job within the window, by another way than a rate.

    A rate needs two samples of a series, and the first request that finds no replica begins one.
    """
    where = asked.where("destination_service_namespace", "destination_service_name")
    total = f'sum by ({_KNOCKS_BY}) (istio_requests_total{{reporter="source",{where}}}'
    before = f"({total} offset {asked.window}) or 0 * {total}))"
    return _as_jobs(f"({total}) - {before}) > 0")


def meshed() -> str:
    """Return how many series the mesh has of requests as their senders see them: without any nobody could knock."""
    return 'count(istio_requests_total{reporter="source"})'


def alive() -> str:
    """Return how many targets Prometheus scrapes: at a time without any it was not there itself."""
    return "count(up)"


def quantile(measure: SloMeasure, share: float, asked: Selection) -> str | None:
    """Return seconds that a share of each job's requests does not exceed, the time of waiting left out.

    Where a server tells of times with waiting only, nothing is taken of replicas at which something waited within the
    window.
    """
    made = []
    for server in SERVERS.values():
        if measure in server.work:
            made.append(_quantile(share, _buckets(server.work[measure], asked)))
        if measure in server.durations:
            free = f"max_over_time({server.waiting}{{{asked.where()}}}[{asked.window}]) < 1"
            buckets = _buckets(server.durations[measure], asked)
            made.append(_quantile(share, f"{buckets} and on (namespace, pod) ({free})"))
    return " or ".join(made) or None


def times(measure: SloMeasure, asked: Selection) -> str:
    """Return each job's histogram of what a service level is about, waiting included, as requests within the window."""
    histograms = (
        server.queue if measure is SloMeasure.QUEUE else server.durations.get(measure) for server in SERVERS.values()
    )
    return " or ".join(
        f"sum by (le, namespace, {SERIES_JOB}) (increase({histogram}_bucket{{{asked.where()}}}[{asked.window}]))"
        for histogram in histograms
        if histogram
    )


def mean_seconds(asked: Selection) -> str:
    """Return the mean time of a request, without waiting, of the jobs whose servers show no histogram."""
    return " or ".join(server.mean_seconds(asked) for server in SERVERS.values() if server.mean_seconds)


def _buckets(histogram: str, asked: Selection) -> str:
    return f"rate({histogram}_bucket{{{asked.where()}}}[{asked.window}])"


def _quantile(share: float, buckets: str) -> str:
    # What has no request within the window gives no number, which must not stand before what does.
    return f"(histogram_quantile({share:g}, sum by (le, namespace, {SERIES_JOB}) ({buckets})) >= 0)"


def _each(part: Callable[[Server], Expression], asked: Selection) -> str:
    """Return one expression for the jobs of all servers; what a server has not counted yet is 0 while it answers."""
    return " or ".join(f"({part(server)(asked)} >= 0) or {_idle(name, asked)}" for name, server in SERVERS.items())


def _idle(runtime: RuntimeName, asked: Selection) -> str:
    return f'0 * {_BY} (up{{{SERIES_RUNTIME}="{runtime.value}",{asked.where()}}} == 1)'


def _as_jobs(knocking: str) -> str:
    """Return series of the mesh under the labels of the jobs that they are for."""
    named = f'label_replace({knocking}, "namespace", "$1", "destination_service_namespace", "(.+)")'
    return f'{_BY} (label_replace({named}, "{SERIES_JOB}", "$1", "destination_service_name", "(.+)"))'


def _any(values: tuple[str, ...]) -> str:
    # Dots alone mean something in the names of Kubernetes' objects, and a backslash needs another in PromQL.
    return "|".join(re.escape(value).replace("\\-", "-").replace("\\", "\\\\") for value in values)


def _duration(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"
