"""Metrics pages of simulated servers, GPUs and proxies: the real metric names in Prometheus' text format."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client import Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from rehearsal.load.devices import Device
from rehearsal.load.histogram import Histogram
from rehearsal.load.server import RequestStats, Server

Labels = Mapping[str, str]
Activity = tuple[str, str, str, float, float]
"""GPU use of a pod: namespace, name, container, SM activity (0 to 1), share of memory in use (0 to 1)."""


class _Page(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def render(families: Iterable[Metric]) -> bytes:
    """Return metrics in the text format."""
    return generate_latest(_Page(families))


def vllm(server: Server, model: str) -> Iterator[Metric]:
    """Yield the simulated metrics of vLLM v0.11."""
    labels = {"model_name": model, "engine": "0"}
    counts = server.counts
    yield _gauge("vllm:num_requests_running", "Running requests.", labels, server.running)
    yield _gauge("vllm:num_requests_waiting", "Waiting requests.", labels, server.waiting)
    for name in ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"):  # the second is the name before v0.11
        yield _gauge(name, "KV cache usage (1 is full).", labels, server.cache_share)
    yield _counter("vllm:prompt_tokens", "Prompt tokens.", labels, counts.prompt_tokens)
    yield _counter("vllm:generation_tokens", "Generated tokens.", labels, counts.output_tokens)
    # A reason that has not occurred has no series.
    if counts.requests.ok:
        finished = {**labels, "finished_reason": "stop"}
        yield _counter("vllm:request_success", "Successful requests.", finished, counts.requests.ok)
    for name, text, histogram in (
        ("time_to_first_token_seconds", "Time to the first token.", counts.first_token),
        ("time_per_output_token_seconds", "Time between tokens.", counts.per_token),
        ("inter_token_latency_seconds", "Time between tokens.", counts.per_token),
        ("e2e_request_latency_seconds", "Request duration.", counts.request),
        ("request_queue_time_seconds", "Time in the queue.", counts.queued),
    ):
        yield _histogram(f"vllm:{name}", text, labels, histogram)


def text_embeddings_inference(server: Server, _: str) -> Iterator[Metric]:
    """Yield the simulated metrics of text-embeddings-inference."""
    counts = server.counts
    answered = {"method": "single"}
    if counts.requests.ok:  # counters and histograms exist from the first request on
        # Its counters lack the suffix _total that the format requires of counters, so they are untyped.
        yield _untyped("te_request_count", "Requests.", answered, counts.requests.ok)
        yield _untyped("te_request_success", "Successful requests.", answered, counts.requests.ok)
        yield _histogram("te_request_duration", "Request duration.", {}, counts.request)
        yield _histogram("te_request_queue_duration", "Time in the queue.", {}, counts.queued)
    yield _gauge("te_queue_size", "Waiting requests.", {}, server.waiting)


def triton(server: Server, model: str) -> Iterator[Metric]:
    """Yield the simulated metrics of Triton."""
    labels = {"model": model, "version": "1"}
    counts = server.counts
    yield _untyped("nv_inference_request_success", "Successful requests.", labels, counts.requests.ok)
    yield _untyped("nv_inference_request_duration_us", "Cumulative duration.", labels, counts.request.sum * 1e6)
    yield _untyped("nv_inference_queue_duration_us", "Cumulative time in the queue.", labels, counts.queued.sum * 1e6)
    yield _gauge("nv_inference_pending_request_count", "Waiting requests.", labels, server.waiting)


SERVERS: Final[Mapping[str, Callable[[Server, str], Iterator[Metric]]]] = {
    "vllm": vllm,
    "text-embeddings-inference": text_embeddings_inference,
    "triton": triton,
}
"""Metrics by runtime: the value of the pod label app.kubernetes.io/name."""


def gpus(node: str, devices: Sequence[Device], used: Mapping[Device, Activity]) -> Iterator[Metric]:
    """Yield the metrics of a node's dcgm-exporter.

    Args:
        node: name of the node.
        devices: devices of the node.
        used: use of the allocated devices.
    """
    fields: tuple[tuple[str, str, Callable[[Device, float, float], float | None]], ...] = (
        # Missing on GPUs in MIG mode, as with the real driver.
        ("DCGM_FI_DEV_GPU_UTIL", "GPU utilization (%).", lambda d, busy, _: None if d.profile else 100 * (busy > 0)),
        ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "Graphics engine activity.", lambda _, busy, __: float(busy > 0)),
        ("DCGM_FI_PROF_SM_ACTIVE", "SM activity.", lambda _, busy, __: busy),
        ("DCGM_FI_DEV_FB_USED", "Memory in use (MiB).", lambda d, _, memory: round(d.memory_mib * memory)),
        ("DCGM_FI_DEV_FB_FREE", "Memory free (MiB).", lambda d, _, memory: round(d.memory_mib * (1 - memory))),
    )
    for name, text, value in fields:
        family = Metric(name, text, "gauge")
        for device in devices:
            namespace, pod, container, busy, memory = used.get(device, ("", "", "", 0.0, 0.0))
            sample = value(device, busy, memory)
            if sample is not None:
                labels = {**_device_labels(node, device), "namespace": namespace, "pod": pod, "container": container}
                family.add_sample(name, labels, sample)
        yield family


def _device_labels(node: str, device: Device) -> dict[str, str]:
    labels = {
        "gpu": str(device.gpu),
        "UUID": device.uuid,
        "device": f"nvidia{device.gpu}",
        "modelName": device.model.replace("-", " "),
        "Hostname": node,
    }
    if device.profile:
        labels |= {"GPU_I_PROFILE": device.profile, "GPU_I_ID": device.instance}
    return labels


def proxy(jobs: Iterable[tuple[str, RequestStats]]) -> Iterator[Metric]:
    """Yield Istio's standard metrics of the gateway (reporter source) and of the replicas' proxies (destination).

    Args:
        jobs: namespace/name and counts of each job.
    """
    requests = CounterMetricFamily("istio_requests", "Requests.")
    durations = HistogramMetricFamily("istio_request_duration_milliseconds", "Request duration.")
    for name, stats in jobs:
        namespace, job = name.split("/")
        for reporter in ("source", "destination"):
            labels = _proxy_labels(namespace, job, reporter)
            # A response code that has not occurred has no series. Only the client side sees that there was no replica.
            refused = stats.refused if reporter == "source" else 0
            for code, number in (("200", stats.ok), ("503", refused), ("504", stats.timed_out)):
                if number:
                    requests.add_sample("istio_requests_total", {**labels, "response_code": code}, number)
            if stats.ok:
                answered = {**labels, "response_code": "200"}
                for bound, cumulative in stats.milliseconds.buckets():
                    durations.add_sample(f"{durations.name}_bucket", {**answered, "le": bound}, cumulative)
                durations.add_sample(f"{durations.name}_sum", answered, stats.milliseconds.sum)
                durations.add_sample(f"{durations.name}_count", answered, stats.milliseconds.count)
    yield requests
    yield durations


def _proxy_labels(namespace: str, job: str, reporter: str) -> dict[str, str]:
    return {
        "reporter": reporter,
        "source_workload": "istio-gateway",
        "source_workload_namespace": "istio-ingress",
        "destination_workload": job,
        "destination_workload_namespace": namespace,
        "destination_service": f"{job}.{namespace}.svc.cluster.local",
        "destination_service_name": job,
        "destination_service_namespace": namespace,
        "request_protocol": "http",
        # Unknown to the client-side proxy, as Istio documents.
        "connection_security_policy": "mutual_tls" if reporter == "destination" else "unknown",
    }


def _gauge(name: str, text: str, labels: Labels, value: float) -> Metric:
    family = GaugeMetricFamily(name, text, labels=list(labels))
    family.add_metric(list(labels.values()), value)
    return family


def _counter(name: str, text: str, labels: Labels, value: float) -> Metric:
    family = CounterMetricFamily(name, text, labels=list(labels))
    family.add_metric(list(labels.values()), value)
    return family


def _untyped(name: str, text: str, labels: Labels, value: float) -> Metric:
    family = Metric(name, text, "unknown")
    family.add_sample(name, dict(labels), value)
    return family


def _histogram(name: str, text: str, labels: Labels, histogram: Histogram) -> Metric:
    family = HistogramMetricFamily(name, text, labels=list(labels))
    family.add_metric(list(labels.values()), histogram.buckets(), histogram.sum)
    return family
