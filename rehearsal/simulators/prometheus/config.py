"""Pure functions that generate the Prometheus configuration from PodMonitors, like the Prometheus operator.

The relabelling is the operator's (``pkg/prometheus/promcfg.go`` of v0.93). Only service discovery differs: nothing
listens on the addresses of simulated pods, so the load simulator serves the targets, with the labels of Prometheus' own
Kubernetes discovery.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from inferstack.apimachinery.objects import Object
from rehearsal.metrics import GPUS_PATH, PODS_PATH, PROXIES_PATH

_DISCOVERY_SECONDS = 1
_DEFAULT_INTERVAL = "15s"
_META = "__meta_kubernetes_pod_label_"
_PRESENT = "__meta_kubernetes_pod_labelpresent_"
_SNAKE = re.compile(r"(?<=[a-z])(?=[A-Z])")


def make_config(monitors: Iterable[Mapping[str, Any]], *, load: str, interval: str, rules: str) -> Object:
    """Return the complete configuration.

    Args:
        monitors: PodMonitors.
        load: address of the load simulator as host:port.
        interval: scrape interval of GPUs and proxies.
        rules: glob pattern of the rule files.
    """
    beside = {"nvidia-dcgm-exporter": GPUS_PATH, "envoy-stats": PROXIES_PATH}
    scrapes = [*(scrape for monitor in monitors for scrape in _of_monitor(monitor, load))]
    scrapes += [
        {"job_name": name, "scrape_interval": interval, "scrape_timeout": interval, **_discovery(load, path)}
        for name, path in beside.items()
    ]
    limits = {"scrape_interval": _DEFAULT_INTERVAL, "evaluation_interval": _DEFAULT_INTERVAL}
    return {"global": limits, "rule_files": [rules], "scrape_configs": scrapes}


def shortest_interval(monitors: Iterable[Mapping[str, Any]]) -> str:
    """Return the shortest interval set in a PodMonitor (default: 15s)."""
    intervals = [
        endpoint["interval"]
        for monitor in monitors
        for endpoint in monitor["spec"].get("podMetricsEndpoints") or []
        if endpoint.get("interval")
    ]
    return min(intervals, key=_seconds, default=_DEFAULT_INTERVAL)


def make_rule_file(rule: Mapping[str, Any]) -> Object:
    """Return the rule file of a PrometheusRule."""
    return {"groups": rule["spec"].get("groups") or []}


def _of_monitor(monitor: Mapping[str, Any], load: str) -> Iterator[Object]:
    meta, spec = monitor["metadata"], monitor["spec"]
    for index, endpoint in enumerate(spec.get("podMetricsEndpoints") or []):
        scrape: Object = {
            "job_name": f"podMonitor/{meta['namespace']}/{meta['name']}/{index}",
            "honor_labels": bool(endpoint.get("honorLabels")),
            "metrics_path": endpoint.get("path") or "/metrics",
            **_discovery(load, PODS_PATH),
            "relabel_configs": [*_kept(meta, spec, endpoint), *_labels(meta, spec, endpoint)],
        }
        scrape["relabel_configs"] += [_snake(entry) for entry in endpoint.get("relabelings") or []]
        for key, field in (("scrape_interval", "interval"), ("scrape_timeout", "scrapeTimeout")):
            if endpoint.get(field):
                scrape[key] = endpoint[field]
        if endpoint.get("metricRelabelings"):
            scrape["metric_relabel_configs"] = [_snake(entry) for entry in endpoint["metricRelabelings"]]
        yield scrape


def _kept(meta: Mapping[str, Any], spec: Mapping[str, Any], endpoint: Mapping[str, Any]) -> Iterator[Object]:
    """Yield the relabelling rules that drop pods not selected by the monitor."""
    chosen = spec.get("namespaceSelector") or {}
    if not chosen.get("any"):
        names = chosen.get("matchNames") or [meta["namespace"]]
        yield _filter("keep", ["__meta_kubernetes_namespace"], f"({'|'.join(map(re.escape, names))})")
    yield _filter("drop", ["__meta_kubernetes_pod_phase"], "(Failed|Succeeded)")
    selector = spec.get("selector") or {}
    for key, value in (selector.get("matchLabels") or {}).items():
        yield _filter("keep", _both(key), f"({re.escape(value)});true")
    for entry in selector.get("matchExpressions") or []:
        values = "|".join(map(re.escape, entry.get("values") or []))
        action, sources, regex = {
            "In": ("keep", _both(entry["key"]), f"({values});true"),
            "NotIn": ("drop", _both(entry["key"]), f"({values});true"),
            "Exists": ("keep", _both(entry["key"])[1:], "true"),
            "DoesNotExist": ("drop", _both(entry["key"])[1:], "true"),
        }[entry["operator"]]
        yield _filter(action, sources, regex)
    if endpoint.get("port"):
        yield _filter("keep", ["__meta_kubernetes_pod_container_port_name"], re.escape(endpoint["port"]))


def _labels(meta: Mapping[str, Any], spec: Mapping[str, Any], endpoint: Mapping[str, Any]) -> Iterator[Object]:
    """Yield the relabelling rules that set the labels of the target."""
    for source, target in (("namespace", "namespace"), ("pod_container_name", "container"), ("pod_name", "pod")):
        yield {"source_labels": [f"__meta_kubernetes_{source}"], "target_label": target}
    yield {"target_label": "job", "replacement": f"{meta['namespace']}/{meta['name']}"}
    if spec.get("jobLabel"):
        source = _META + _sanitized(spec["jobLabel"])
        yield {"source_labels": [source], "target_label": "job", "regex": "(.+)", "replacement": "${1}"}
    if endpoint.get("port"):
        yield {"target_label": "endpoint", "replacement": endpoint["port"]}


def _filter(action: str, sources: list[str], regex: str) -> Object:
    return {"action": action, "source_labels": sources, "regex": regex}


def _both(key: str) -> list[str]:
    return [_META + _sanitized(key), _PRESENT + _sanitized(key)]


def _sanitized(label: str) -> str:
    return re.sub(r"[^a-zA-Z0-9_]", "_", label)


def _discovery(load: str, path: str) -> Object:
    return {"http_sd_configs": [{"url": f"http://{load}{path}", "refresh_interval": f"{_DISCOVERY_SECONDS}s"}]}


def _snake(entry: Mapping[str, Any]) -> Object:
    return {_SNAKE.sub("_", key).lower(): value for key, value in entry.items()}


def _seconds(duration: str) -> float:
    """Return a Prometheus duration in seconds."""
    units = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800, "y": 31536000}
    return sum(int(number) * units[unit] for number, unit in re.findall(r"(\d+)(ms|[smhdwy])", duration))
