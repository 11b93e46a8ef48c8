"""Translates a pod's spec into a local process, and the state of the process into the pod's status; pure."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from inferstack.apimachinery.labels import COMPONENT, PART_OF, PLATFORM
from inferstack.apimachinery.objects import Object
from inferstack.k8s.conditions import condition_status

HEALTH_PORT = "INFERSTACK_HEALTH_PORT"
PROMETHEUS_URL = "INFERSTACK_PROMETHEUS_URL"
SELECTOR = f"{COMPONENT}=operator,{PART_OF}={PLATFORM}"
_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_.-]*)\)")


class PodSpecError(Exception):
    """A pod cannot run as a process; holds the reason for the pod's status."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True)
class Probe:
    """An httpGet probe; times in seconds."""

    port: int
    """Local port."""
    path: str = "/"
    initial_delay: float = 0
    period: float = 10
    timeout: float = 1
    failures: int = 3
    """Consecutive failures after which the probe has failed."""


@dataclass(frozen=True)
class Command:
    """The process to start for a pod."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    readiness: Probe | None
    liveness: Probe | None
    startup: Probe | None
    grace: float
    """Seconds between SIGTERM and SIGKILL."""


def build_command(pod: Mapping[str, Any], *, port: int, prometheus: int | None = None) -> Command:
    """Return the process for a pod's first container.

    Args:
        pod: the object.
        port: a free local port that replaces the container's health port.
        prometheus: local port that replaces the cluster's Prometheus, since a process cannot resolve Service names.

    Raises:
        PodSpecError: the container has no command, or has an environment variable that a process cannot get.
    """
    spec = pod["spec"]
    container = spec["containers"][0]
    declared = {entry["name"]: entry for entry in container.get("env") or []}
    env = {name: _value(pod, entry) for name, entry in declared.items()}
    health = env.get(HEALTH_PORT)
    env[HEALTH_PORT] = str(port)
    if prometheus and PROMETHEUS_URL in env:
        env[PROMETHEUS_URL] = f"http://127.0.0.1:{prometheus}"
    if container.get("envFrom"):
        raise PodSpecError("CreateContainerConfigError", "envFrom is not played by the rehearsal: use env")
    argv = [_expand(part, env) for part in [*(container.get("command") or []), *(container.get("args") or [])]]
    if not container.get("command"):
        raise PodSpecError(
            "CreateContainerError", "the container has no command: the rehearsal runs the command, not the image"
        )
    if argv[0] in ("python", "python3"):
        argv[0] = sys.executable
    probes = {
        kind: _probe(container, container.get(f"{kind}Probe"), health=health, port=port)
        for kind in ("readiness", "liveness", "startup")
    }
    return Command(tuple(argv), env, **probes, grace=float(spec.get("terminationGracePeriodSeconds", 30)))


def _value(pod: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    source = entry.get("valueFrom")
    if not source:
        return str(entry.get("value") or "")
    path = (source.get("fieldRef") or {}).get("fieldPath")
    fields = {
        "metadata.name": pod["metadata"]["name"],
        "metadata.namespace": pod["metadata"].get("namespace", ""),
        "metadata.uid": pod["metadata"]["uid"],
        "spec.nodeName": pod["spec"].get("nodeName", ""),
        "spec.serviceAccountName": pod["spec"].get("serviceAccountName", "default"),
        "status.podIP": pod_ip(pod["metadata"]["uid"]),
        "status.hostIP": "127.0.0.1",
    }
    if path not in fields:
        raise PodSpecError(
            "CreateContainerConfigError",
            f"env {entry['name']}: the rehearsal plays value and fieldRef ({', '.join(fields)}) only",
        )
    return str(fields[path])


def _expand(text: str, env: Mapping[str, str]) -> str:
    """Expand ``$(NAME)`` as the kubelet does: unknown names stay, and ``$$`` becomes a dollar sign."""

    def replace(match: re.Match[str]) -> str:
        return "$" if match[0] == "$$" else env.get(match[1], match[0])

    return _REFERENCE.sub(replace, text)


def _probe(
    container: Mapping[str, Any], spec: Mapping[str, Any] | None, *, health: str | None, port: int
) -> Probe | None:
    if not spec or not spec.get("httpGet"):
        return None
    wanted = spec["httpGet"]["port"]
    named = {entry.get("name"): entry["containerPort"] for entry in container.get("ports") or []}
    number = int(named.get(wanted, wanted)) if str(named.get(wanted, wanted)).isdecimal() else 0
    # The health port is replaced by a free port; other ports are unchanged.
    local = port if health is None or str(number) == health or not number else number
    return Probe(
        port=local,
        path=spec["httpGet"].get("path", "/"),
        initial_delay=float(spec.get("initialDelaySeconds", 0)),
        period=float(spec.get("periodSeconds", 10)),
        timeout=float(spec.get("timeoutSeconds", 1)),
        failures=int(spec.get("failureThreshold", 3)),
    )


def pod_ip(uid: str) -> str:
    """Return a pod-specific, unreachable address in 10.244.0.0/15 for the pod's status."""
    digest = hashlib.sha256(uid.encode()).digest()
    return f"10.{244 + digest[0] % 2}.{digest[1]}.{1 + digest[2] % 254}"


@dataclass(frozen=True)
class ContainerState:
    """State of a pod's process."""

    phase: str = "waiting"
    """``waiting``, ``running`` or ``terminated``."""
    reason: str = "ContainerCreating"
    message: str = ""
    restarts: int = 0
    ready: bool = False
    pid: int | None = None
    started: str | None = None
    """Start time in RFC 3339 format."""
    exit_code: int = 0
    finished: str | None = None
    last: Mapping[str, Any] = field(default_factory=dict)
    """The last termination, as ``lastState.terminated``."""


def make_terminated(state: ContainerState, *, exit_code: int, reason: str, message: str, finished: str) -> Object:
    """Return the ``terminated`` state of an exited process."""
    ended: Object = {"exitCode": exit_code, "reason": reason, "finishedAt": finished}
    if state.started:
        ended["startedAt"] = state.started
    if message:
        ended["message"] = message
    if state.pid is not None:
        ended["containerID"] = f"process://{state.pid}"
    return ended


def make_status(pod: Mapping[str, Any], state: ContainerState, *, now: str) -> Object:
    """Return the pod's status as the kubelet writes it, for a strategic merge patch."""
    container = pod["spec"]["containers"][0]
    if state.phase == "running":
        current: Object = {"running": {"startedAt": state.started}}
    elif state.phase == "terminated":
        current = {"terminated": dict(state.last)}
    else:
        current = {"waiting": {"reason": state.reason, **({"message": state.message} if state.message else {})}}
    previous = {} if state.phase == "terminated" or not state.last else {"terminated": dict(state.last)}
    old = {entry["type"]: entry for entry in (pod.get("status") or {}).get("conditions") or []}
    ended = state.phase == "terminated"
    conditions = [
        _condition(old, "Initialized", True, "PodCompleted" if ended else None, None, now),
        *(
            _condition(
                old, kind, state.ready,
                None if state.ready else ("PodCompleted" if ended else "ContainersNotReady"),
                None if state.ready else f"containers with unready status: [{container['name']}]",
                now,
            )
            for kind in ("ContainersReady", "Ready")
        ),
    ]  # fmt: skip
    phase = {"running": "Running", "waiting": "Running" if state.restarts or state.last else "Pending"}.get(state.phase)
    return {
        "phase": phase or ("Failed" if state.exit_code else "Succeeded"),
        "hostIP": "127.0.0.1",
        "podIP": pod_ip(pod["metadata"]["uid"]),
        "podIPs": [{"ip": pod_ip(pod["metadata"]["uid"])}],
        "startTime": (pod.get("status") or {}).get("startTime") or now,
        "conditions": conditions,
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container.get("image", ""),
                "imageID": "",
                "containerID": f"process://{state.pid}" if state.pid is not None else "",
                "ready": state.ready,
                "started": state.phase == "running",
                "restartCount": state.restarts,
                "state": current,
                "lastState": previous,
            }
        ],
    }


def _condition(
    old: Mapping[str, Any], kind: str, good: bool, reason: str | None, message: str | None, now: str
) -> Object:
    status = "True" if good else "False"
    before = old.get(kind) or {}
    since = before.get("lastTransitionTime") if before.get("status") == status else None
    # None in a strategic merge patch removes an old reason.
    return {"type": kind, "status": status, "lastTransitionTime": since or now, "reason": reason, "message": message}


def reported(pod: Mapping[str, Any]) -> tuple[str | None, bool, int, bool]:
    """Return phase, readiness, restart count and whether a process ever ran, from a pod's status."""
    status = pod.get("status") or {}
    containers = status.get("containerStatuses") or [{}]
    ran = bool(containers[0].get("containerID"))
    ready = condition_status(pod, "Ready") == "True"
    return status.get("phase"), ready, int(containers[0].get("restartCount", 0)), ran
