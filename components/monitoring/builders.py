"""The chart's values and the monitors of the monitoring role, as pure functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from components.addon.catalogue import AddonName
from components.monitoring.settings import NAMESPACE, MonitoringSettings, RemoteStore, Storage
from components.objects import LABELS
from inferstack.api import constants, runtimes
from inferstack.api.labels import (
    SERIES_JOB,
    SERIES_RUNTIME,
)
from inferstack.apimachinery.labels import APP_NAME, JOB
from inferstack.apimachinery.objects import Object

JOB_LABEL = SERIES_JOB
RUNTIME_LABEL = SERIES_RUNTIME
OPERATOR_JOB = f"{NAMESPACE}/inferstack-operator"
"""Label `job` of the operator's series, which the Prometheus operator derives from the PodMonitor."""
JOB_CONDITION = "inferstack_inferencejob_condition"
"""Series of kube-state-metrics: 1 if a condition of an InferenceJob is true."""
_SELECTORS = ("serviceMonitor", "podMonitor", "rule", "probe", "scrapeConfig")
_RULES_OF = {
    "controllerManager": ("kubeControllerManager",),
    "scheduler": ("kubeSchedulerAlerting", "kubeSchedulerRecording"),
    "etcd": ("etcd",),
    "proxy": ("kubeProxy",),
}


def make_charts(settings: MonitoringSettings) -> dict[AddonName, dict[str, Any]]:
    """Return the add-ons that these settings enable, with their chart values."""
    if not settings.enabled:
        return {}
    scrape = settings.scrape
    values = {
        "defaultRules": {"rules": dict.fromkeys(sorted(set(_unwanted_rules(settings))), False)},
        "prometheus": {"prometheusSpec": _prometheus(settings)},
        "alertmanager": _alertmanager(settings),
        "grafana": _grafana(settings),
        "kubeApiServer": {"enabled": scrape.api_server},
        "kubelet": {"enabled": scrape.kubelet},
        "kubeControllerManager": {"enabled": scrape.controller_manager},
        "kubeScheduler": {"enabled": scrape.scheduler},
        "kubeEtcd": {"enabled": scrape.etcd},
        "kubeProxy": {"enabled": scrape.proxy},
        "coreDns": {"enabled": scrape.core_dns},
        "nodeExporter": {"enabled": scrape.node_exporter},
        "kubeStateMetrics": {"enabled": scrape.kube_state_metrics},
        "kube-state-metrics": _job_metrics(),
    }
    return {"kube-prometheus-stack": values}


def make_monitors(settings: MonitoringSettings) -> list[Object]:
    """Return the PodMonitors of inference pods: one for metrics on the request port, one for a separate port.

    Two, because a pod that is scraped on a port without metrics counts as down.
    """
    table = runtimes.load().runtimes.values()
    beside = sorted(runtime.name.value for runtime in table if runtime.metrics_port is None)
    apart = sorted(runtime.name.value for runtime in table if runtime.metrics_port is not None)
    return [
        _pod_monitor(
            f"inference-{port}",
            {"any": True},
            {
                "matchExpressions": [
                    {"key": JOB, "operator": "Exists"},
                    {"key": APP_NAME, "operator": "In", "values": names},
                ]
            },
            {
                "port": port,
                "path": "/metrics",
                "interval": settings.inference.interval,
                "scrapeTimeout": settings.inference.interval,
                "relabelings": [
                    _relabel("inferstack_dev_job", JOB_LABEL),
                    _relabel("app_kubernetes_io_name", RUNTIME_LABEL),
                ],
            },
        )
        for port, names in (("http", beside), ("metrics", apart))
    ]


def make_operator_monitor() -> Object:
    """Return the PodMonitor of our operator, on the port of its probes."""
    return _pod_monitor(
        "inferstack-operator",
        {"matchNames": ["inferstack-system"]},
        {"matchLabels": {APP_NAME: "inferstack-operator"}},
        {"port": "health", "path": "/metrics"},
    )


def _pod_monitor(name: str, namespaces: Object, selector: Object, endpoint: Object) -> Object:
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PodMonitor",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": LABELS},
        "spec": {"namespaceSelector": namespaces, "selector": selector, "podMetricsEndpoints": [endpoint]},
    }


def _relabel(label: str, target: str) -> Object:
    # The default action of the API.
    return {"action": "replace", "sourceLabels": [f"__meta_kubernetes_pod_label_{label}"], "targetLabel": target}


def _prometheus(settings: MonitoringSettings) -> dict[str, Any]:
    given = settings.prometheus
    return {
        # With the chart's default, true, only objects with this release's label are used, and no other role's.
        **{f"{kind}SelectorNilUsesHelmValues": False for kind in _SELECTORS},
        "replicas": given.replicas,
        "scrapeInterval": given.scrape_interval,
        "evaluationInterval": given.evaluation_interval,
        "retention": given.retention,
        "retentionSize": given.retention_size,
        "externalLabels": dict(settings.external_labels),
        "resources": {kind: dict(amounts) for kind, amounts in given.resources.items()},
        "storageSpec": {"volumeClaimTemplate": _claim(given.storage)},
        "remoteWrite": [_remote(store) for store in given.remote_write],
    }


def _remote(store: RemoteStore) -> dict[str, Any]:
    remote: dict[str, Any] = {"name": store.name, "url": store.url}
    if store.basic_auth:
        secret = store.basic_auth.secret
        remote["basicAuth"] = {
            "username": {"name": secret, "key": store.basic_auth.username_key},
            "password": {"name": secret, "key": store.basic_auth.password_key},
        }
    if store.sigv4_region:
        remote["sigv4"] = {"region": store.sigv4_region}
    return remote


def _alertmanager(settings: MonitoringSettings) -> dict[str, Any]:
    given = settings.alertmanager
    spec: dict[str, Any] = {"replicas": given.replicas, "storage": {"volumeClaimTemplate": _claim(given.storage)}}
    if given.config_secret:
        # The chart then creates no Secret, so receivers' tokens are not in the release's values.
        spec |= {"useExistingSecret": True, "configSecret": given.config_secret}
    return {"enabled": given.enabled, "alertmanagerSpec": spec}


def _grafana(settings: MonitoringSettings) -> dict[str, Any]:
    sidecar = {
        "dashboards": {"enabled": True, "label": "grafana_dashboard", "labelValue": "1", "searchNamespace": "ALL"},
        "datasources": {"enabled": True, "label": "grafana_datasource", "labelValue": "1", "searchNamespace": "ALL"},
    }
    values: dict[str, Any] = {"enabled": settings.grafana.enabled, "sidecar": sidecar}
    if admin := settings.grafana.admin_secret:
        values["admin"] = {
            "existingSecret": admin.name,
            "userKey": admin.user_key,
            "passwordKey": admin.password_key,
        }
    return values


def _claim(storage: Storage) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": storage.size}},
    }
    if storage.storage_class:
        spec["storageClassName"] = storage.storage_class
    return {"spec": spec}


def _unwanted_rules(settings: MonitoringSettings) -> Iterator[str]:
    yield from settings.disabled_default_rules
    scraped = settings.scrape.model_dump(by_alias=True)
    for component, groups in _RULES_OF.items():
        if not scraped[component]:
            yield from groups


def _job_metrics() -> dict[str, Any]:
    """Return the values for kube-state-metrics to export the conditions of InferenceJobs.

    The format is that of its CustomResourceStateMetrics; a condition's status counts as 1 where it is "True".
    """
    condition = {
        "name": JOB_CONDITION.removeprefix("inferstack_"),
        "help": "Whether a condition of an InferenceJob is true",
        "each": {
            "type": "Gauge",
            "gauge": {
                "path": ["status", "conditions"],
                "labelsFromPath": {"condition": ["type"], "reason": ["reason"]},
                "valueFrom": ["status"],
            },
        },
    }
    resource = {
        "groupVersionKind": {"group": constants.GROUP, "version": constants.VERSION, "kind": constants.KIND},
        "metricNamePrefix": "inferstack",
        "labelsFromPath": {JOB_LABEL: ["metadata", "name"], "namespace": ["metadata", "namespace"]},
        "metrics": [condition],
    }
    config = {"kind": "CustomResourceStateMetrics", "spec": {"resources": [resource]}}
    read = {"apiGroups": [constants.GROUP], "resources": [constants.PLURAL], "verbs": ["list", "watch"]}
    return {"customResourceState": {"enabled": True, "config": config}, "rbac": {"extraRules": [read]}}
