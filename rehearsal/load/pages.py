"""Metrics of the simulated servers, GPUs and proxies in Prometheus' text format, under the names of the real ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

from prometheus_client import Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

from rehearsal.load.devices import Device
from rehearsal.load.histogram import Histogram
from rehearsal.load.server import Answers, Server

Labels = Mapping[str, str]
Activity = tuple[str, str, str, float, float]
"""Of a pod: namespace, name, container, share of busy multiprocessors, share of memory in use."""


class _Page(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def render(families: Iterable[Metric]) -> bytes:
    """Return metrics as a page."""
    return generate_latest(_Page(families))


def vllm(server: Server, model: str) -> Iterator[Metric]:
    """Yield what vLLM v0.11 shows of itself, as far as it is simulated."""
    labels = {"model_name": model, "engine": "0"}
    counts = server.counts
    yield _gauge("vllm:num_requests_running", "Requests in work.", labels, server.running)
    yield _gauge("vllm:num_requests_waiting", "Requests that wait.", labels, server.waiting)
    for name in ("vllm:kv_cache_usage_perc", "vllm:gpu_cache_usage_perc"):  # the second is the name up to v0.10
        yield _gauge(name, "Share of the KV cache in use.", labels, server.cache_share)
    yield _counter("vllm:prompt_tokens", "Tokens of prompts.", labels, counts.prompt_tokens)
    yield _counter("vllm:generation_tokens", "Tokens of answers.", labels, counts.output_tokens)
    # A reason that has not come up has no series.
    if counts.answers.ok:
        finished = {**labels, "finished_reason": "stop"}
        yield _counter("vllm:request_success", "Requests that were answered.", finished, counts.answers.ok)
    for name, text, histogram in (
        ("time_to_first_token_seconds", "Time to the first token.", counts.first_token),
        ("time_per_output_token_seconds", "Time between tokens.", counts.per_token),
        ("inter_token_latency_seconds", "Time between tokens.", counts.per_token),
        ("e2e_request_latency_seconds", "Time to the whole answer.", counts.request),
        ("request_queue_time_seconds", "Time of waiting.", counts.queued),
    ):
        yield _histogram(f"vllm:{name}", text, labels, histogram)


def text_embeddings_inference(server: Server, _: str) -> Iterator[Metric]:
    """Yield what text-embeddings-inference shows of itself, as far as it is simulated."""
    counts = server.counts
    answered = {"method": "single"}
    if counts.answers.ok:  # its counters and histograms are there from the first request on
        # Its counters do not end in _total, which the format's types ask for: they go without a type.
        yield _untyped("te_request_count", "Requests.", answered, counts.answers.ok)
        yield _untyped("te_request_success", "Requests that were answered.", answered, counts.answers.ok)
        yield _histogram("te_request_duration", "Time to the whole answer.", {}, counts.request)
        yield _histogram("te_request_queue_duration", "Time of waiting.", {}, counts.queued)
    yield _gauge("te_queue_size", "Requests that wait.", {}, server.waiting)


def triton(server: Server, model: str) -> Iterator[Metric]:
    """Yield what Triton shows of itself, as far as it is simulated."""
    labels = {"model": model, "version": "1"}
    counts = server.counts
    yield _untyped("nv_inference_request_success", "Requests that were answered.", labels, counts.answers.ok)
    yield _untyped("nv_inference_request_duration_us", "Their time.", labels, counts.request.sum * 1e6)
    yield _untyped("nv_inference_queue_duration_us", "Their time of waiting.", labels, counts.queued.sum * 1e6)
    yield _gauge("nv_inference_pending_request_count", "Requests that wait.", labels, server.waiting)


SERVERS: Final[Mapping[str, Callable[[Server, str], Iterator[Metric]]]] = {
    "vllm": vllm,
    "text-embeddings-inference": text_embeddings_inference,
    "triton": triton,
}
"""By the runtime's name, the value of the pods' label app.kubernetes.io/name."""


def gpus(node: str, devices: Sequence[Device], used: Mapping[Device, Activity]) -> Iterator[Metric]:
    """Yield what a node's dcgm-exporter shows.

    Args:
        node: name.
        devices: of the node.
        used: devices that a pod has.
    """
    fields: tuple[tuple[str, str, Callable[[Device, float, float], float | None]], ...] = (
        # Empty on cut GPUs, as of the real driver.
        ("DCGM_FI_DEV_GPU_UTIL", "GPU utilization (%).", lambda d, busy, _: None if d.profile else 100 * (busy > 0)),
        ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", "Share of time with work.", lambda _, busy, __: float(busy > 0)),
        ("DCGM_FI_PROF_SM_ACTIVE", "Share of busy multiprocessors.", lambda _, busy, __: busy),
        ("DCGM_FI_DEV_FB_USED", "Memory in use (MiB).", lambda d, _, memory: round(d.memory_mib * memory)),
        ("DCGM_FI_DEV_FB_FREE", "Memory free (MiB).", lambda d, _, memory: round(d.memory_mib * (1 - memory))),
    )
    for name, text, value in fields:
        family = Metric(name, text, "gauge")
        for device in devices:
            namespace, pod, container, busy, memory = used.get(device, ("", "", "", 0.0, 0.0))
            shown = value(device, busy, memory)
            if shown is not None:
                labels = {**_device_labels(node, device), "namespace": namespace, "pod": pod, "container": container}
                family.add_sample(name, labels, shown)
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


def proxy(jobs: Iterable[tuple[str, Answers]]) -> Iterator[Metric]:
    """Yield Istio's standard metrics, as the gateway reports them (source) and the replicas' proxies (destination).

    Args:
        jobs: namespace/name of each job that is called, and what was counted.
    """
    requests = CounterMetricFamily("istio_requests", "Requests.")
    durations = HistogramMetricFamily("istio_request_duration_milliseconds", "Time to the whole answer.")
    for name, counted in jobs:
        namespace, job = name.split("/")
        for reporter in ("source", "destination"):
            labels = _proxy_labels(namespace, job, reporter)
            # Proxies have no series of what has not happened. That there was no replica only the caller knows.
            refused = counted.refused if reporter == "source" else 0
            for code, number in (("200", counted.ok), ("503", refused), ("504", counted.gave_up)):
                if number:
                    requests.add_sample("istio_requests_total", {**labels, "response_code": code}, number)
            if counted.ok:
                answered = {**labels, "response_code": "200"}
                for bound, below in counted.milliseconds.buckets():
                    durations.add_sample(f"{durations.name}_bucket", {**answered, "le": bound}, below)
                durations.add_sample(f"{durations.name}_sum", answered, counted.milliseconds.sum)
                durations.add_sample(f"{durations.name}_count", answered, counted.milliseconds.count)
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
        # The calling proxy does not say, as Istio's documentation has it.
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
