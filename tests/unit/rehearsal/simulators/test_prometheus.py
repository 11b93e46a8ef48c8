"""What the agent makes of PodMonitors, and what it tells the API server of the adapter."""

from __future__ import annotations

from typing import Any

from components.monitoring.builders import make_monitors, make_operator_monitor
from components.monitoring.settings import MonitoringSettings
from components.settings import load_role
from rehearsal.load.pods import targets
from rehearsal.simulators.prometheus import config as prometheus_config
from rehearsal.simulators.prometheus import metrics_api

LOAD = "127.0.0.1:20009"


def monitors(interval: str = "5s") -> list[dict[str, Any]]:
    given = {"inference": {"interval": interval}}
    return [*make_monitors(load_role("monitoring", MonitoringSettings, given)), make_operator_monitor()]


def test_config_of_complete_pod_monitor() -> None:
    config = prometheus_config.make_config(monitors()[:1], load=LOAD, interval="5s", rules="/rules/*.json")
    assert config["rule_files"] == ["/rules/*.json"]
    scrape, gpus, proxies = config["scrape_configs"]
    job = "inferstack_dev_job"
    name = "app_kubernetes_io_name"
    assert scrape == {
        "job_name": "podMonitor/monitoring/inference-http/0",
        "honor_labels": False,
        "metrics_path": "/metrics",
        "scrape_interval": "5s",
        "scrape_timeout": "5s",
        "http_sd_configs": [{"url": f"http://{LOAD}/discovery/pods", "refresh_interval": "1s"}],
        "relabel_configs": [
            {"action": "drop", "source_labels": ["__meta_kubernetes_pod_phase"], "regex": "(Failed|Succeeded)"},
            {"action": "keep", "source_labels": [f"__meta_kubernetes_pod_labelpresent_{job}"], "regex": "true"},
            {
                "action": "keep",
                "source_labels": [
                    f"__meta_kubernetes_pod_label_{name}",
                    f"__meta_kubernetes_pod_labelpresent_{name}",
                ],
                "regex": "(vllm);true",
            },
            {"action": "keep", "source_labels": ["__meta_kubernetes_pod_container_port_name"], "regex": "http"},
            {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
            {"source_labels": ["__meta_kubernetes_pod_container_name"], "target_label": "container"},
            {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
            {"target_label": "job", "replacement": "monitoring/inference-http"},
            {"target_label": "endpoint", "replacement": "http"},
            {
                "action": "replace",
                "source_labels": [f"__meta_kubernetes_pod_label_{job}"],
                "target_label": "inferencejob",
            },
            {"action": "replace", "source_labels": [f"__meta_kubernetes_pod_label_{name}"], "target_label": "runtime"},
        ],
    }
    assert (gpus["job_name"], proxies["job_name"]) == ("nvidia-dcgm-exporter", "envoy-stats")


def test_job_label_matches_prometheus_operator() -> None:
    config = prometheus_config.make_config(monitors(), load=LOAD, interval="5s", rules="")
    operator = config["scrape_configs"][2]
    assert {"target_label": "job", "replacement": "monitoring/inferstack-operator"} in operator["relabel_configs"]
    keep = {"action": "keep", "source_labels": ["__meta_kubernetes_namespace"], "regex": r"(inferstack\-system)"}
    assert operator["relabel_configs"][0] == keep


def test_gpu_scrape_interval_is_shortest_monitor_interval() -> None:
    assert prometheus_config.shortest_interval(monitors("2s")) == "2s"
    assert prometheus_config.shortest_interval([make_operator_monitor()]) == "15s"
    assert prometheus_config.shortest_interval([]) == "15s"


def test_discovered_pod_has_labels_of_prometheus_discovery() -> None:
    pod = {
        "metadata": {"name": "chat-0", "namespace": "nlp", "uid": "u", "labels": {"inferstack.dev/job": "chat"}},
        "spec": {
            "nodeName": "n",
            "containers": [{"name": "server", "ports": [{"name": "http", "containerPort": 8000}]}],
        },
        "status": {"phase": "Running", "podIP": "10.0.0.7", "conditions": []},
    }
    (target,) = targets(pod, LOAD, "/metrics/pods/nlp/chat-0")
    assert target["targets"] == [LOAD]
    labels = target["labels"]
    assert labels["__metrics_path__"] == "/metrics/pods/nlp/chat-0"
    assert labels["instance"] == "10.0.0.7:8000"
    assert labels["__meta_kubernetes_pod_label_inferstack_dev_job"] == "chat"
    assert labels["__meta_kubernetes_pod_labelpresent_inferstack_dev_job"] == "true"
    assert labels["__meta_kubernetes_pod_container_port_name"] == "http"
    assert labels["__meta_kubernetes_pod_ready"] == "false"


def test_api_service_leads_to_loopback() -> None:
    service, api = metrics_api.make_service(20011), metrics_api.make_api_service(20011, "Q0E=")
    assert service["spec"] == {
        "type": "ExternalName",
        "externalName": "localhost",
        "ports": [{"name": "https", "port": 20011, "protocol": "TCP"}],
    }
    reference = {"name": service["metadata"]["name"], "namespace": service["metadata"]["namespace"], "port": 20011}
    assert api["spec"]["service"] == reference
    assert api["spec"]["caBundle"] == "Q0E="
    assert "insecureSkipTLSVerify" not in api["spec"]
    assert api["metadata"]["name"] == f"{api['spec']['version']}.{api['spec']['group']}"
