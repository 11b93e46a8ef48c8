"""Recording rules that give the metrics of all servers common names for autoscaling.

``inferstack/api/runtimes.yaml`` says which names a runtime's HorizontalPodAutoscaler asks for; the expressions
here make them of what the server itself shows. Sources of its names: vLLM ``vllm/v1/metrics/loggers.py``,
text-embeddings-inference ``core/src/queue.rs`` and ``router/src/http``, Triton's and dcgm-exporter's documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from components.monitoring.builders import JOB_LABEL, RUNTIME_LABEL
from components.monitoring.settings import MonitoringSettings
from inferstack.api import MetricType, RuntimeName, runtimes
from inferstack.apimachinery.objects import Object

_BY = f"namespace, pod, {JOB_LABEL}, {RUNTIME_LABEL}"

Expression = Callable[[str], str]
"""Returns PromQL for a range of rates."""


def make_autoscaling_group(settings: MonitoringSettings) -> Object:
    """Return the group of rules that record the metrics for scaling inference pods."""
    window = settings.inference.window
    rules: list[Object] = []
    for runtime in runtimes.load().runtimes.values():
        for metric, record in runtime.metrics.items():
            rule = {"record": record, "expr": expression(runtime.name, metric, window)}
            # A metric that does not come from the server has one rule for all runtimes.
            if rule not in rules:
                rules.append(rule)
    return {"name": "inferstack.autoscaling", "interval": settings.inference.interval, "rules": rules}


def expression(runtime: RuntimeName, metric: MetricType, window: str) -> str:
    """Return PromQL with one series for each pod of a runtime.

    Raises:
        KeyError: there is no expression for this metric of this runtime.
    """
    if metric is MetricType.GPU_UTILIZATION_PERCENT:
        return _gpu()
    # A server that has seen no request yet shows no series, and quantiles of nothing are no number: both mean 0. To the
    # autoscaler a pod without a value is unknown, so that an idle job would never shrink.
    idle = f'0 * max by ({_BY}) (up{{{RUNTIME_LABEL}="{runtime.value}"}} == 1)'
    return f"({_EXPRESSIONS[runtime][metric](window)} >= 0) or {idle}"


def _sum(selector: str) -> Expression:
    return lambda _: f"sum by ({_BY}) ({selector})"


def _rate(counter: str, scale: str = "") -> Expression:
    return lambda window: f"sum by ({_BY}) (rate({counter}[{window}])){scale}"


def _total(*parts: Expression) -> Expression:
    return lambda window: " + ".join(part(window) for part in parts)


def _less(part: Expression) -> Expression:
    return lambda window: f"-1 * {part(window)}"


def _p95_milliseconds(histogram: str) -> Expression:
    return lambda window: f"histogram_quantile(0.95, sum by (le, {_BY}) (rate({histogram}_bucket[{window}]))) * 1000"


def _gpu() -> str:
    """Return the share of time in which a pod's multiprocessors work, averaged over its GPUs or slices.

    dcgm-exporter names the pod that has a GPU in labels which Prometheus moves to exported_*, for pod and namespace are
    the exporter's own. Not DCGM_FI_DEV_GPU_UTIL, which is empty on MIG slices.
    """
    busy = 'DCGM_FI_PROF_SM_ACTIVE{exported_pod!=""}'
    for label in ("pod", "namespace"):
        busy = f'label_replace({busy}, "{label}", "$1", "exported_{label}", "(.+)")'
    return f"avg by (namespace, pod) ({busy}) * 100"


_EXPRESSIONS: Mapping[RuntimeName, Mapping[MetricType, Expression]] = {
    RuntimeName.VLLM: {
        MetricType.REQUESTS_PER_SECOND: _rate("vllm:request_success_total"),
        MetricType.CONCURRENT_REQUESTS: _sum("vllm:num_requests_running"),
        MetricType.OUTSTANDING_REQUESTS: _total(_sum("vllm:num_requests_running"), _sum("vllm:num_requests_waiting")),
        MetricType.QUEUE_DEPTH: _sum("vllm:num_requests_waiting"),
        MetricType.TIME_TO_FIRST_TOKEN_MILLISECONDS: _p95_milliseconds("vllm:time_to_first_token_seconds"),
    },
    # The next two have no count of requests in work. By Little's law their mean number is the time that they spend in
    # the server, all together, in each second. That time is known once they are done; of the requests outstanding it is
    # taken without the time of waiting, and those that wait now are counted.
    RuntimeName.TEXT_EMBEDDINGS_INFERENCE: {
        MetricType.REQUESTS_PER_SECOND: _rate("te_request_success"),
        MetricType.CONCURRENT_REQUESTS: _rate("te_request_duration_sum"),
        MetricType.OUTSTANDING_REQUESTS: _total(
            _rate("te_request_duration_sum"), _less(_rate("te_request_queue_duration_sum")), _sum("te_queue_size")
        ),
        MetricType.QUEUE_DEPTH: _sum("te_queue_size"),
    },
    RuntimeName.TRITON: {
        MetricType.REQUESTS_PER_SECOND: _rate("nv_inference_request_success"),
        MetricType.CONCURRENT_REQUESTS: _rate("nv_inference_request_duration_us", " / 1e6"),
        MetricType.OUTSTANDING_REQUESTS: _total(
            _rate("nv_inference_request_duration_us", " / 1e6"),
            _less(_rate("nv_inference_queue_duration_us", " / 1e6")),
            _sum("nv_inference_pending_request_count"),
        ),
        MetricType.QUEUE_DEPTH: _sum("nv_inference_pending_request_count"),
    },
}
