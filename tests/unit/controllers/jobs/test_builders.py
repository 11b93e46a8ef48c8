"""What the operator makes of a job, whole."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from inferstack.api import runtimes
from inferstack.api.labels import HASH, SPEC_REPLICAS
from inferstack.api.replicas import Limits
from inferstack.apimachinery.objects import Object
from inferstack.controllers.jobs.builders import stamped
from inferstack.controllers.jobs.plan import Plan, make_plan
from inferstack.controllers.jobs.reasons import ConditionReason, Reason

Plans = Callable[..., Plan]

AUTOSCALE = {"metrics": [{"type": "RequestsPerSecond", "target": 500}]}


def _bare(child: Object) -> Object:
    """Return a child without its hash, as the file has it."""
    child = copy.deepcopy(child)
    del child["metadata"]["annotations"][HASH]
    if not child["metadata"]["annotations"]:
        del child["metadata"]["annotations"]
    return child


def _pod(plan: Plan) -> Object:
    pod = plan.children(None)[0]["spec"]["template"]["spec"]
    assert isinstance(pod, dict)
    return pod


def test_the_children_of_a_job(plan_of: Plans) -> None:
    plan = plan_of(autoscale=AUTOSCALE, priorityClassName="high")
    result = [_bare(child) for child in plan.children(None)]
    result[0]["spec"]["template"]["spec"]["containers"][0]["image"] = "(the runtime's)"
    expected = list(yaml.safe_load_all((Path(__file__).parent / "data/children.yaml").read_text()))
    assert result == expected


@pytest.mark.parametrize(
    ("spec", "kinds"),
    [
        ({}, ["Deployment", "Service", "PodDisruptionBudget"]),
        ({"autoscale": AUTOSCALE}, ["Deployment", "Service", "PodDisruptionBudget", "HorizontalPodAutoscaler"]),
        # Paused: an autoscaler would bring replicas back.
        ({"autoscale": AUTOSCALE, "replicas": 0}, ["Deployment", "Service", "PodDisruptionBudget"]),
    ],
)
def test_an_autoscaler_only_where_it_is_wanted(plan_of: Plans, spec: Object, kinds: list[str]) -> None:
    assert [child["kind"] for child in plan_of(**spec).children(None)] == kinds


def test_a_language_model_on_several_gpus(plan_of: Plans) -> None:
    four = {"nvidia.com/gpu": 4}
    pod = _pod(plan_of(model="meta-llama/Llama-3.1-70B", resources={"requests": four, "limits": four}))
    container = pod["containers"][0]
    assert container["image"] == runtimes.load().runtimes["vllm"].image  # type: ignore[index]  # StrEnum keys
    assert container["args"] == [
        "--model",
        "meta-llama/Llama-3.1-70B",
        "--port",
        "8000",
        "--tensor-parallel-size",
        "4",
    ]
    assert pod["volumes"] == [
        {"name": "cache", "emptyDir": {}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "8Gi"}},
    ]
    assert container["readinessProbe"]["httpGet"]["path"] == "/v1/models"
    assert container["startupProbe"]["failureThreshold"] * container["startupProbe"]["periodSeconds"] == 1800


def test_mig_slices_do_not_work_as_one(plan_of: Plans) -> None:
    slices = {"nvidia.com/mig-1g.5gb": 2}
    pod = _pod(plan_of(runtime="vllm", resources={"requests": slices, "limits": slices}))
    container = pod["containers"][0]
    assert container["args"][-2:] == ["--tensor-parallel-size", "1"]
    assert container["resources"]["limits"] == {"nvidia.com/mig-1g.5gb": "2", "memory": "32Gi"}


@pytest.mark.parametrize(
    ("asked", "allowed", "requests", "limits"),
    [
        ({}, {}, "32Gi", "32Gi"),
        ({"memory": "64Gi"}, {}, "64Gi", "64Gi"),
        ({"memory": "64Gi"}, {"memory": "96Gi"}, "64Gi", "96Gi"),
        # Kubernetes sets the request to the limit.
        ({}, {"memory": "96Gi"}, None, "96Gi"),
    ],
)
def test_memory_has_a_limit(
    plan_of: Plans, asked: dict[str, str], allowed: dict[str, str], requests: str | None, limits: str
) -> None:
    gpu = {"nvidia.com/gpu": 1}
    pod = _pod(plan_of(runtime="vllm", resources={"requests": {**gpu, **asked}, "limits": {**gpu, **allowed}}))
    resources = pod["containers"][0]["resources"]
    assert (resources["requests"].get("memory"), resources["limits"]["memory"]) == (requests, limits)


def test_what_the_job_says_itself_counts_more(plan_of: Plans) -> None:
    pod = _pod(
        plan_of(
            image="registry.example/own:1",
            port=9999,
            args=["--dtype", "float16"],
            env=[{"name": "A", "value": "1"}, {"name": "T", "secretKeyRef": {"name": "hub", "key": "token"}}],
            resources={
                "requests": {"nvidia.com/gpu": 1, "cpu": "500m"},
                "limits": {"nvidia.com/gpu": 1, "memory": "2Gi"},
            },
        )
    )
    container = pod["containers"][0]
    assert container["image"] == "registry.example/own:1"
    assert container["ports"][0] == {"name": "http", "containerPort": 9999, "protocol": "TCP"}
    assert container["args"][2:4] == ["--port", "9999"]
    assert container["args"][-2:] == ["--dtype", "float16"]
    assert container["env"][2:] == [
        {"name": "A", "value": "1"},
        {"name": "T", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "token"}}},
    ]
    assert container["resources"] == {
        "requests": {"nvidia.com/gpu": "1", "cpu": "500m"},
        "limits": {"nvidia.com/gpu": "1", "memory": "2Gi"},
    }


def test_a_rollout_takes_no_more_than_the_job_allows(plan_of: Plans) -> None:
    deployment, _, budget = plan_of(disruption={"maxUnavailable": "25%"}).children(None)
    assert deployment["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": "25%"}
    assert budget["spec"]["maxUnavailable"] == "25%"


def test_the_autoscalers_replicas_stay_and_a_persons_count(plan_of: Plans) -> None:
    plan = plan_of(autoscale=AUTOSCALE)
    live: Object = {"metadata": {"annotations": {SPEC_REPLICAS: "8"}}, "spec": {"replicas": 11}}
    assert plan.children(live)[0]["spec"]["replicas"] == 11
    live["metadata"]["annotations"][SPEC_REPLICAS] = "4"
    assert plan.children(live)[0]["spec"]["replicas"] == 8


def test_averages_are_written_as_the_server_writes_them_back(plan_of: Plans) -> None:
    metrics = [{"type": "RequestsPerSecond", "target": 2000}, {"type": "QueueDepth", "target": 1500}]
    autoscaler = plan_of(autoscale={"metrics": metrics}).children(None)[-1]
    values = [metric["pods"]["target"]["averageValue"] for metric in autoscaler["spec"]["metrics"]]
    assert values == ["2k", "1500"]


def test_a_decision_of_the_scaler_goes_beside_the_jobs_own_metrics(plan_of: Plans) -> None:
    behavior = {"scaleUp": {"stabilizationWindowSeconds": 0}}
    metrics = [{"type": "OutstandingRequests", "target": 20}, {"type": "QueueDepth", "target": 5}]
    plan = plan_of(autoscale={"metrics": metrics})
    spec = plan.children(None, Limits(3, 9, target=12500, behavior=behavior))[-1]["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"], spec["behavior"]) == (3, 9, behavior)
    asked = {metric["pods"]["metric"]["name"]: metric["pods"]["target"]["averageValue"] for metric in spec["metrics"]}
    assert asked == {"inference_outstanding_requests": "12500m", "inference_queue_depth": "5"}
    assert "behavior" not in plan.children(None)[-1]["spec"]


def test_the_hash_sees_what_is_wanted_no_more_and_not_the_replicas() -> None:
    base: Object = {"kind": "Deployment", "metadata": {"name": "a"}, "spec": {"replicas": 1, "x": 1, "y": 2}}
    hashed = stamped(base)["metadata"]["annotations"][HASH]
    scaled = {**base, "spec": {**base["spec"], "replicas": 9}}
    fewer = {**base, "spec": {"replicas": 1, "x": 1}}
    assert stamped(scaled)["metadata"]["annotations"][HASH] == hashed
    assert stamped(fewer)["metadata"]["annotations"][HASH] != hashed


def test_a_metric_that_the_server_does_not_have(make_job: Callable[..., Object]) -> None:
    job = make_job(autoscale={"metrics": [{"type": "TimeToFirstTokenMilliseconds", "target": 300}]})
    assert make_plan(job, runtimes.load()) == ConditionReason(
        Reason.UNSUPPORTED_METRIC,
        "text-embeddings-inference has no metric TimeToFirstTokenMilliseconds: it has RequestsPerSecond, "
        "ConcurrentRequests, OutstandingRequests, QueueDepth, GpuUtilizationPercent",
    )


def test_a_service_level_that_the_server_cannot_show(make_job: Callable[..., Object]) -> None:
    predictive: Object = {"slo": {"milliseconds": 300}}
    job = make_job(autoscale={**AUTOSCALE, "predictive": predictive})
    assert make_plan(job, runtimes.load()) == ConditionReason(
        Reason.UNSUPPORTED_METRIC,
        "text-embeddings-inference has no metric TimeToFirstToken: it has Latency and Queue "
        "(autoscale.predictive.slo.measure)",
    )
    predictive["slo"]["measure"] = "Latency"
    assert isinstance(make_plan(job, runtimes.load()), Plan)


def test_a_job_that_an_older_crd_let_in(make_job: Callable[..., Object]) -> None:
    plan = make_plan(make_job(replicas=-1, unknown=True), runtimes.load())
    assert isinstance(plan, ConditionReason)
    assert plan.reason == "InvalidSpec"
    assert "spec.replicas: " in plan.message
    assert "spec.unknown: " in plan.message


def test_a_variable_of_the_job_goes_before_our_own(plan_of: Plans) -> None:
    pod = _pod(plan_of(env=[{"name": "HOME", "value": "/data"}]))
    assert pod["containers"][0]["env"] == [
        {"name": "HF_HOME", "value": "/cache/huggingface"},
        {"name": "HOME", "value": "/data"},
    ]


def test_a_port_that_the_server_needs_for_its_metrics(make_job: Callable[..., Object]) -> None:
    plan = make_plan(make_job(port=9000), runtimes.load())
    assert plan == ConditionReason(
        Reason.INVALID_SPEC, "spec.port: text-embeddings-inference shows its metrics on 9000; take another"
    )
