"""When objects count as ready; the expressions of ``pulumi.com/waitFor``."""

from __future__ import annotations

import pytest

from inferstack.apimachinery.objects import Object
from standins.kubernetes import jsonpath
from standins.kubernetes.readiness import WaitForError, pod_problem, rule_for, selects_pods


def obj(kind: str, spec: Object, status: Object, generation: int = 1) -> Object:
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"generation": generation},
        "spec": spec,
        "status": status,
    }


@pytest.mark.parametrize(
    ("status", "message"),
    [
        ({"observedGeneration": 1}, "has not observed"),
        ({"observedGeneration": 2, "updatedReplicas": 1}, "1 of 2 pods are updated"),
        ({"observedGeneration": 2, "updatedReplicas": 2, "replicas": 3}, "1 pods of an older revision"),
        (
            {"observedGeneration": 2, "updatedReplicas": 2, "replicas": 2, "availableReplicas": 1},
            "1 of 2 pods are available",
        ),
        ({"observedGeneration": 2, "updatedReplicas": 2, "replicas": 2, "availableReplicas": 2}, ""),
    ],
)
def test_deployment_readiness(status: Object, message: str) -> None:
    live = obj("Deployment", {"replicas": 2}, status, generation=2)
    rule = rule_for({}, live)
    assert rule is not None
    assert message in rule(live).message
    assert rule(live).ready is (message == "")


def test_paused_deployment_is_ready() -> None:
    live = obj("Deployment", {"replicas": 2, "paused": True}, {"observedGeneration": 1})
    rule = rule_for({}, live)
    assert rule is not None
    assert rule(live).ready


@pytest.mark.parametrize(
    ("kind", "spec", "status", "ready"),
    [
        ("StatefulSet", {"replicas": 1}, {"observedGeneration": 1, "readyReplicas": 1}, True),
        ("StatefulSet", {"replicas": 1}, {"observedGeneration": 1}, False),
        (
            "StatefulSet",
            {"replicas": 2},
            {
                "observedGeneration": 1,
                "readyReplicas": 2,
                "updateRevision": "b",
                "currentRevision": "a",
                "updatedReplicas": 1,
            },
            False,
        ),
        ("DaemonSet", {}, {"observedGeneration": 1, "desiredNumberScheduled": 0}, True),
        ("DaemonSet", {}, {"observedGeneration": 1, "desiredNumberScheduled": 2, "updatedNumberScheduled": 1}, False),
    ],
)
def test_readiness_of_other_workloads(kind: str, spec: Object, status: Object, *, ready: bool) -> None:
    live = obj(kind, spec, status)
    rule = rule_for({}, live)
    assert rule is not None
    assert rule(live).ready is ready


def test_pod_problems_are_summarised() -> None:
    waiting = {"name": "c", "state": {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}}}
    assert pod_problem({"status": {"containerStatuses": [waiting]}}) == "container c: ImagePullBackOff: no such image"
    refused = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
    assert pod_problem({"status": {"conditions": [refused]}}) == "Unschedulable: 0/3 nodes"
    assert pod_problem({"status": {"conditions": [{"type": "Ready", "status": "True"}]}}) == ""


@pytest.mark.parametrize(
    ("spec", "waits"),
    [
        ({"selector": {"a": "b"}, "clusterIP": "10.0.0.1"}, True),
        ({"selector": {"a": "b"}, "clusterIP": "None"}, False),
        ({"selector": {"a": "b"}, "type": "ExternalName"}, False),
        ({"clusterIP": "10.0.0.1"}, False),
    ],
)
def test_service_readiness(spec: Object, *, waits: bool) -> None:
    assert selects_pods({"spec": spec}) is waits


THING = {
    "metadata": {"annotations": {"a.b/c": "x"}},
    "status": {
        "phase": "Running",
        "ready": True,
        "items": [{"n": 1}, {"n": 2}],
        "conditions": [{"type": "Ready", "status": "True"}, {"type": "Other", "status": "False"}],
    },
}


@pytest.mark.parametrize(
    ("expression", "holds"),
    [
        ("{.status.phase}=Running", True),
        ("{.status.phase}=Failed", False),
        (".status.phase=Running", True),
        ("{.status.ready}=true", True),
        ("{.status.phase}", True),
        ("{.status.nothing}", False),
        ("{.status.items[0].n}=1", True),
        ("{.status.items[-1].n}=2", True),
        ("{.status.items[*].n}=2", True),
        ("{.status.items[7].n}", False),
        ('{.status.conditions[?(@.type=="Ready")].status}=True', True),
        ('{.status.conditions[?(@.type=="Other")].status}=True', False),
        ("{.metadata.annotations['a.b/c']}=x", True),
        ("{.metadata.annotations.a\\.b/c}=x", True),
    ],
)
def test_jsonpath_is_evaluated(expression: str, *, holds: bool) -> None:
    assert jsonpath.matches(expression, THING) is holds


@pytest.mark.parametrize("expression", ["{.a[}", "{.a}==b=c[", "{.a[?(@.b>1)]}", "{..a}"])
def test_unsupported_jsonpath_is_rejected(expression: str) -> None:
    with pytest.raises(jsonpath.ExpressionError, match="JSONPath"):
        jsonpath.matches(expression.replace("==b=c[", "x"), THING)


def _waiting_for(text: str) -> Object:
    return {"metadata": {"annotations": {"pulumi.com/waitFor": text}}}


def test_wait_annotations_override_the_rule_of_the_kind() -> None:
    live = obj("Deployment", {"replicas": 1}, {}) | {"status": THING["status"]}
    both = rule_for(_waiting_for('["condition=Ready", "jsonpath={.status.phase}=Gone"]'), live)
    assert both is not None
    assert both(live).message == "waiting for jsonpath={.status.phase}=Gone"
    other = rule_for(_waiting_for("condition=Other=false"), live)
    assert other is not None
    assert other(live).ready
    assert rule_for({"metadata": {"annotations": {"pulumi.com/skipAwait": "true"}}}, live) is None
    for wrong in ("Ready", "[]", "jsonpath={.a[}"):
        with pytest.raises(WaitForError, match=r"pulumi\.com/waitFor"):
            rule_for(_waiting_for(wrong), live)
