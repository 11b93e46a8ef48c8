"""What KEDA makes of a ScaledObject, as the agent plays it."""

from __future__ import annotations

from typing import Any

import pytest

from inferstack.apimachinery.objects import Object
from rehearsal.simulators.keda.objects import (
    Target,
    hpa_name,
    is_paused,
    make_hpa,
    make_metrics,
    make_status,
    milli,
    paused_replicas,
    problem,
    scaling_active,
)

PROMETHEUS: Object = {"type": "prometheus", "metadata": {"query": "up", "threshold": "10"}}
JOB = Target("deepseek.ai", "v1", "InferenceJob", "inferencejobs", scalable=True, replicas=2)


def scaled(annotations: dict[str, str] | None = None, status: Object | None = None, **spec: Any) -> Object:
    """Return a ScaledObject."""
    reference = {"apiVersion": "deepseek.ai/v1", "kind": "InferenceJob", "name": "chat"}
    meta = {"name": "chat", "namespace": "nlp", "uid": "u", "labels": {"team": "nlp"}, "annotations": annotations or {}}
    obj: Object = {"metadata": meta, "spec": {"scaleTargetRef": reference, "triggers": [PROMETHEUS], **spec}}
    return {**obj, "status": status} if status else obj


def conditions(status: Object) -> dict[str, tuple[str, str]]:
    """Return status and reason of each condition."""
    return {condition["type"]: (condition["status"], condition["reason"]) for condition in status["conditions"]}


@pytest.mark.parametrize(
    ("spec", "least", "most"),
    [
        ({}, 1, 100),
        ({"minReplicaCount": 0, "maxReplicaCount": 4}, 1, 4),
        ({"minReplicaCount": 3, "maxReplicaCount": 9}, 3, 9),
    ],
)
def test_autoscaler_has_at_least_one_replica(spec: Object, least: int, most: int) -> None:
    hpa_spec = make_hpa(scaled(**spec))["spec"]
    assert (hpa_spec["minReplicas"], hpa_spec["maxReplicas"]) == (least, most)


def test_scaled_object_owns_autoscaler() -> None:
    hpa = make_hpa(scaled())
    (owner,) = hpa["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("ScaledObject", "u", True)
    assert hpa["metadata"]["name"] == "keda-hpa-chat"
    assert hpa["metadata"]["labels"] == {
        "team": "nlp",
        "scaledobject.keda.sh/name": "chat",
        "app.kubernetes.io/name": "keda-hpa-chat",
        "app.kubernetes.io/part-of": "chat",
        "app.kubernetes.io/managed-by": "keda-operator",
    }
    assert hpa["spec"]["scaleTargetRef"]["kind"] == "InferenceJob"


def test_autoscaler_takes_name_and_behavior_from_settings() -> None:
    config = {"name": "mine", "behavior": {"scaleUp": {"stabilizationWindowSeconds": 0}}}
    given = scaled(advanced={"horizontalPodAutoscalerConfig": config})
    assert hpa_name(given) == "mine"
    assert make_hpa(given)["spec"]["behavior"] == config["behavior"]


def test_each_trigger_has_a_metric() -> None:
    cron = {"type": "cron", "metadata": {"desiredReplicas": "2"}, "metricType": "Value"}
    cpu = {"type": "cpu", "metadata": {"value": "60"}}
    memory = {"type": "memory", "metadata": {"value": "1Gi"}, "metricType": "AverageValue"}
    first, second, third, fourth = make_metrics(scaled(triggers=[PROMETHEUS, cron, cpu, memory]))
    assert first["external"] == {
        "metric": {"name": "s0-prometheus", "selector": {"matchLabels": {"scaledobject.keda.sh/name": "chat"}}},
        "target": {"type": "AverageValue", "averageValue": "10000m"},
    }
    assert second["external"]["metric"]["name"] == "s1-cron"
    assert second["external"]["target"] == {"type": "Value", "value": "2000m"}
    assert third["resource"] == {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 60}}
    assert fourth["resource"]["target"] == {"type": "AverageValue", "averageValue": "1Gi"}


@pytest.mark.parametrize(("text", "quantity"), [("10", "10000m"), ("0.5", "500m"), ("many", "1")])
def test_threshold_is_formatted_as_milli_quantity(text: str, quantity: str) -> None:
    assert milli(text) == quantity


@pytest.mark.parametrize(
    ("given", "target", "message"),
    [
        ({}, JOB, None),
        ({}, None, "the API server does not serve the kind InferenceJob of the scale target"),
        ({}, JOB._replace(replicas=None), "the scale target, InferenceJob chat, is not there"),
        ({}, JOB._replace(scalable=False), "InferenceJob has no scale subresource"),
        ({"minReplicaCount": 5, "maxReplicaCount": 4}, JOB, "minReplicaCount 5 exceeds maxReplicaCount 4"),
        ({"minReplicaCount": 1, "idleReplicaCount": 1}, JOB, "idleReplicaCount 1 is not below minReplicaCount 1"),
        ({"triggers": [{**PROMETHEUS, "name": "a"}] * 2}, JOB, "two triggers have the same name"),
    ],
)
def test_invalid_scaled_object_is_rejected_with_problem(
    given: Object, target: Target | None, message: str | None
) -> None:
    assert problem(scaled(**given), target) == message
    ready = conditions(make_status(scaled(**given), target, None))["Ready"]
    assert ready == (("False", "ScaledObjectCheckFailed") if message else ("True", "ScaledObjectReady"))


def test_status_of_valid_scaled_object() -> None:
    trigger = {**PROMETHEUS, "authenticationRef": {"name": "token"}}
    status = make_status(scaled(triggers=[trigger]), JOB, None)
    reported = status.pop("conditions")
    assert status == {
        "scaleTargetKind": "deepseek.ai/v1.InferenceJob",
        "scaleTargetGVKR": {
            "group": "deepseek.ai",
            "version": "v1",
            "kind": "InferenceJob",
            "resource": "inferencejobs",
        },
        "originalReplicaCount": 2,
        "externalMetricNames": ["s0-prometheus"],
        "hpaName": "keda-hpa-chat",
        "triggersTypes": "prometheus",
        "authenticationsTypes": "token",
    }
    assert [condition["type"] for condition in reported] == ["Ready", "Active", "Fallback", "Paused"]
    # Said, for nobody measures anything here.
    assert conditions({"conditions": reported})["Active"] == ("Unknown", "Rehearsed")


def test_original_replica_count_is_preserved() -> None:
    again = make_status(scaled(status={"originalReplicaCount": 7}), JOB, None)
    assert again["originalReplicaCount"] == 7


def test_status_is_stable() -> None:
    first = make_status(scaled(), JOB, None)
    assert make_status(scaled(status=first), JOB, None) == first


@pytest.mark.parametrize(
    ("annotations", "paused", "replicas"),
    [
        ({}, False, None),
        ({"autoscaling.keda.sh/paused": "true"}, True, None),
        ({"autoscaling.keda.sh/paused": "false"}, False, None),
        ({"autoscaling.keda.sh/paused": "perhaps"}, True, None),
        ({"autoscaling.keda.sh/paused-replicas": "3"}, True, 3),
        ({"autoscaling.keda.sh/paused-replicas": "three"}, True, None),
    ],
)
def test_annotations_pause_scaling(annotations: dict[str, str], paused: bool, replicas: int | None) -> None:
    given = scaled(annotations)
    assert (is_paused(given), paused_replicas(given)) == (paused, replicas)
    status = make_status(given, JOB, None)
    assert conditions(status)["Paused"][0] == str(paused)
    assert ("hpaName" in status) is not paused
    assert status.get("pausedReplicaCount") == replicas


@pytest.mark.parametrize(
    ("hpa", "condition"),
    [
        (None, None),
        ({"status": {}}, None),
        (("True", "ValidMetricFound"), ("True", "HPAActive")),
        (("False", "ScalingDisabled"), ("True", "ScalingDisabled")),
        (("False", "FailedGetExternalMetric"), ("False", "HPAMetricsUnavailable")),
    ],
)
def test_scaling_active_reads_autoscaler_condition(hpa: Any, condition: tuple[str, str] | None) -> None:
    if isinstance(hpa, tuple):
        hpa = {"status": {"conditions": [{"type": "ScalingActive", "status": hpa[0], "reason": hpa[1]}]}}
        assert scaling_active(hpa) is not None
    assert conditions(make_status(scaled(), JOB, hpa)).get("HPAActive") == condition
