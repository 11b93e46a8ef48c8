"""The autoscaling role: validation of settings, chart values, ScaledObjects."""

from __future__ import annotations

from typing import Any

import promql_parser
import pytest

from components.addon.catalogue import load as load_catalogue
from components.addon.values import check as check_values
from components.autoscaling import builders
from components.autoscaling.checks import check
from components.autoscaling.scaled import make_authentication, make_scaled_objects
from components.autoscaling.settings import AutoscalingSettings
from components.inference.jobs import make_jobs
from components.inference.settings import InferenceSettings
from components.monitoring.recording import make_autoscaling_group
from components.monitoring.settings import MonitoringSettings
from components.settings import load_role
from inferstack.api import MetricType, runtimes
from inferstack.api.runtimes import make_adapter_rules
from inferstack.apimachinery.objects import Object
from inferstack.errors import UserError
from tests.chart_values import ChartDefaults

URL = "http://prometheus.invalid:9090"
ONE = {"nvidia.com/gpu": 1}
RESOURCES = {"requests": ONE, "limits": ONE}
CHAT: Object = {"metadata": {"name": "chat", "namespace": "nlp"}, "spec": {"model": "Qwen/Qwen2.5-7B-Instruct"}}
BERT: Object = {
    "metadata": {"name": "bert", "namespace": "nlp"},
    "spec": {"model": "bert-base-uncased", "autoscale": {"metrics": [{"type": "QueueDepth", "target": 3}]}},
}
FIXED: Object = {"metadata": {"name": "fixed", "namespace": "nlp"}, "spec": {"model": "m/m", "replicas": 2}}
QUEUE = {"type": "QueueDepth", "target": 4}
GATEWAY = {"type": "prometheus", "metadata": {"query": "sum(rate(istio_requests_total[1m]))", "threshold": "10"}}
SCALED: dict[str, Any] = {"job": "nlp/chat", "maxReplicas": 6, "metrics": [QUEUE]}
SQS = {"namespace": "nlp", "name": "sqs", "podIdentity": "aws"}


def settings(given: dict[str, Any] | None = None) -> AutoscalingSettings:
    """Return the settings of the role, with ``given`` over the defaults."""
    return load_role("autoscaling", AutoscalingSettings, given)


def jobs() -> list[Object]:
    """Return three jobs: without scaling, with an autoscaler, and with fixed replicas."""
    given = [{**job, "spec": {**job["spec"], "resources": RESOURCES}} for job in (CHAT, BERT, FIXED)]
    return make_jobs(load_role("inference", InferenceSettings, {"jobs": given}), ["nlp", "vision"])


def checked(given: dict[str, Any], url: str | None = URL, values: dict[Any, Any] | None = None) -> list[Object]:
    """Check a stack and return its ScaledObjects."""
    loaded = settings(given)
    specs = check(loaded, jobs=jobs(), tenants=["nlp", "vision"], prometheus_url=url, chart_values=values or {})
    return make_scaled_objects(loaded, specs, url)


def scaled(**given: Any) -> Object:
    """Return the ScaledObject of a stack with one scaled job."""
    (scaled_object,) = checked({"scaledJobs": [{**SCALED, **given}]})
    return scaled_object


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({"keda": {"replicas": 0}}, "keda.replicas: "),
        ({"adapter": {"relistSeconds": 5}}, "adapter.relistSeconds: "),
        ({"prometheusUrl": "prometheus:9090"}, "prometheusUrl: "),
        ({"prometheusUrl": "http://me:pw@p.invalid"}, "prometheusUrl: "),
        ({"scaledObjects": []}, "scaledObjects: unknown key"),
        ({"scaledJobs": [{"job": "chat", "maxReplicas": 2, "metrics": [QUEUE]}]}, "scaledJobs[0].job: "),
        ({"scaledJobs": [{"job": "nlp/chat", "maxReplicas": 2}]}, "scaledJobs[0]: metrics or triggers"),
        ({"scaledJobs": [{**SCALED, "minReplicas": 7}]}, "scaledJobs[0].maxReplicas: 6 is less than minReplicas"),
        ({"scaledJobs": [{**SCALED, "metrics": [QUEUE, QUEUE]}]}, "scaledJobs[0].metrics: duplicate type QueueDepth"),
        (
            {"scaledJobs": [{**SCALED, "minReplicas": 0}]},
            "scaledJobs[0]: minReplicas is 0",
        ),
        (
            {"scaledJobs": [{**SCALED, "minReplicas": 0, "triggers": [{"type": "cpu", "metadata": {"value": "80"}}]}]},
            "scaledJobs[0].triggers: minReplicas is 0",
        ),
        (
            {"scaledJobs": [{**SCALED, "triggers": [{"type": "prometheuss", "metadata": {}}]}]},
            'scaledJobs[0].triggers[0].type: KEDA has no scaler "prometheuss"',
        ),
        (
            {"scaledJobs": [{**SCALED, "triggers": [{"type": "kafka", "metadata": {"lagThreshold": 10}}]}]},
            'scaledJobs[0].triggers[0].metadata.lagThreshold: must be a string; write "10"',
        ),
        (
            {"scaledJobs": [{**SCALED, "triggers": [{"type": "kafka", "metadata": {"sasl": True}}]}]},
            'scaledJobs[0].triggers[0].metadata.sasl: must be a string; write "true"',
        ),
        (
            {"scaledJobs": [{**SCALED, "triggers": [{"type": "prometheus", "metadata": {"query": "up"}}]}]},
            "scaledJobs[0].triggers[0].metadata: threshold is required",
        ),
        (
            {
                "scaledJobs": [
                    {**SCALED, "triggers": [{**GATEWAY, "authentication": "a", "clusterAuthentication": "b"}]}
                ]
            },
            "scaledJobs[0].triggers[0].clusterAuthentication: ",
        ),
        ({"scaledJobs": [{**SCALED, "fallback": {"replicas": 7}}]}, "scaledJobs[0].fallback: replicas: 7"),
        (
            {
                "scaledJobs": [
                    {
                        "job": "nlp/chat",
                        "maxReplicas": 2,
                        "triggers": [{"type": "memory", "metadata": {"value": "80"}}],
                        "fallback": {"replicas": 1},
                    }
                ]
            },
            "scaledJobs[0].fallback: KEDA has no fallback",
        ),
        ({"authentications": [{"namespace": "nlp", "name": "a"}]}, "authentications[0]: secrets or podIdentity"),
    ],
)
def test_invalid_setting_reports_its_key(given: dict[str, Any], error: str) -> None:
    with pytest.raises(UserError) as caught:
        settings(given)
    assert str(caught.value).startswith(f"inferstack:autoscaling.{error}")


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (
            {"scaledJobs": [{**SCALED, "job": "nlp/chta"}]},
            'scaledJobs[0].job: the stack has no job "nlp/chta"; it has nlp/chat',
        ),
        (
            {"scaledJobs": [{**SCALED, "job": "nlp/bert"}]},
            "scaledJobs[0].job: nlp/bert also has inferstack:inference.jobs[1].spec.autoscale",
        ),
        (
            {"scaledJobs": [{**SCALED, "job": "nlp/fixed"}]},
            "scaledJobs[0].job: nlp/fixed also has inferstack:inference.jobs[2].spec.replicas",
        ),
        (
            {"scaledJobs": [SCALED, SCALED]},
            "scaledJobs[1].job: nlp/chat is already in inferstack:autoscaling.scaledJobs[0]",
        ),
        (
            {"scaledJobs": [SCALED], "keda": {"enabled": False}},
            "scaledJobs[0]: requires inferstack:autoscaling.enabled and inferstack:autoscaling.keda.enabled",
        ),
        (
            {"authentications": [SQS], "enabled": False},
            "authentications[0]: requires inferstack:autoscaling.enabled and inferstack:autoscaling.keda.enabled",
        ),
        (
            {"authentications": [{**SQS, "namespace": "nlpp"}]},
            'authentications[0].namespace: no tenant "nlpp"',
        ),
        ({"authentications": [SQS, SQS]}, 'authentications[1].name: "sqs" in namespace nlp'),
        (
            {
                "authentications": [{**SQS, "namespace": "vision"}],
                "scaledJobs": [{**SCALED, "triggers": [{**GATEWAY, "authentication": "sqs"}]}],
            },
            'scaledJobs[0].triggers[0].authentication: inferstack:autoscaling.authentications has no "sqs" in',
        ),
    ],
)
def test_contradictory_settings_report_both_keys(given: dict[str, Any], error: str) -> None:
    with pytest.raises(UserError) as caught:
        checked(given)
    assert str(caught.value).startswith(f"inferstack:autoscaling.{error}")


def test_metric_without_support_of_the_runtime_is_rejected() -> None:
    plain = [{**CHAT, "spec": {"model": "bert-base-uncased", "resources": RESOURCES}}]
    encoders = make_jobs(load_role("inference", InferenceSettings, {"jobs": plain}), ["nlp"])
    first_token = {"type": "TimeToFirstTokenMilliseconds", "target": 200}
    given = settings({"scaledJobs": [{**SCALED, "metrics": [QUEUE, first_token]}]})
    with pytest.raises(UserError) as caught:
        check(given, jobs=encoders, tenants=["nlp"], prometheus_url=URL, chart_values={})
    assert str(caught.value).startswith(
        "inferstack:autoscaling.scaledJobs[0].metrics[1].type: text-embeddings-inference"
    )


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ({}, "adapter.enabled: no Prometheus is configured; enable inferstack:monitoring.enabled"),
        ({"adapter": {"enabled": False}, "scaledJobs": [SCALED]}, "scaledJobs[0].metrics: no Prometheus"),
        (
            {"adapter": {"enabled": False}, "scaledJobs": [{**SCALED, "metrics": [], "triggers": [GATEWAY]}]},
            "scaledJobs[0].triggers[0].metadata.serverAddress: ",
        ),
    ],
)
def test_missing_prometheus_is_rejected(given: dict[str, Any], error: str) -> None:
    with pytest.raises(UserError) as caught:
        checked(given, url=None)
    assert str(caught.value).startswith(f"inferstack:autoscaling.{error}")
    # A Prometheus outside the stack is accepted.
    checked({**given, "prometheusUrl": "https://thanos.invalid"}, url=None)


def test_adapter_must_not_claim_the_api_of_keda() -> None:
    rule = {"prometheus-adapter": {"rules": {"external": [{"seriesQuery": "up"}]}}}
    with pytest.raises(UserError) as caught:
        checked({}, values=rule)
    message = str(caught.value)
    assert message.startswith("inferstack:addon.values.prometheus-adapter.rules.external: ")
    assert "inferstack:autoscaling.keda.enabled" in message
    checked({"keda": {"enabled": False}}, values=rule)
    checked({"adapter": {"enabled": False}}, values=rule)


def charts(given: dict[str, Any] | None = None, *, monitored: bool = True, url: str | None = URL) -> dict[Any, Any]:
    """Return the enabled charts with their values."""
    return builders.make_charts(settings(given), monitored=monitored, prometheus_url=url)


@pytest.mark.parametrize(
    ("given", "enabled"),
    [
        ({}, {"keda", "prometheus-adapter"}),
        ({"enabled": False}, set()),
        ({"keda": {"enabled": False}}, {"prometheus-adapter"}),
        ({"adapter": {"enabled": False}}, {"keda"}),
    ],
)
def test_settings_select_the_charts(given: dict[str, Any], enabled: set[str]) -> None:
    assert charts(given).keys() == enabled


@pytest.mark.parametrize(
    ("given", "prometheus"),
    [
        ({}, {"url": "http://prometheus.invalid", "port": 9090, "path": ""}),
        (
            {"prometheusUrl": "https://thanos.invalid/query/"},
            {"url": "https://thanos.invalid", "port": 443, "path": "/query"},
        ),
        ({"prometheusUrl": "http://thanos.invalid"}, {"url": "http://thanos.invalid", "port": 80, "path": ""}),
    ],
)
def test_adapter_uses_the_configured_prometheus(given: dict[str, Any], prometheus: dict[str, Any]) -> None:
    assert charts(given)["prometheus-adapter"]["prometheus"] == prometheus


def test_adapter_serves_only_pod_metrics() -> None:
    rules = charts()["prometheus-adapter"]["rules"]
    assert (rules["default"], rules["external"]) == (False, [])
    assert len(rules["custom"]) == len({rule["name"]["as"] for rule in rules["custom"]})


@pytest.mark.parametrize("runtime", runtimes.load().runtimes.values(), ids=lambda runtime: runtime.name.value)
def test_every_metric_of_a_runtime_is_served(runtime: runtimes.Runtime) -> None:
    served = {rule["name"]["as"]: rule for rule in make_adapter_rules()}
    recorded = {
        rule["record"] for rule in make_autoscaling_group(load_role("monitoring", MonitoringSettings, None))["rules"]
    }
    for name in runtime.metrics.values():
        rule = served[name]
        assert rule["seriesQuery"].partition("{")[0] in recorded
        assert rule["resources"]["overrides"]["pod"] == {"resource": "pod"}
        query = rule["metricsQuery"].replace("<<.Series>>", name)
        promql_parser.parse(query.replace("<<.LabelMatchers>>", 'pod=~"a|b"').replace("<<.GroupBy>>", "pod"))


def test_keda_may_scale_jobs_and_reads_secrets_only_for_triggers() -> None:
    values = charts()["keda"]
    assert values["rbac"] == {"scaledRefKinds": [{"apiGroup": "deepseek.ai", "kind": "inferencejobs"}]}
    assert values["permissions"]["operator"]["restrict"]["secret"] is True
    assert charts({"authentications": [SQS]})["keda"]["permissions"]["operator"]["restrict"]["secret"] is True
    secret = {**SQS, "podIdentity": None, "secrets": [{"parameter": "p", "name": "s", "key": "k"}]}
    assert charts({"authentications": [secret]})["keda"]["permissions"]["operator"]["restrict"]["secret"] is False


@pytest.mark.parametrize("monitored", [True, False])
def test_keda_creates_monitors_only_with_their_crds(monitored: bool) -> None:
    for part in charts(monitored=monitored)["keda"]["prometheus"].values():
        assert part == {"enabled": monitored, "serviceMonitor": {"enabled": monitored}}


@pytest.mark.parametrize("chart", ["keda", "prometheus-adapter"])
def test_chart_accepts_every_value(chart: Any, chart_defaults: ChartDefaults) -> None:
    assert list(check_values(charts()[chart], chart_defaults(chart), load_catalogue()[chart].free)) == []


def test_scaled_object_targets_the_job() -> None:
    scaled_object = scaled()
    assert scaled_object["spec"]["scaleTargetRef"] == {
        "apiVersion": "deepseek.ai/v1",
        "kind": "InferenceJob",
        "name": "chat",
    }
    assert (scaled_object["metadata"]["name"], scaled_object["metadata"]["namespace"]) == ("chat", "nlp")
    assert (scaled_object["spec"]["minReplicaCount"], scaled_object["spec"]["maxReplicaCount"]) == (1, 6)
    # KEDA warns about fields without effect above zero.
    assert not {"pollingInterval", "cooldownPeriod", "fallback"} & scaled_object["spec"].keys()
    assert scaled_object["metadata"]["annotations"]["pulumi.com/waitFor"] == "condition=Ready"


@pytest.mark.parametrize("metric", [metric.value for metric in MetricType])
def test_pod_metrics_become_prometheus_triggers(metric: str) -> None:
    (trigger,) = scaled(metrics=[{"type": metric, "target": 5}])["spec"]["triggers"]
    assert (trigger["type"], trigger["metricType"]) == ("prometheus", "AverageValue")
    assert trigger["metadata"]["serverAddress"] == URL
    assert trigger["metadata"]["threshold"] == "5"
    promql_parser.parse(trigger["metadata"]["query"])
    assert 'namespace="nlp",inferencejob="chat"' in trigger["metadata"]["query"]
    # An empty result is a failed measurement and must not scale the job down.
    assert trigger["metadata"]["ignoreNullValues"] == "false"


def test_min_replicas_zero_sets_polling_and_cooldown() -> None:
    spec = scaled(minReplicas=0, triggers=[GATEWAY], pollingSeconds=5, cooldownSeconds=60)["spec"]
    assert (spec["minReplicaCount"], spec["pollingInterval"], spec["cooldownPeriod"]) == (0, 5, 60)
    queue, gateway = spec["triggers"]
    # At zero replicas an empty result is expected.
    assert queue["metadata"]["ignoreNullValues"] == "true"
    assert gateway["metadata"] == {**GATEWAY["metadata"], "serverAddress": URL}  # type: ignore[dict-item]


def test_trigger_metadata_are_strings() -> None:
    scaled_object = scaled(minReplicas=0, triggers=[GATEWAY, {"type": "cron", "metadata": CRON}], metrics=[QUEUE])
    for trigger in scaled_object["spec"]["triggers"]:
        assert all(isinstance(value, str) for value in trigger["metadata"].values())


CRON = {"timezone": "UTC", "start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "desiredReplicas": "2"}


def test_settings_of_the_hpa_and_fallback() -> None:
    spec = scaled(scaleDownSeconds=60, scaleUpSeconds=15, fallback={"replicas": 2})["spec"]
    autoscaler = spec["advanced"]["horizontalPodAutoscalerConfig"]
    assert autoscaler["behavior"]["scaleDown"] == {"stabilizationWindowSeconds": 60}
    assert autoscaler["behavior"]["scaleUp"] == {"stabilizationWindowSeconds": 15}
    assert "name" not in autoscaler
    assert spec["fallback"] == {"failureThreshold": 3, "replicas": 2, "behavior": "currentReplicasIfHigher"}


def test_long_job_name_sets_the_name_of_the_hpa() -> None:
    name = "a" * 55
    job = {"metadata": {"name": name, "namespace": "nlp"}, "spec": {**CHAT["spec"], "resources": RESOURCES}}
    stack_jobs = make_jobs(load_role("inference", InferenceSettings, {"jobs": [job]}), ["nlp"])
    given = settings({"scaledJobs": [{**SCALED, "job": f"nlp/{name}"}]})
    specs = check(given, jobs=stack_jobs, tenants=["nlp"], prometheus_url=URL, chart_values={})
    (scaled_object,) = make_scaled_objects(given, specs, URL)
    assert scaled_object["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["name"] == name


def test_authentications_reference_secrets() -> None:
    secret = {"parameter": "bearerToken", "name": "gateway", "key": "token"}
    given = {"authentications": [SQS, {"namespace": "nlp", "name": "token", "secrets": [secret]}]}
    cloud, token = map(make_authentication, settings(given).authentications)
    assert cloud["spec"] == {"podIdentity": {"provider": "aws"}}
    assert token["spec"] == {"secretTargetRef": [secret]}
    (scaled_object,) = checked(
        {**given, "scaledJobs": [{**SCALED, "triggers": [{**GATEWAY, "authentication": "token"}]}]}
    )
    assert scaled_object["spec"]["triggers"][1]["authenticationRef"] == {"name": "token"}
    shared = scaled(triggers=[{**GATEWAY, "clusterAuthentication": "all"}])
    assert shared["spec"]["triggers"][1]["authenticationRef"] == {"name": "all", "kind": "ClusterTriggerAuthentication"}
