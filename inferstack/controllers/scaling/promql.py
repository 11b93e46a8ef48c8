"""PromQL queries for the load and the durations of jobs; each query covers all jobs. Pure.

The metrics of the servers are documented in ``components/monitoring/recording.py``. The queries use raw series, not
recorded ones: recorded series lag by one evaluation interval, and a rising load must be seen within seconds.

The arrival rate is the rate of finished requests plus the growth of the number of requests in the server: the rate of
finished requests alone is bounded by the capacity of the replicas and hides an overload. A job without replicas has no
server metrics; its arrivals are the requests that the mesh's gateway could not deliver.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from inferstack.api import RuntimeName, SloMeasure
from inferstack.api.labels import SERIES_JOB, SERIES_RUNTIME

QUANTILES = (0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999)
"""Quantiles of durations: the median, and the usual percentiles of SLOs."""

_BY = f"sum by (namespace, {SERIES_JOB})"
_DESTINATION = "destination_service_namespace, destination_service_name"


@dataclass(frozen=True)
class Selection:
    """The jobs to query, and the window of rates."""

    namespaces: tuple[str, ...]
    names: tuple[str, ...]
    window: str
    """As a Prometheus duration."""

    @classmethod
    def of(cls, jobs: Iterable[str], window: float) -> Selection:
        """Return the selection of jobs (namespace/name) with a window in seconds."""
        pairs = [key.split("/") for key in jobs]
        return cls(
            tuple(sorted({pair[0] for pair in pairs})), tuple(sorted({pair[1] for pair in pairs})), _duration(window)
        )

    def where(self, namespace: str = "namespace", name: str = SERIES_JOB) -> str:
        """Return label matchers. They also match jobs of the same names in other selected namespaces."""
        return f'{namespace}=~"{_any(self.namespaces)}",{name}=~"{_any(self.names)}"'


Expression = Callable[[Selection], str]


def _gauge(name: str) -> Expression:
    return lambda selection: f"{_BY} ({name}{{{selection.where()}}})"


def _mean(name: str) -> Expression:
    return lambda selection: f"{_BY} (avg_over_time({name}{{{selection.where()}}}[{selection.window}]))"


def _rate(name: str, scale: str = "") -> Expression:
    return lambda selection: f"{_BY} (rate({name}{{{selection.where()}}}[{selection.window}])){scale}"


def _growth(name: str) -> Expression:
    return lambda selection: f"{_BY} (deriv({name}{{{selection.where()}}}[{selection.window}]))"


def _difference(left: Expression, right: Expression) -> Expression:
    return lambda selection: f"({left(selection)} - {right(selection)})"


@dataclass(frozen=True)
class Server:
    """The metrics of one kind of server."""

    finished: Expression
    """Rate of finished requests."""
    running: Expression
    """Running requests."""
    running_mean: Expression
    """Running requests, averaged over the window."""
    waiting: str
    """Gauge of queued requests."""
    growing: tuple[str, ...]
    """Gauges whose growth counts arrived, unfinished requests."""
    service_times: Mapping[SloMeasure, str]
    """Histograms of service times in seconds, without queueing; newer servers have them."""
    response_times: Mapping[SloMeasure, str]
    """Histograms of response times in seconds, with queueing; without one, only `mean_seconds` is known."""
    queue: str | None = None
    """Histogram of queueing times in seconds."""
    mean_seconds: Expression | None = None
    """Mean service time, without queueing."""


_triton_service_time = _difference(_rate("nv_inference_request_duration_us"), _rate("nv_inference_queue_duration_us"))
SERVERS: Mapping[RuntimeName, Server] = {
    RuntimeName.VLLM: Server(
        finished=_rate("vllm:request_success_total"),
        running=_gauge("vllm:num_requests_running"),
        running_mean=_mean("vllm:num_requests_running"),
        waiting="vllm:num_requests_waiting",
        growing=("vllm:num_requests_running", "vllm:num_requests_waiting"),
        service_times={
            SloMeasure.TIME_TO_FIRST_TOKEN: "vllm:request_prefill_time_seconds",
            SloMeasure.LATENCY: "vllm:request_inference_time_seconds",
        },
        response_times={
            SloMeasure.TIME_TO_FIRST_TOKEN: "vllm:time_to_first_token_seconds",
            SloMeasure.LATENCY: "vllm:e2e_request_latency_seconds",
        },
        queue="vllm:request_queue_time_seconds",
    ),
    # There is no gauge of running requests: by Little's law, their number is the total service time per second.
    RuntimeName.TEXT_EMBEDDINGS_INFERENCE: Server(
        finished=_rate("te_request_success"),
        running=_difference(_rate("te_request_duration_sum"), _rate("te_request_queue_duration_sum")),
        running_mean=_difference(_rate("te_request_duration_sum"), _rate("te_request_queue_duration_sum")),
        waiting="te_queue_size",
        growing=("te_queue_size",),
        service_times={SloMeasure.LATENCY: "te_request_inference_duration"},
        response_times={SloMeasure.LATENCY: "te_request_duration"},
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
        service_times={},
        response_times={},
        mean_seconds=lambda selection: (
            f"{_triton_service_time(selection)} / ({_rate('nv_inference_request_success')(selection)} > 0) / 1e6"
        ),
    ),
}


def up(selection: Selection) -> str:
    """Query the replicas of each job that expose metrics."""
    return f"{_BY} (up{{{selection.where()}}} == 1)"


def finished(selection: Selection) -> str:
    """Query the rate of finished requests."""
    return _each(lambda server: server.finished, selection)


def running(selection: Selection, *, mean: bool = False) -> str:
    """Query the running requests, now or as a mean over the window."""
    return _each(lambda server: server.running_mean if mean else server.running, selection)


def waiting(selection: Selection, *, mean: bool = False) -> str:
    """Query the queued requests, now or as a mean over the window."""
    return _each(lambda server: (_mean if mean else _gauge)(server.waiting), selection)


def arrival_rate(selection: Selection) -> str:
    """Query the arrival rate; for a job without replicas, the rate of requests that the mesh cannot deliver."""
    expressions = []
    for name, server in SERVERS.items():
        parts = [server.finished(selection), *(_growth(gauge)(selection) for gauge in server.growing)]
        idle = _idle(name, selection)
        expressions.append(f"clamp_min({' + '.join(f'({part} or {idle})' for part in parts)}, 0)")
    return " or ".join([*expressions, _as_jobs(unserved_request_rate(selection))])


def unserved_request_rate(selection: Selection) -> str:
    """Query the request rate for each job as counted by the gateways and clients of the mesh."""
    where = selection.where("destination_service_namespace", "destination_service_name")
    return f'sum by ({_DESTINATION}) (rate(istio_requests_total{{reporter="source",{where}}}[{selection.window}]))'


def new_unserved_requests(selection: Selection) -> str:
    """Query whether the mesh has counted requests for each job within the window, without a rate.

    A rate needs two samples, and the first request that finds no replica starts a new series.
    """
    where = selection.where("destination_service_namespace", "destination_service_name")
    total = f'sum by ({_DESTINATION}) (istio_requests_total{{reporter="source",{where}}}'
    before = f"({total} offset {selection.window}) or 0 * {total}))"
    return _as_jobs(f"({total}) - {before}) > 0")


def mesh_series() -> str:
    """Query the number of series of requests reported by their source; without any, no unserved request is seen."""
    return 'count(istio_requests_total{reporter="source"})'


def scrape_targets() -> str:
    """Query the number of scrape targets; there is no sample for times at which Prometheus was down."""
    return "count(up)"


def quantile(measure: SloMeasure, quantile: float, selection: Selection) -> str | None:
    """Query a quantile of the service time in seconds, without queueing.

    A server without a histogram of service times is measured by its response times, on replicas without queued
    requests within the window.
    """
    expressions = []
    for server in SERVERS.values():
        if measure in server.service_times:
            expressions.append(_histogram_quantile(quantile, _buckets(server.service_times[measure], selection)))
        if measure in server.response_times:
            unqueued = f"max_over_time({server.waiting}{{{selection.where()}}}[{selection.window}]) < 1"
            buckets = _buckets(server.response_times[measure], selection)
            expressions.append(_histogram_quantile(quantile, f"{buckets} and on (namespace, pod) ({unqueued})"))
    return " or ".join(expressions) or None


def duration_buckets(measure: SloMeasure, selection: Selection) -> str:
    """Query the histogram of an SLO measure, with queueing, as requests within the window."""
    histograms = (
        server.queue if measure is SloMeasure.QUEUE else server.response_times.get(measure)
        for server in SERVERS.values()
    )
    matchers = f"{{{selection.where()}}}[{selection.window}]"
    return " or ".join(
        f"sum by (le, namespace, {SERIES_JOB}) (increase({histogram}_bucket{matchers}))"
        for histogram in histograms
        if histogram
    )


def mean_seconds(selection: Selection) -> str:
    """Query the mean service time, without queueing, of jobs whose servers have no histogram."""
    return " or ".join(server.mean_seconds(selection) for server in SERVERS.values() if server.mean_seconds)


def _buckets(histogram: str, selection: Selection) -> str:
    return f"rate({histogram}_bucket{{{selection.where()}}}[{selection.window}])"


def _histogram_quantile(quantile: float, buckets: str) -> str:
    # Series without a request give NaN, which must not take precedence over the other side of an "or".
    return f"(histogram_quantile({quantile:g}, sum by (le, namespace, {SERIES_JOB}) ({buckets})) >= 0)"


def _each(part: Callable[[Server], Expression], selection: Selection) -> str:
    """Return one expression for all servers; a counter that does not exist yet is 0 while its server is up."""
    return " or ".join(
        f"({part(server)(selection)} >= 0) or {_idle(name, selection)}" for name, server in SERVERS.items()
    )


def _idle(runtime: RuntimeName, selection: Selection) -> str:
    return f'0 * {_BY} (up{{{SERIES_RUNTIME}="{runtime.value}",{selection.where()}}} == 1)'


def _as_jobs(mesh_series: str) -> str:
    """Relabel series of the mesh with the labels of jobs."""
    named = f'label_replace({mesh_series}, "namespace", "$1", "destination_service_namespace", "(.+)")'
    return f'{_BY} (label_replace({named}, "{SERIES_JOB}", "$1", "destination_service_name", "(.+)"))'


def _any(values: tuple[str, ...]) -> str:
    # Only dots are special in Kubernetes names; PromQL strings need a doubled backslash.
    return "|".join(re.escape(value).replace("\\-", "-").replace("\\", "\\\\") for value in values)


def _duration(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"
