"""The 12 core metrics of the mesh: their meaning and expressions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from components.mesh.objects import ROOT, SERVICE_PORT, make
from components.mesh.settings import DataPlane
from inferstack.apimachinery.objects import Object

WINDOW = "1m"
BY = "destination_service_namespace, destination_service_name"
"""Labels of each metric: a Service, which is a job."""
ENVOY_STATS = ("upstream_rq_active", "upstream_rq_retry", "outlier_detection.ejections_active")
"""Envoy statistics that the metrics use. Istio's proxies keep only those that are listed."""
STANDARD = frozenset(
    {
        "istio_requests_total",
        "istio_request_duration_milliseconds_bucket",
        "istio_request_bytes_bucket",
        "istio_response_bytes_bucket",
        "istio_tcp_connections_opened_total",
    }
)
"""Istio's standard metrics that are used; proxies always report them."""


@dataclass(frozen=True)
class Metric:
    """One of the 12 core metrics."""

    name: str
    """Name of the recorded series: ``level:metric:operation``."""
    text: str
    unit: str
    promql: str
    """PromQL; ``{http}`` is the selector of the reporter of requests."""
    ambient: str | None = None
    """Expression for ambient mode if it differs: ztunnel sees only connections, and the gateway reports requests."""

    def expression(self, data_plane: DataPlane) -> str:
        """Return the PromQL for a data plane."""
        ambient = data_plane is DataPlane.AMBIENT
        promql = self.ambient if ambient and self.ambient else self.promql
        return promql.replace("{http}", _AT_GATEWAY if ambient else _AT_POD)

    def sources(self, data_plane: DataPlane) -> list[str]:
        """Return the names of the metrics that the expression reads."""
        return sorted(set(re.findall(r"\b(?:istio|envoy)_\w+", self.expression(data_plane))))


_AT_POD = 'reporter="destination"'
_AT_GATEWAY = 'reporter="source", source_workload="istio-gateway"'
_CLUSTER = rf"outbound\\|{SERVICE_PORT}\\|[^|]*\\|([^.]+)\\.([^.]+)\\.svc\\..+"
"""Pattern of Istio's cluster names, which contain the Service and its namespace; backslashes are escaped for PromQL."""


def _rate(selector: str = "", metric: str = "istio_requests_total", reported: str = "{http}") -> str:
    selectors = ", ".join(filter(None, (reported, selector)))
    return f"sum by ({BY}) (rate({metric}{{{selectors}}}[{WINDOW}]))"


def _share(selector: str, metric: str = "istio_requests_total", reported: str = "{http}") -> str:
    """Return the share of a counter: no value if the total is 0, and 0 if the part has no series yet."""
    part, whole = _rate(selector, metric, reported), _rate("", metric, reported)
    return f"({part} / ({whole} > 0)) or (0 * ({whole} > 0))"


def _quantile(quantile: float, metric: str, scale: str = "") -> str:
    return f"histogram_quantile({quantile}, {_rate('', f'{metric}_bucket').replace('by (', 'by (le, ')}){scale}"


def _envoy(fold: str, stat: str, *, rate: bool = False) -> str:
    """Return a statistic of the callers' clusters by called Service, aggregated over the callers."""
    series = f'envoy_cluster_{stat}{{cluster_name=~"outbound.*"}}'
    named = f"rate({series}[{WINDOW}])" if rate else series
    for label, group in (("destination_service_name", "$1"), ("destination_service_namespace", "$2")):
        named = f'label_replace({named}, "{label}", "{group}", "cluster_name", "{_CLUSTER}")'
    return f"{fold} by ({BY}) ({named})"


CORE = (
    Metric("mesh:requests:rate1m", "Request rate (QPS)", "1/s", _rate()),
    Metric(
        "mesh:errors:ratio1m",
        "Share of requests with status 5xx",
        "0..1",
        _share('response_code=~"5.."'),
    ),
    Metric(
        "mesh:successes:ratio1m",
        "Share of requests with status 2xx; the rest are client errors or aborted requests (code 0)",
        "0..1",
        _share('response_code=~"2.."'),
    ),
    *(
        Metric(
            f"mesh:latency_seconds:p{percent}_1m",
            f"Time from the first byte of the request to the last byte of the response, {percent}th percentile",
            "s",
            _quantile(percent / 100, "istio_request_duration_milliseconds", " / 1000"),
        )
        for percent in (50, 95, 99)
    ),
    Metric("mesh:request_bytes:p95_1m", "Request size", "bytes", _quantile(0.95, "istio_request_bytes")),
    Metric("mesh:response_bytes:p95_1m", "Response size", "bytes", _quantile(0.95, "istio_response_bytes")),
    Metric(
        "mesh:requests_in_flight:sum",
        "Requests in flight, including streams",
        "1",
        _envoy("sum", "upstream_rq_active"),
    ),
    Metric(
        "mesh:retries:rate1m",
        "Requests retried by a proxy",
        "1/s",
        _envoy("sum", "upstream_rq_retry", rate=True),
    ),
    Metric(
        "mesh:replicas_ejected:max",
        "Ejected replicas, as the maximum over the callers",
        "1",
        _envoy("max", "outlier_detection_ejections_active"),
    ),
    Metric(
        "mesh:mtls:ratio1m",
        "Share of requests with mutual TLS; in ambient mode, share of connections",
        "0..1",
        _share('connection_security_policy="mutual_tls"'),
        ambient=_share('connection_security_policy="mutual_tls"', "istio_tcp_connections_opened_total", _AT_POD),
    ),
)
"""The 12 core metrics. Time to first token is a metric of the servers, since proxies do not see tokens."""


def make_stats_matcher() -> dict[str, Any]:
    """Return ``proxyStatsMatcher`` of the mesh's ``defaultConfig``: the Envoy statistics that proxies keep.

    Outbound clusters only. In statistics, a semicolon ends the cluster's name (Istio's DelimitedStatsPrefix), so that
    the dots in the name are not separators.
    """
    return {"inclusionRegexps": [rf"cluster\.outbound\|.*;\.({'|'.join(map(re.escape, ENVOY_STATS))})"]}


def make_rule(data_plane: DataPlane, interval_seconds: int) -> Object:
    """Return the PrometheusRule that records the 12 core metrics."""
    rules: list[Mapping[str, Any]] = [{"record": metric.name, "expr": metric.expression(data_plane)} for metric in CORE]
    group = {"name": "inferstack.mesh", "interval": f"{interval_seconds}s", "rules": rules}
    return make("monitoring.coreos.com/v1", "PrometheusRule", ROOT, "mesh-core-metrics", {"groups": [group]})
