"""The monitoring role: what it takes and refuses, and the chart's values."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from components import controller
from components.addon.catalogue import load as load_catalogue
from components.addon.values import check
from components.inference import operator_objects
from components.inference.settings import InferenceSettings
from components.monitoring import builders
from components.monitoring.settings import MonitoringSettings, RuleGroup
from components.monitoring.units import prometheus_bytes, seconds
from components.settings import load_role
from components.tenancy.builders import make_monitoring_policy
from inferstack.api import InferenceJob, runtimes
from inferstack.apimachinery.objects import Object
from inferstack.controllers.jobs.builders import make_deployment
from inferstack.errors import UserError
from inferstack.toolchain.charts import pins
from tests import reference
from tests.chart_values import ChartDefaults

FULL: dict[str, Any] = {
    "prometheus": {
        "storage": {"storageClass": "gp3"},
        "remoteWrite": [
            {"name": "mimir", "url": "https://mimir.invalid/push", "basicAuth": {"secret": "mimir"}},
            {"name": "amp", "url": "https://amp.invalid/write", "sigv4Region": "eu-west-1"},
        ],
    },
    "alertmanager": {"configSecret": "receivers"},
    "grafana": {"adminSecret": {"name": "grafana-admin", "userKey": "user"}},
}


def settings(given: dict[str, Any] | None = None) -> MonitoringSettings:
    """Return the role's settings with ``given`` over the defaults."""
    return load_role("monitoring", MonitoringSettings, given)


def values(given: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the values of the stack's chart."""
    return builders.make_charts(settings(given))["kube-prometheus-stack"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"prometheus": {"retentionSize": "52GB"}}, "prometheus.retentionSize: 52GB leaves too little of storage.size"),
        ({"prometheus": {"storage": {"size": "40Gi"}}}, "prometheus.retentionSize: 45GB leaves too little of storage."),
        ({"prometheus": {"retentionSize": "45Gi"}}, "prometheus.retentionSize: expected a size such as 45GB"),
        ({"prometheus": {"retention": "15 days"}}, "prometheus.retention: expected a duration such as 15s"),
        ({"prometheus": {"retention": 15}}, "prometheus.retention: expected a duration such as 15s"),
        ({"prometheus": {"scrapeInterval": "4s"}}, "prometheus.scrapeInterval: is 4s; it must be from 5s to 120s"),
        ({"prometheus": {"scrapeInterval": "3m"}}, "prometheus.scrapeInterval: is 3m; it must be from 5s to 120s"),
        ({"prometheus": {"evaluationInterval": "1h"}}, "prometheus.evaluationInterval: is 1h"),
        ({"prometheus": {"storage": {"size": "60GB"}}}, "prometheus.storage.size: expected a quantity such as"),
        ({"prometheus": {"storage": {"size": True}}}, "prometheus.storage.size: expected a quantity such as"),
        ({"prometheus": {"resources": {"limits": {"memory": "8 Gi"}}}}, "prometheus.resources.limits.memory: expected"),
        ({"prometheus": {"replicas": 0}}, "prometheus.replicas: input should be greater than or equal to 1"),
        ({"prometheus": {"url": "prometheus:9090"}}, "prometheus.url: expected a URL that starts with http://"),
        (
            {"prometheus": {"remoteWrite": [{"name": "a", "url": "https://me:secret@store.invalid"}]}},
            "prometheus.remoteWrite[0].url: the URL contains credentials",
        ),
        (
            {
                "prometheus": {
                    "remoteWrite": [
                        {"name": "a", "url": "https://a.invalid", "basicAuth": {"secret": "s"}, "sigv4Region": "r"}
                    ]
                }
            },
            "prometheus.remoteWrite[0].sigv4Region: basicAuth is also set",
        ),
        (
            {"prometheus": {"remoteWrite": [{"name": "a", "url": "https://a.invalid"}] * 2}},
            "prometheus.remoteWrite: a is a duplicate",
        ),
        ({"externalLabels": {"cluster": ""}}, "externalLabels: cluster is missing"),
        ({"externalLabels": {"prometheus_replica": "a"}}, "externalLabels: prometheus_replica is set by the Prom"),
        ({"externalLabels": {"cost-centre": "a"}}, "externalLabels: 'cost-centre' is not a valid label"),
        (
            {"alertmanager": {"enabled": False, "configSecret": "receivers"}},
            'alertmanager.configSecret: nothing reads "receivers" while alertmanager.enabled is false',
        ),
        ({"alertmanager": {"config": {"receivers": []}}}, "alertmanager.config: unknown key"),
        ({"grafana": {"adminPassword": "hunter2"}}, "grafana.adminPassword: unknown key; known here: adminSecret"),
        ({"grafana": {"adminSecret": {"name": "Not_A_Name"}}}, "grafana.adminSecret.name: string should match"),
        ({"inference": {"interval": "45s"}}, "inference.interval: is 45s; it must be from 1s to 30s"),
        ({"inference": {"interval": "10s"}}, "inference.window: 30s holds fewer than 4 scrapes of interval 10s"),
        ({"disabledDefaultRules": ["kubeEtcd"]}, "disabledDefaultRules[0]: input should be 'alertmanager'"),
        ({"alerts": {"disabled": ["GpuXid"]}}, "alerts.disabled[0]: input should be 'GpuXidError'"),
        ({"alerts": {"runbookUrl": "wiki"}}, "alerts.runbookUrl: expected a URL that starts with http://"),
        ({"alerts": {"volumeFreePercent": 0}}, "alerts.volumeFreePercent: input should be greater than or equal to 1"),
        ({"scrape": {"kubelet": False}}, "alerts: VolumeAlmostFull requires scrape.kubelet"),
        ({"scrape": {"kubeStateMetrics": False}}, "alerts: InferenceJobNotReady requires scrape.kubeStateMetrics"),
        ({"scrape": {"kubeproxy": True}}, "scrape.kubeproxy: unknown key; did you mean proxy?"),
    ],
)
def test_what_is_refused_under_which_key(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        settings(given)
    assert str(caught.value).startswith(f"inferstack:monitoring.{message}")


def test_an_alert_that_is_not_wanted_asks_for_nothing() -> None:
    given = {"scrape": {"kubelet": False}, "alerts": {"disabled": ["VolumeAlmostFull"]}}
    assert not settings(given).scrape.kubelet
    assert not settings({"scrape": {"kubelet": False}, "alerts": {"enabled": False}}).alerts.enabled
    assert not settings({"enabled": False, "scrape": {"kubelet": False}}).enabled


@pytest.mark.parametrize(
    ("text", "number"), [("15s", 15), ("1h30m", 5400), ("15d", 1_296_000), ("1y", 31_536_000), ("2w", 1_209_600)]
)
def test_durations(text: str, number: int) -> None:
    assert seconds(text) == number


@pytest.mark.parametrize("text", ["", "15", "1.5h", "5m1h", "-5s", "5 s"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="expected a duration"):
        seconds(text)


def test_sizes_of_prometheus_count_in_1024_and_quantities_say_which() -> None:
    assert prometheus_bytes("45GB") == prometheus_bytes("45GiB") == 45 * 2**30
    assert prometheus_bytes("0.5TB") == 2**39


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ({}, "http://kube-prometheus-stack-prometheus.monitoring.svc:9090"),
        ({"enabled": False}, None),
        ({"enabled": False, "prometheus": {"url": "https://thanos.invalid/"}}, "https://thanos.invalid"),
    ],
)
def test_the_prometheus_that_others_ask(given: dict[str, Any], url: str | None) -> None:
    # The chart's name for the service: its release's name, which is the add-on's, and -prometheus.
    assert settings(given).prometheus_url == url


def test_nothing_is_wanted_where_the_role_is_off() -> None:
    assert builders.make_charts(settings({"enabled": False})) == {}
    assert settings({"enabled": False}).namespace is None
    assert settings().namespace == load_catalogue()["kube-prometheus-stack"].namespace


def test_everything_is_scraped_whoever_brings_it() -> None:
    spec = values()["prometheus"]["prometheusSpec"]
    opened = {key for key, value in spec.items() if key.endswith("SelectorNilUsesHelmValues") and value is False}
    assert {key.removesuffix("SelectorNilUsesHelmValues") for key in opened} == {
        *("serviceMonitor", "podMonitor", "rule", "probe", "scrapeConfig"),
    }


def test_prometheus_keeps_within_time_and_size() -> None:
    spec = values(FULL)["prometheus"]["prometheusSpec"]
    assert (spec["retention"], spec["retentionSize"]) == ("15d", "45GB")
    claim = spec["storageSpec"]["volumeClaimTemplate"]["spec"]
    assert claim == {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "60Gi"}},
        "storageClassName": "gp3",
    }
    assert (
        "storageClassName" not in values()["prometheus"]["prometheusSpec"]["storageSpec"]["volumeClaimTemplate"]["spec"]
    )
    assert spec["externalLabels"] == {"cluster": "inferstack", "environment": "development"}
    basic, signed = spec["remoteWrite"]
    assert basic["basicAuth"]["password"] == {"name": "mimir", "key": "password"}
    assert signed["sigv4"] == {"region": "eu-west-1"}


def test_secrets_are_named_and_never_written() -> None:
    chart = values(FULL)
    assert chart["alertmanager"]["alertmanagerSpec"]["useExistingSecret"] is True
    assert chart["alertmanager"]["alertmanagerSpec"]["configSecret"] == "receivers"
    assert chart["grafana"]["admin"] == {
        "existingSecret": "grafana-admin",
        "userKey": "user",
        "passwordKey": "admin-password",
    }
    # Without one, the chart's own ways: nobody is notified, and a password is made up.
    assert "configSecret" not in values()["alertmanager"]["alertmanagerSpec"]
    assert "admin" not in values()["grafana"]
    assert "adminPassword" not in str(chart)


def test_what_is_not_scraped_has_no_rules() -> None:
    chart = values()
    for component in ("kubeControllerManager", "kubeScheduler", "kubeEtcd", "kubeProxy"):
        assert chart[component] == {"enabled": False}
    off = {group for group, enabled in chart["defaultRules"]["rules"].items() if not enabled}
    assert off == {
        *("etcd", "kubeControllerManager", "kubeProxy", "kubeSchedulerAlerting", "kubeSchedulerRecording", "windows"),
    }
    own = values({"scrape": {"etcd": True, "proxy": True}, "disabledDefaultRules": ["network"]})
    assert own["kubeEtcd"] == {"enabled": True}
    assert own["defaultRules"]["rules"].keys() == {
        *("kubeControllerManager", "kubeSchedulerAlerting", "kubeSchedulerRecording", "network"),
    }


def test_grafana_finds_dashboards_of_all_namespaces() -> None:
    sidecar = values()["grafana"]["sidecar"]
    assert sidecar["dashboards"] == {
        "enabled": True,
        "label": "grafana_dashboard",
        "labelValue": "1",
        "searchNamespace": "ALL",
    }
    assert sidecar["datasources"]["label"] == "grafana_datasource"


def test_kube_state_metrics_shows_the_conditions_of_jobs_and_may_read_them() -> None:
    chart = values()["kube-state-metrics"]
    (resource,) = chart["customResourceState"]["config"]["spec"]["resources"]
    assert resource["groupVersionKind"] == {"group": "deepseek.ai", "version": "v1", "kind": "InferenceJob"}
    assert f"{resource['metricNamePrefix']}_{resource['metrics'][0]['name']}" == builders.JOB_CONDITION
    assert chart["rbac"]["extraRules"] == [
        {"apiGroups": ["deepseek.ai"], "resources": ["inferencejobs"], "verbs": ["list", "watch"]}
    ]


def test_chart_accepts_every_value(chart_defaults: ChartDefaults) -> None:
    free = load_catalogue()["kube-prometheus-stack"].free
    assert list(check(values(FULL), chart_defaults("kube-prometheus-stack"), free)) == []


@pytest.mark.reference
def test_the_groups_of_rules_are_those_of_the_real_chart() -> None:
    assert (
        set(get_args(RuleGroup))
        == reference.chart_values(pins()["kube-prometheus-stack"])["defaultRules"]["rules"].keys()
    )


def _job(runtime: str) -> InferenceJob:
    resources = {"nvidia.com/gpu": 1}
    args = ["--model-repository=/models"] if runtime == "triton" else []
    return InferenceJob.model_validate(
        {
            "apiVersion": "deepseek.ai/v1",
            "kind": "InferenceJob",
            "metadata": {"name": "a", "namespace": "nlp", "uid": "u"},
            "spec": {
                "model": "m",
                "runtime": runtime,
                "args": args,
                "resources": {"requests": resources, "limits": resources},
            },
        }
    )


@pytest.mark.parametrize("runtime", [runtime.value for runtime in runtimes.load().runtimes])
def test_each_runtimes_pods_are_scraped_once_on_a_port_that_they_have(runtime: str) -> None:
    job = _job(runtime)
    pod = make_deployment(job, runtimes.load().choose(job.spec), 1)["spec"]["template"]
    labels = pod["metadata"]["labels"]
    ports = {port["name"] for container in pod["spec"]["containers"] for port in container["ports"]}
    (monitor,) = [monitor for monitor in builders.make_monitors(settings()) if _selects(monitor, labels)]
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] in ports
    # A server that has a port for metrics shows none beside its requests.
    assert endpoint["port"] == ("metrics" if "metrics" in ports else "http")
    assert endpoint["interval"] == "5s"
    (rule,) = make_monitoring_policy("nlp", "monitoring")["spec"]["ingress"]
    assert endpoint["port"] in {port["port"] for port in rule["ports"]}


def _selects(monitor: Object, labels: dict[str, str]) -> bool:
    for rule in monitor["spec"]["selector"]["matchExpressions"]:
        if rule["key"] not in labels or (rule["operator"] == "In" and labels[rule["key"]] not in rule["values"]):
            return False
    return True


def test_the_operator_is_scraped_where_it_listens() -> None:
    monitor = builders.make_operator_monitor()
    operator = load_role("inference", InferenceSettings, None).operator
    pod = operator_objects.make_deployment(operator, "image")["spec"]["template"]
    assert monitor["spec"]["namespaceSelector"] == {"matchNames": [controller.NAMESPACE]}
    assert monitor["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] in {port["name"] for port in pod["spec"]["containers"][0]["ports"]}
    assert f"{monitor['metadata']['namespace']}/{monitor['metadata']['name']}" == builders.OPERATOR_JOB


def test_the_defaults_file_says_nothing_that_yaml_reads_as_something_else() -> None:
    # on, off, yes and no are words that YAML takes for true and false, as keys too.
    text = Path(builders.__file__).with_name("defaults.yaml").read_text()

    def keys(value: Any) -> list[Any]:
        return [*value, *(key for below in value.values() for key in keys(below))] if isinstance(value, dict) else []

    assert all(isinstance(key, str) for key in keys(yaml.safe_load(text)))
