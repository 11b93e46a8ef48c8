"""Rules and dashboards: PromQL that parses, names that agree, and what rules make of samples."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import promql_parser
import pytest
import yaml

from components.gpu.counters import make_csv
from components.gpu.settings import GpuSettings
from components.monitoring.alerts import make_alerts, make_rules
from components.monitoring.dashboards import make_dashboards
from components.monitoring.recording import expression, make_autoscaling_group
from components.monitoring.settings import AlertName, MonitoringSettings
from components.settings import load_role
from inferstack.api import MetricType, RuntimeName, runtimes
from inferstack.apimachinery.objects import Object
from inferstack.toolchain import binaries

TABLE = runtimes.load().runtimes


def settings(given: dict[str, Any] | None = None) -> MonitoringSettings:
    """Return the role's settings with ``given`` over the defaults."""
    return load_role("monitoring", MonitoringSettings, given)


def rules(given: dict[str, Any] | None = None) -> dict[str, list[Object]]:
    """Return the rules of each PrometheusRule by its name."""
    return {rule["metadata"]["name"]: rule["spec"]["groups"][0]["rules"] for rule in make_rules(settings(given))}


def panels() -> Iterator[Object]:
    """Yield the panels of all dashboards."""
    for config_map in make_dashboards():
        (text,) = config_map["data"].values()
        yield from json.loads(text)["panels"]


def queries() -> list[str]:
    """Return every expression of the role, Grafana's variables filled in."""
    expressions = [rule["expr"] for group in rules().values() for rule in group]
    expressions += [panel["targets"][0]["expr"].replace("$__rate_interval", "5m") for panel in panels()]
    return expressions


@pytest.mark.parametrize("query", queries())
def test_every_expression_is_promql(query: str) -> None:
    promql_parser.parse(query)


def test_the_parser_refuses_what_is_none() -> None:
    with pytest.raises(ValueError, match="unclosed left parenthesis"):
        promql_parser.parse("sum by (pod (up)")


@pytest.mark.parametrize(
    ("runtime", "metric"), [(name, metric) for name, runtime in TABLE.items() for metric in runtime.metrics]
)
def test_each_metric_that_a_job_may_scale_by_is_made_for_each_runtime(runtime: RuntimeName, metric: MetricType) -> None:
    query = expression(runtime, metric, "30s")
    promql_parser.parse(query)
    records = {rule["record"] for rule in make_autoscaling_group(settings())["rules"] if rule["expr"] == query}
    assert records == {TABLE[runtime].metrics[metric]}


def test_nothing_is_made_that_no_job_asks_for() -> None:
    records = [rule["record"] for rule in make_autoscaling_group(settings())["rules"]]
    assert set(records) == {name for runtime in TABLE.values() for name in runtime.metrics.values()}
    # The share of the GPU is measured beside the server, once for all.
    assert records.count("inference_gpu_utilization_percent") == 1


def test_the_window_and_the_interval_are_the_settings() -> None:
    group = make_autoscaling_group(settings({"inference": {"interval": "10s", "window": "2m"}}))
    assert group["interval"] == "10s"
    assert {window for rule in group["rules"] for window in re.findall(r"\[(\w+)\]", rule["expr"])} == {"2m"}


def test_each_alert_says_how_bad_what_and_why() -> None:
    alerts = rules({"alerts": {"runbookUrl": "https://runbooks.invalid/"}})["inferstack-alerts"]
    assert [rule["alert"] for rule in alerts] == [alert.name for alert in make_alerts(settings().alerts)]
    assert {rule["alert"] for rule in alerts} == set(get_args(AlertName))
    for rule in alerts:
        assert rule["labels"]["severity"] in ("critical", "warning")
        assert rule["annotations"]["runbook_url"] == f"https://runbooks.invalid/{rule['alert']}"
        assert min(map(len, rule["annotations"].values())) > 20
        assert re.fullmatch(r"\d+m", rule["for"])
        # Braces that an f-string has eaten would show as text.
        assert rule["annotations"]["summary"].count("{{") == rule["annotations"]["summary"].count("}}")
        assert "{{{" not in rule["annotations"]["summary"]


def test_alerts_that_are_not_wanted_are_not_made() -> None:
    assert "inferstack-alerts" not in rules({"alerts": {"enabled": False}})
    every = list(get_args(AlertName))
    assert "inferstack-alerts" not in rules({"alerts": {"disabled": every}})
    (left,) = rules({"alerts": {"disabled": every[1:]}})["inferstack-alerts"]
    assert left["alert"] == every[0]
    assert "runbook_url" not in left["annotations"]


def test_thresholds_are_the_settings() -> None:
    given = {"ignoredXids": [43, 13], "gpuMemoryCelsius": 80, "jobNotReadyMinutes": 5, "volumeFreePercent": 25}
    alerts = {rule["alert"]: rule for rule in rules({"alerts": given})["inferstack-alerts"]}
    assert alerts["GpuXidError"]["expr"] == "DCGM_FI_DEV_XID_ERRORS > 0 != 13 != 43"
    assert alerts["GpuMemoryTooHot"]["expr"].endswith("> 80")
    assert alerts["InferenceJobNotReady"]["for"] == "5m"
    assert alerts["VolumeAlmostFull"]["expr"].endswith("< 0.25")


def test_dashboards_are_found_and_keep_their_address() -> None:
    dashboards = make_dashboards()
    assert dashboards == make_dashboards()
    for config_map in dashboards:
        assert config_map["metadata"]["labels"]["grafana_dashboard"] == "1"
        ((file, text),) = config_map["data"].items()
        dashboard = json.loads(text)
        assert file == f"{dashboard['uid']}.json"
        ids = [panel["id"] for panel in dashboard["panels"]]
        assert ids == list(range(1, len(ids) + 1))
        places = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in dashboard["panels"]}
        assert len(places) == len(ids)
        assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in dashboard["panels"])
        variables = {variable["name"] for variable in dashboard["templating"]["list"]} | {"__rate_interval"}
        assert set(re.findall(r"\$\{?(\w+)", text)) - {"__all"} <= variables


def test_what_is_asked_of_gpus_is_measured_by_default() -> None:
    groups = load_role("gpu", GpuSettings, None).dcgm_exporter.groups
    measured = set(re.findall(r"^DCGM_FI_\w+", make_csv(groups), re.MULTILINE))
    assert {name for query in queries() for name in re.findall(r"DCGM_FI_\w+", query)} <= measured


def test_dashboards_show_what_is_recorded() -> None:
    recorded = {rule["record"] for rule in make_autoscaling_group(settings())["rules"]}
    shown = {name for panel in panels() for name in re.findall(r"\binference_\w+", panel["targets"][0]["expr"])}
    assert shown == recorded


# --- what rules make of samples

_EXPORTER = 'namespace="gpu-operator",pod="exporter"'
_USER = 'exported_namespace="nlp",exported_pod="busy"'
_TARGET = 'namespace="nlp",pod="{pod}",inferencejob="chat",runtime="{runtime}"'


def _series(name: str, values: str, runtime: str, pod: str, more: str = "") -> Object:
    labels = _TARGET.format(pod=pod, runtime=runtime) + (f",{more}" if more else "")
    return {"series": f"{name}{{{labels}}}", "values": values}


def _expect(name: str, pod: str, runtime: str, value: float) -> Object:
    labels = _TARGET.format(pod=pod, runtime=runtime)
    sample = {"labels": f"{name}{{{labels}}}", "value": value}
    return {"expr": f'{name}{{pod="{pod}"}}', "eval_time": "2m", "exp_samples": [sample]}


SAMPLES: list[Object] = [
    # A busy vLLM, and one that has seen no request: its quantile is no number.
    _series("up", "1x24", "vllm", "busy"),
    _series("vllm:request_success_total", "0+10x24", "vllm", "busy", 'finished_reason="stop",engine="0"'),
    _series("vllm:request_success_total", "0+5x24", "vllm", "busy", 'finished_reason="length",engine="0"'),
    _series("vllm:num_requests_waiting", "7x24", "vllm", "busy", 'engine="0"'),
    _series("vllm:num_requests_running", "8x24", "vllm", "busy", 'engine="0"'),
    _series("vllm:time_to_first_token_seconds_bucket", "0+10x24", "vllm", "busy", 'le="0.5"'),
    _series("vllm:time_to_first_token_seconds_bucket", "0+10x24", "vllm", "busy", 'le="+Inf"'),
    _series("up", "1x24", "vllm", "idle"),
    _series("vllm:time_to_first_token_seconds_bucket", "0x24", "vllm", "idle", 'le="0.5"'),
    _series("vllm:time_to_first_token_seconds_bucket", "0x24", "vllm", "idle", 'le="+Inf"'),
    # 4 requests at a time in Triton: 4 s of work in each second.
    _series("up", "1x24", "triton", "tri"),
    _series("nv_inference_request_duration_us", "0+20000000x24", "triton", "tri", 'model="m"'),
    # A server that is not reached is unknown, not idle.
    _series("up", "0x24", "text-embeddings-inference", "down"),
    # Two slices of one pod; the exporter's own labels are those of its own pod.
    {"series": f'DCGM_FI_PROF_SM_ACTIVE{{{_EXPORTER},{_USER},GPU_I_ID="1"}}', "values": "0.2x24"},
    {"series": f'DCGM_FI_PROF_SM_ACTIVE{{{_EXPORTER},{_USER},GPU_I_ID="2"}}', "values": "0.6x24"},
    {"series": f'DCGM_FI_PROF_SM_ACTIVE{{{_EXPORTER},GPU_I_ID="3"}}', "values": "0x24"},
    # A program's own mistake, and a GPU that fell off the bus.
    {"series": 'DCGM_FI_DEV_XID_ERRORS{gpu="0",UUID="a",Hostname="n"}', "values": "31x24"},
    {"series": 'DCGM_FI_DEV_XID_ERRORS{gpu="1",UUID="b",Hostname="n"}', "values": "79x24"},
    {"series": 'DCGM_FI_DEV_XID_ERRORS{gpu="2",UUID="c",Hostname="n"}', "values": "0x24"},
]
EXPECTED: list[Object] = [
    _expect("inference_requests_per_second", "busy", "vllm", 3),
    _expect("inference_queue_depth", "busy", "vllm", 7),
    _expect("inference_outstanding_requests", "busy", "vllm", 15),
    _expect("inference_time_to_first_token_p95_milliseconds", "busy", "vllm", 475),
    _expect("inference_requests_per_second", "idle", "vllm", 0),
    _expect("inference_time_to_first_token_p95_milliseconds", "idle", "vllm", 0),
    _expect("inference_concurrent_requests", "tri", "triton", 4),
    _expect("inference_requests_per_second", "tri", "triton", 0),
    {"expr": 'inference_requests_per_second{pod="down"}', "eval_time": "2m", "exp_samples": []},
    {
        "expr": "inference_gpu_utilization_percent",
        "eval_time": "2m",
        "exp_samples": [{"labels": 'inference_gpu_utilization_percent{namespace="nlp",pod="busy"}', "value": 40}],
    },
]


@pytest.fixture(scope="module")
def promtool() -> Path:
    """Prometheus' own tool, built beside Prometheus."""
    path = binaries.locate("promtool")
    assert path is not None, "promtool is missing: `inferstack tools ensure` gets it"
    return path


def test_what_the_rules_make_of_samples(promtool: Path, tmp_path: Path) -> None:
    groups = [group for rule in make_rules(settings()) for group in rule["spec"]["groups"]]
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump({"groups": groups}))
    fired = {
        "exp_labels": {"severity": "critical", "gpu": "1", "UUID": "b", "Hostname": "n"},
        "exp_annotations": {
            "summary": "GPU 1 (b) of n had Xid error 79.",
            "description": next(a.description for a in make_alerts(settings().alerts) if a.name == "GpuXidError"),
        },
    }
    test = {
        "rule_files": ["rules.yaml"],
        "evaluation_interval": "5s",
        "tests": [
            {
                "interval": "5s",
                "input_series": SAMPLES,
                "promql_expr_test": EXPECTED,
                "alert_rule_test": [{"eval_time": "2m", "alertname": "GpuXidError", "exp_alerts": [fired]}],
            }
        ],
    }
    (tmp_path / "test.yaml").write_text(yaml.safe_dump(test))
    done = subprocess.run(
        [promtool, "test", "rules", "test.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
