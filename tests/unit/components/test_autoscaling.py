"""The autoscaling role: what it takes and refuses, the charts' values, the ScaledObjects."""

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
    """Return the role's settings with ``given`` over the defaults."""
    return load_role("autoscaling", AutoscalingSettings, given)


def jobs() -> list[Object]:
    """Return three jobs: one that nothing scales, one with an autoscaler, one with a fixed number of replicas."""
    given = [{**job, "spec": {**job["spec"], "resources": RESOURCES}} for job in (CHAT, BERT, FIXED)]
    return make_jobs(load_role("inference", InferenceSettings, {"jobs": given}), ["nlp", "vision"])


def checked(given: dict[str, Any], url: str | None = URL, values: dict[Any, Any] | None = None) -> list[Object]:
    """Return the ScaledObjects of a stack that is checked as a whole."""
    loaded = settings(given)
    specs = check(loaded, jobs=jobs(), tenants=["nlp", "vision"], prometheus_url=url, chart_values=values or {})
    return make_scaled_objects(loaded, specs, url)


def scaled(**given: Any) -> Object:
    """Return the one ScaledObject."""
    (made,) = checked({"scaledJobs": [{**SCALED, **given}]})
    return made


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"keda": {"replicas": 0}}, "keda.replicas: input should be greater than or equal to 1"),
        ({"adapter": {"relistSeconds": 5}}, "adapter.relistSeconds: input should be greater than or equal to 10"),
        ({"prometheusUrl": "prometheus:9090"}, "prometheusUrl: string should match pattern"),
        ({"prometheusUrl": "http://me:pw@p.invalid"}, "prometheusUrl: string should match pattern"),
        ({"scaledObjects": []}, "scaledObjects: unknown key; did you mean scaledJobs?"),
        ({"scaledJobs": [{"job": "chat", "maxReplicas": 2, "metrics": [QUEUE]}]}, "scaledJobs[0].job: string should"),
        ({"scaledJobs": [{"job": "nlp/chat", "maxReplicas": 2}]}, "scaledJobs[0]: there is nothing to scale by"),
        ({"scaledJobs": [{**SCALED, "minReplicas": 7}]}, "scaledJobs[0].maxReplicas: is 6, below minReplicas 7"),
        ({"scaledJobs": [{**SCALED, "metrics": [QUEUE, QUEUE]}]}, "scaledJobs[0].metrics: type QueueDepth is there tw"),
        (
            {"scaledJobs": [{**SCALED, "minReplicas": 0}]},
            "scaledJobs[0]: minReplicas is 0, and at zero no pod is there",
        ),
        (
            {"scaledJobs": [{**SCALED, "minReplicas": 0, "triggers": [{"type": "cpu", "metadata": {"value": "80"}}]}]},
            "scaledJobs[0].triggers: minReplicas is 0, and at zero no pod is there",
        ),
        (
            {"scaledJobs": [{**SCALED, "triggers": [{"type": "prometheuss", "metadata": {}}]}]},
            'scaledJobs[0].triggers[0].type: KEDA has no scaler "prometheuss"; did you mean prometheus?',
        ),
        (
            {"scaledJobs": [{**SCALED, "triggers": [{"type": "kafka", "metadata": {"lagThreshold": 10}}]}]},
            'scaledJobs[0].triggers[0].metadata.lagThreshold: KEDA takes text only; write "10" with quotes',
        ),
        (
            {"scaledJobs": [{**SCALED, "triggers": [{"type": "kafka", "metadata": {"sasl": True}}]}]},
            'scaledJobs[0].triggers[0].metadata.sasl: KEDA takes text only; write "true" with quotes',
        ),
        (
            {"scaledJobs": [{**SCALED, "triggers": [{"type": "prometheus", "metadata": {"query": "up"}}]}]},
            "scaledJobs[0].triggers[0].metadata: threshold is missing, which a prometheus trigger needs",
        ),
        (
            {
                "scaledJobs": [
                    {**SCALED, "triggers": [{**GATEWAY, "authentication": "a", "clusterAuthentication": "b"}]}
                ]
            },
            "scaledJobs[0].triggers[0].clusterAuthentication: authentication is set too",
        ),
        ({"scaledJobs": [{**SCALED, "fallback": {"replicas": 7}}]}, "scaledJobs[0].fallback: replicas is 7, above max"),
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
            "scaledJobs[0].fallback: KEDA falls back from none of cpu and memory",
        ),
        ({"authentications": [{"namespace": "nlp", "name": "a"}]}, "authentications[0]: there is nothing to prove wi"),
    ],
)
def test_what_is_refused_under_which_key(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        settings(given)
    assert str(caught.value).startswith(f"inferstack:autoscaling.{said}")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"scaledJobs": [{**SCALED, "job": "nlp/chta"}]},
            'scaledJobs[0].job: the stack has no job "nlp/chta"; it has nlp/chat.',
        ),
        (
            {"scaledJobs": [{**SCALED, "job": "nlp/bert"}]},
            "scaledJobs[0].job: nlp/bert has inferstack:inference.jobs[1].spec.autoscale too",
        ),
        (
            {"scaledJobs": [{**SCALED, "job": "nlp/fixed"}]},
            "scaledJobs[0].job: nlp/fixed has inferstack:inference.jobs[2].spec.replicas too",
        ),
        (
            {"scaledJobs": [SCALED, SCALED]},
            "scaledJobs[1].job: nlp/chat is also inferstack:autoscaling.scaledJobs[0]",
        ),
        (
            {"scaledJobs": [SCALED], "keda": {"enabled": False}},
            "scaledJobs[0]: nothing scales it while inferstack:autoscaling.keda.enabled",
        ),
        (
            {"authentications": [SQS], "enabled": False},
            "authentications[0]: nothing reads it while inferstack:autoscaling.keda.enabled",
        ),
        (
            {"authentications": [{**SQS, "namespace": "nlpp"}]},
            'authentications[0].namespace: no tenant "nlpp"; there are nlp, vision.',
        ),
        ({"authentications": [SQS, SQS]}, 'authentications[1].name: "sqs" in namespace nlp is also'),
        (
            {
                "authentications": [{**SQS, "namespace": "vision"}],
                "scaledJobs": [{**SCALED, "triggers": [{**GATEWAY, "authentication": "sqs"}]}],
            },
            'scaledJobs[0].triggers[0].authentication: there is no "sqs" in namespace nlp',
        ),
    ],
)
def test_what_does_not_go_together_names_both_keys(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        checked(given)
    assert str(caught.value).startswith(f"inferstack:autoscaling.{said}")


def test_a_metric_that_the_jobs_server_does_not_have() -> None:
    plain = [{**CHAT, "spec": {"model": "bert-base-uncased", "resources": RESOURCES}}]
    made = make_jobs(load_role("inference", InferenceSettings, {"jobs": plain}), ["nlp"])
    first_token = {"type": "TimeToFirstTokenMilliseconds", "target": 200}
    given = settings({"scaledJobs": [{**SCALED, "metrics": [QUEUE, first_token]}]})
    with pytest.raises(UserError) as caught:
        check(given, jobs=made, tenants=["nlp"], prometheus_url=URL, chart_values={})
    assert str(caught.value).startswith(
        "inferstack:autoscaling.scaledJobs[0].metrics[1].type: text-embeddings-inference, which serves nlp/chat, has "
        "no TimeToFirstTokenMilliseconds; it has RequestsPerSecond"
    )


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "adapter.enabled: there is no Prometheus to ask; turn inferstack:monitoring.enabled on"),
        ({"adapter": {"enabled": False}, "scaledJobs": [SCALED]}, "scaledJobs[0].metrics: there is no Prometheus"),
        (
            {"adapter": {"enabled": False}, "scaledJobs": [{**SCALED, "metrics": [], "triggers": [GATEWAY]}]},
            "scaledJobs[0].triggers[0].metadata.serverAddress: is required",
        ),
    ],
)
def test_without_a_prometheus(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as caught:
        checked(given, url=None)
    assert str(caught.value).startswith(f"inferstack:autoscaling.{said}")
    # Somebody else's will do as well.
    checked({**given, "prometheusUrl": "https://thanos.invalid"}, url=None)


def test_the_adapter_may_not_claim_kedas_api() -> None:
    rule = {"prometheus-adapter": {"rules": {"external": [{"seriesQuery": "up"}]}}}
    with pytest.raises(UserError) as caught:
        checked({}, values=rule)
    told = str(caught.value)
    assert told.startswith("inferstack:addon.values.prometheus-adapter.rules.external: ")
    assert "inferstack:autoscaling.keda.enabled" in told
    checked({"keda": {"enabled": False}}, values=rule)
    checked({"adapter": {"enabled": False}}, values=rule)


def charts(given: dict[str, Any] | None = None, *, monitored: bool = True, url: str | None = URL) -> dict[Any, Any]:
    """Return the charts with their values."""
    return builders.make_charts(settings(given), monitored=monitored, prometheus_url=url)


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, {"keda", "prometheus-adapter"}),
        ({"enabled": False}, set()),
        ({"keda": {"enabled": False}}, {"prometheus-adapter"}),
        ({"adapter": {"enabled": False}}, {"keda"}),
    ],
)
def test_which_charts_are_wanted(given: dict[str, Any], wanted: set[str]) -> None:
    assert charts(given).keys() == wanted


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
def test_the_adapter_asks_the_right_prometheus(given: dict[str, Any], prometheus: dict[str, Any]) -> None:
    assert charts(given)["prometheus-adapter"]["prometheus"] == prometheus


def test_the_adapter_serves_metrics_of_pods_only() -> None:
    rules = charts()["prometheus-adapter"]["rules"]
    assert (rules["default"], rules["external"]) == (False, [])
    assert len(rules["custom"]) == len({rule["name"]["as"] for rule in rules["custom"]})


@pytest.mark.parametrize("runtime", runtimes.load().runtimes.values(), ids=lambda runtime: runtime.name.value)
def test_each_metric_that_an_autoscaler_may_ask_for_is_served(runtime: runtimes.Runtime) -> None:
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


def test_keda_may_scale_jobs_and_reads_secrets_only_where_a_trigger_needs_one() -> None:
    made = charts()["keda"]
    assert made["rbac"] == {"scaledRefKinds": [{"apiGroup": "deepseek.ai", "kind": "inferencejobs"}]}
    assert made["permissions"]["operator"]["restrict"]["secret"] is True
    assert charts({"authentications": [SQS]})["keda"]["permissions"]["operator"]["restrict"]["secret"] is True
    secret = {**SQS, "podIdentity": None, "secrets": [{"parameter": "p", "name": "s", "key": "k"}]}
    assert charts({"authentications": [secret]})["keda"]["permissions"]["operator"]["restrict"]["secret"] is False


@pytest.mark.parametrize("monitored", [True, False])
def test_keda_brings_monitors_only_where_their_kind_is_served(monitored: bool) -> None:
    for part in charts(monitored=monitored)["keda"]["prometheus"].values():
        assert part == {"enabled": monitored, "serviceMonitor": {"enabled": monitored}}


@pytest.mark.parametrize("chart", ["keda", "prometheus-adapter"])
def test_chart_accepts_every_value(chart: Any, chart_defaults: ChartDefaults) -> None:
    assert list(check_values(charts()[chart], chart_defaults(chart), load_catalogue()[chart].free)) == []


def test_a_scaled_object_moves_the_job_and_not_its_deployment() -> None:
    made = scaled()
    assert made["spec"]["scaleTargetRef"] == {"apiVersion": "deepseek.ai/v1", "kind": "InferenceJob", "name": "chat"}
    assert (made["metadata"]["name"], made["metadata"]["namespace"]) == ("chat", "nlp")
    assert (made["spec"]["minReplicaCount"], made["spec"]["maxReplicaCount"]) == (1, 6)
    # KEDA warns of what has no effect above zero.
    assert not {"pollingInterval", "cooldownPeriod", "fallback"} & made["spec"].keys()
    assert made["metadata"]["annotations"]["pulumi.com/waitFor"] == "condition=Ready"


@pytest.mark.parametrize("metric", [metric.value for metric in MetricType])
def test_the_jobs_own_metrics_are_asked_of_prometheus(metric: str) -> None:
    (trigger,) = scaled(metrics=[{"type": metric, "target": 5}])["spec"]["triggers"]
    assert (trigger["type"], trigger["metricType"]) == ("prometheus", "AverageValue")
    assert trigger["metadata"]["serverAddress"] == URL
    assert trigger["metadata"]["threshold"] == "5"
    promql_parser.parse(trigger["metadata"]["query"])
    assert 'namespace="nlp",inferencejob="chat"' in trigger["metadata"]["query"]
    # No answer is a failure to measure: the job must not shrink by it.
    assert trigger["metadata"]["ignoreNullValues"] == "false"


def test_scaling_to_zero() -> None:
    made = scaled(minReplicas=0, triggers=[GATEWAY], pollingSeconds=5, cooldownSeconds=60)["spec"]
    assert (made["minReplicaCount"], made["pollingInterval"], made["cooldownPeriod"]) == (0, 5, 60)
    own, gateway = made["triggers"]
    # At zero replicas nobody answers, as it should be.
    assert own["metadata"]["ignoreNullValues"] == "true"
    assert gateway["metadata"] == {**GATEWAY["metadata"], "serverAddress": URL}  # type: ignore[dict-item]


def test_everything_in_a_triggers_metadata_is_text() -> None:
    made = scaled(minReplicas=0, triggers=[GATEWAY, {"type": "cron", "metadata": CRON}], metrics=[QUEUE])
    for trigger in made["spec"]["triggers"]:
        assert all(isinstance(value, str) for value in trigger["metadata"].values())


CRON = {"timezone": "UTC", "start": "0 8 * * 1-5", "end": "0 18 * * 1-5", "desiredReplicas": "2"}


def test_the_settings_of_the_autoscaler_behind_it() -> None:
    made = scaled(scaleDownSeconds=60, scaleUpSeconds=15, fallback={"replicas": 2})["spec"]
    autoscaler = made["advanced"]["horizontalPodAutoscalerConfig"]
    assert autoscaler["behavior"]["scaleDown"] == {"stabilizationWindowSeconds": 60}
    assert autoscaler["behavior"]["scaleUp"] == {"stabilizationWindowSeconds": 15}
    assert "name" not in autoscaler
    assert made["fallback"] == {"failureThreshold": 3, "replicas": 2, "behavior": "currentReplicasIfHigher"}


def test_a_long_name_of_a_job_does_for_the_autoscaler() -> None:
    name = "a" * 55
    job = {"metadata": {"name": name, "namespace": "nlp"}, "spec": {**CHAT["spec"], "resources": RESOURCES}}
    made = make_jobs(load_role("inference", InferenceSettings, {"jobs": [job]}), ["nlp"])
    given = settings({"scaledJobs": [{**SCALED, "job": f"nlp/{name}"}]})
    specs = check(given, jobs=made, tenants=["nlp"], prometheus_url=URL, chart_values={})
    (one,) = make_scaled_objects(given, specs, URL)
    assert one["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["name"] == name


def test_authentications_refer_to_secrets() -> None:
    secret = {"parameter": "bearerToken", "name": "gateway", "key": "token"}
    given = {"authentications": [SQS, {"namespace": "nlp", "name": "token", "secrets": [secret]}]}
    cloud, token = (make_authentication(one) for one in settings(given).authentications)
    assert cloud["spec"] == {"podIdentity": {"provider": "aws"}}
    assert token["spec"] == {"secretTargetRef": [secret]}
    (made,) = checked({**given, "scaledJobs": [{**SCALED, "triggers": [{**GATEWAY, "authentication": "token"}]}]})
    assert made["spec"]["triggers"][1]["authenticationRef"] == {"name": "token"}
    shared = scaled(triggers=[{**GATEWAY, "clusterAuthentication": "all"}])
    assert shared["spec"]["triggers"][1]["authenticationRef"] == {"name": "all", "kind": "ClusterTriggerAuthentication"}
