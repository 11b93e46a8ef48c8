"""From a pod to its process and back to its status."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from rehearsal.simulators.pods.podspec import (
    ContainerState,
    PodSpecError,
    Probe,
    build_command,
    make_status,
    make_terminated,
    pod_ip,
    reported,
)

NOW = "2026-01-01T00:00:00Z"


def _pod(**container: Any) -> dict[str, Any]:
    base = {"name": "operator", "image": "i", "command": ["python", "-m", "x"], **container}
    return {
        "metadata": {"name": "p", "namespace": "ns", "uid": "u1"},
        "spec": {"nodeName": "n1", "serviceAccountName": "sa", "containers": [base]},
    }


def test_cluster_prometheus_is_replaced_by_rehearsal_prometheus() -> None:
    pod = _pod(
        command=["python", "-m", "inferstack.controllers.scaling"],
        env=[{"name": "INFERSTACK_PROMETHEUS_URL", "value": "http://prometheus.monitoring.svc:9090"}],
    )
    assert build_command(pod, port=1).env["INFERSTACK_PROMETHEUS_URL"] == "http://prometheus.monitoring.svc:9090"
    assert build_command(pod, port=1, prometheus=9).env["INFERSTACK_PROMETHEUS_URL"] == "http://127.0.0.1:9"
    bare = _pod(command=["python", "-m", "inferstack.controllers"])
    assert "INFERSTACK_PROMETHEUS_URL" not in build_command(bare, port=1, prometheus=9).env


def test_command_is_built_from_first_container() -> None:
    pod = _pod(
        args=["--port=$(INFERSTACK_HEALTH_PORT)", "$(UNKNOWN)", "$$(POD)"],
        env=[
            {"name": "INFERSTACK_HEALTH_PORT", "value": "8080"},
            {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "EMPTY"},
        ],
        ports=[{"name": "health", "containerPort": 8080}, {"name": "metrics", "containerPort": 9090}],
        readinessProbe={"httpGet": {"path": "/healthz", "port": "health"}, "periodSeconds": 2},
        livenessProbe={"httpGet": {"port": 8080}, "failureThreshold": 5, "initialDelaySeconds": 3},
        startupProbe={"httpGet": {"path": "/m", "port": "metrics"}},
    )
    pod["spec"]["terminationGracePeriodSeconds"] = 7
    command = build_command(pod, port=4711)
    assert command.argv == (sys.executable, "-m", "x", "--port=4711", "$(UNKNOWN)", "$(POD)")
    assert command.env == {"INFERSTACK_HEALTH_PORT": "4711", "POD": "p", "EMPTY": ""}
    assert command.readiness == Probe(4711, "/healthz", period=2)
    assert command.liveness == Probe(4711, "/", initial_delay=3, failures=5)
    assert command.startup == Probe(9090, "/m")
    assert command.grace == 7


def test_probe_without_declared_health_port_uses_free_port() -> None:
    pod = _pod(readinessProbe={"httpGet": {"path": "/", "port": 8080}})
    assert build_command(pod, port=4711).readiness == Probe(4711)


@pytest.mark.parametrize(
    ("container", "reason", "message"),
    [
        ({"command": []}, "CreateContainerError", "the container has no command"),
        ({"envFrom": [{}]}, "CreateContainerConfigError", "envFrom is not played"),
        (
            {"env": [{"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]},
            "CreateContainerConfigError",
            "env S: the rehearsal plays value and fieldRef",
        ),
    ],
)
def test_unsupported_container_is_rejected(container: dict[str, Any], reason: str, message: str) -> None:
    with pytest.raises(PodSpecError, match=message) as raised:
        build_command(_pod(**container), port=1)
    assert raised.value.reason == reason


def test_pod_ips_differ_and_are_not_loopback() -> None:
    assert pod_ip("u1") == pod_ip("u1") != pod_ip("u2")
    assert pod_ip("u1").startswith(("10.244.", "10.245."))


def test_status_while_running() -> None:
    pod = _pod()
    pod["status"] = {"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2025-01-01T00:00:00Z"}]}
    state = ContainerState(phase="running", pid=5, started=NOW, ready=True, restarts=1, last={"exitCode": 3})
    assert make_status(pod, state, now=NOW) == {
        "phase": "Running",
        "hostIP": "127.0.0.1",
        "podIP": pod_ip("u1"),
        "podIPs": [{"ip": pod_ip("u1")}],
        "startTime": NOW,
        "conditions": [
            {"type": "Initialized", "status": "True", "lastTransitionTime": NOW, "reason": None, "message": None},
            {"type": "ContainersReady", "status": "True", "lastTransitionTime": NOW, "reason": None, "message": None},
            {
                "type": "Ready",
                "status": "True",
                "lastTransitionTime": "2025-01-01T00:00:00Z",
                "reason": None,
                "message": None,
            },
        ],
        "containerStatuses": [
            {
                "name": "operator",
                "image": "i",
                "imageID": "",
                "containerID": "process://5",
                "ready": True,
                "started": True,
                "restartCount": 1,
                "state": {"running": {"startedAt": NOW}},
                "lastState": {"terminated": {"exitCode": 3}},
            }
        ],
    }


@pytest.mark.parametrize(
    ("state", "phase", "container"),
    [
        (ContainerState(), "Pending", {"waiting": {"reason": "ContainerCreating"}}),
        (
            ContainerState(reason="CrashLoopBackOff", message="back-off 2s", restarts=1, last={"exitCode": 1}),
            "Running",
            {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 2s"}},
        ),
        (ContainerState(phase="terminated", last={"exitCode": 0}), "Succeeded", {"terminated": {"exitCode": 0}}),
        (
            ContainerState(phase="terminated", exit_code=2, last={"exitCode": 2}),
            "Failed",
            {"terminated": {"exitCode": 2}},
        ),
    ],
)
def test_status_of_waiting_and_terminated_containers(
    state: ContainerState, phase: str, container: dict[str, Any]
) -> None:
    status = make_status(_pod(), state, now=NOW)
    assert (status["phase"], status["containerStatuses"][0]["state"]) == (phase, container)
    assert {c["type"]: c["status"] for c in status["conditions"]}["Ready"] == "False"


def test_reported_reads_back_generated_status() -> None:
    pod = _pod()
    assert reported(pod) == (None, False, 0, False)
    pod["status"] = make_status(
        pod, ContainerState(phase="running", pid=5, started=NOW, ready=True, restarts=2), now=NOW
    )
    assert reported(pod) == ("Running", True, 2, True)


def test_terminated_state_records_exit() -> None:
    state = ContainerState(pid=5, started=NOW)
    assert make_terminated(state, exit_code=143, reason="Error", message="", finished=NOW) == {
        "exitCode": 143,
        "reason": "Error",
        "finishedAt": NOW,
        "startedAt": NOW,
        "containerID": "process://5",
    }
