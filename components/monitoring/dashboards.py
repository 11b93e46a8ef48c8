"""Dashboards as ConfigMaps for Grafana's sidecar."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from components.monitoring.builders import JOB_LABEL
from components.monitoring.settings import NAMESPACE
from components.objects import LABELS
from inferstack.apimachinery.objects import Object

_SOURCE = {"type": "prometheus", "uid": "${source}"}
_COLUMNS, _HEIGHT, _PER_ROW = 24, 8, 3
_SCHEMA = 39
"""Version of Grafana's dashboard schema; newer versions of Grafana migrate it on load."""


class Panel(NamedTuple):
    """One graph."""

    title: str
    unit: str
    """Unit in Grafana: celsius, watt, percentunit, reqps, ms, short ..."""
    expr: str
    legend: str


def make_dashboards() -> list[Object]:
    """Return a dashboard on GPUs and one on inference jobs."""
    return [
        _config_map("inferstack-gpu", make_dashboard("inferstack-gpu", "GPUs", _GPU_VARIABLES, _GPU_PANELS)),
        _config_map(
            "inferstack-inference",
            make_dashboard("inferstack-inference", "Inference jobs", _JOB_VARIABLES, _JOB_PANELS),
        ),
    ]


def make_dashboard(uid: str, title: str, variables: Sequence[tuple[str, str]], panels: Sequence[Panel]) -> Object:
    """Return a dashboard in Grafana's format.

    Args:
        uid: stable, so that links survive updates.
        title: display name.
        variables: name and PromQL of the choices at the top, each of which may depend on those before it.
        panels: three in a row.
    """
    width = _COLUMNS // _PER_ROW
    return {
        "uid": uid,
        "title": title,
        "tags": ["inferstack"],
        "schemaVersion": _SCHEMA,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_source_variable(), *(_variable(name, query) for name, query in variables)]},
        "panels": [
            {
                "id": index + 1,
                "type": "timeseries",
                "title": panel.title,
                "datasource": _SOURCE,
                "gridPos": {
                    "x": index % _PER_ROW * width,
                    "y": index // _PER_ROW * _HEIGHT,
                    "w": width,
                    "h": _HEIGHT,
                },
                "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
                "targets": [{"refId": "A", "datasource": _SOURCE, "expr": panel.expr, "legendFormat": panel.legend}],
            }
            for index, panel in enumerate(panels)
        ],
    }


def _config_map(name: str, dashboard: Object) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {**LABELS, "grafana_dashboard": "1"}},
        "data": {f"{name}.json": json.dumps(dashboard, sort_keys=True, ensure_ascii=False)},
    }


def _source_variable() -> dict[str, Any]:
    return {"name": "source", "label": "Data source", "type": "datasource", "query": "prometheus"}


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }


_GPU_VARIABLES = (("node", "label_values(DCGM_FI_DEV_GPU_TEMP, Hostname)"),)
_ON_NODE = '{Hostname=~"$node"}'
_GPU_LEGEND = "{{Hostname}} GPU {{gpu}} {{GPU_I_PROFILE}}"
_GPU_PANELS = (
    Panel("Multiprocessors busy", "percentunit", f"DCGM_FI_PROF_SM_ACTIVE{_ON_NODE}", _GPU_LEGEND),
    Panel("Tensor cores busy", "percentunit", f"DCGM_FI_PROF_PIPE_TENSOR_ACTIVE{_ON_NODE}", _GPU_LEGEND),
    Panel("Memory bandwidth used", "percentunit", f"DCGM_FI_PROF_DRAM_ACTIVE{_ON_NODE}", _GPU_LEGEND),
    Panel(
        "Memory used",
        "percentunit",
        f"DCGM_FI_DEV_FB_USED{_ON_NODE} / (DCGM_FI_DEV_FB_USED{_ON_NODE} + DCGM_FI_DEV_FB_FREE{_ON_NODE})",
        _GPU_LEGEND,
    ),
    Panel("Temperature", "celsius", f"DCGM_FI_DEV_GPU_TEMP{_ON_NODE}", _GPU_LEGEND),
    Panel("Temperature of memory", "celsius", f"DCGM_FI_DEV_MEMORY_TEMP{_ON_NODE}", _GPU_LEGEND),
    Panel("Power", "watt", f"DCGM_FI_DEV_POWER_USAGE{_ON_NODE}", _GPU_LEGEND),
    Panel("Last Xid error", "none", f"DCGM_FI_DEV_XID_ERRORS{_ON_NODE}", _GPU_LEGEND),
    Panel(
        "Memory rows replaced",
        "short",
        f"DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS{_ON_NODE} + DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS{_ON_NODE}",
        _GPU_LEGEND,
    ),
)
_JOB_VARIABLES = (
    ("namespace", "label_values(inference_requests_per_second, namespace)"),
    ("job", f'label_values(inference_requests_per_second{{namespace=~"$namespace"}}, {JOB_LABEL})'),
)
_OF_JOB = f'namespace=~"$namespace",{JOB_LABEL}=~"$job"'
_BY_JOB = f"sum by (namespace, {JOB_LABEL})"
_JOB_LEGEND = f"{{{{namespace}}}}/{{{{{JOB_LABEL}}}}}"
_JOB_PANELS = (
    Panel("Requests", "reqps", f"{_BY_JOB} (inference_requests_per_second{{{_OF_JOB}}})", _JOB_LEGEND),
    Panel("Requests in work", "short", f"{_BY_JOB} (inference_concurrent_requests{{{_OF_JOB}}})", _JOB_LEGEND),
    Panel(
        "Requests in work and waiting", "short", f"{_BY_JOB} (inference_outstanding_requests{{{_OF_JOB}}})", _JOB_LEGEND
    ),
    Panel("Requests that wait", "short", f"{_BY_JOB} (inference_queue_depth{{{_OF_JOB}}})", _JOB_LEGEND),
    Panel(
        "Time to first token, 95th percentile (vLLM)",
        "ms",
        f"inference_time_to_first_token_p95_milliseconds{{{_OF_JOB}}}",
        "{{pod}}",
    ),
    Panel(
        "Time of a request, 95th percentile (vLLM)",
        "s",
        f"histogram_quantile(0.95, sum by (le, namespace, {JOB_LABEL}) "
        f"(rate(vllm:e2e_request_latency_seconds_bucket{{{_OF_JOB}}}[$__rate_interval])))",
        _JOB_LEGEND,
    ),
    Panel(
        "Tokens generated (vLLM)",
        "short",
        f"{_BY_JOB} (rate(vllm:generation_tokens_total{{{_OF_JOB}}}[$__rate_interval]))",
        _JOB_LEGEND,
    ),
    Panel("KV cache used (vLLM)", "percentunit", f"vllm:kv_cache_usage_perc{{{_OF_JOB}}}", "{{pod}}"),
    Panel(
        "GPU busy",
        "percent",
        f"inference_gpu_utilization_percent and on (namespace, pod) inference_requests_per_second{{{_OF_JOB}}}",
        "{{pod}}",
    ),
    Panel("Replicas that serve", "short", f"count by (namespace, {JOB_LABEL}) (up{{{_OF_JOB}}} == 1)", _JOB_LEGEND),
)
