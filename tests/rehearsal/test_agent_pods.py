"""Process-backed pods on a real API server: started, probed, restarted, stopped, taken over."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import aiohttp
import psutil
import pytest

from inferstack.apimachinery.objects import Object
from inferstack.k8s import KubeClient
from rehearsal.control_plane import Rehearsal

pytestmark = pytest.mark.rehearsal

MANAGER = "test"

# Says who it is to the API server, then answers /healthz until /break is asked for.
OPERATOR = """
import asyncio, http.server, os
from inferstack.k8s import KubeClient

async def who():
    async with await KubeClient.connect() as kube:
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        answer = await kube.request("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews", body=review)
        print("I am", answer["status"]["userInfo"]["username"], "in", os.environ["NAMESPACE"], flush=True)

asyncio.run(who())
code = 200

class Answer(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        global code
        if self.path == "/break":
            code = 500
        self.send_response(code)
        self.end_headers()

http.server.HTTPServer(("127.0.0.1", int(os.environ["INFERSTACK_HEALTH_PORT"])), Answer).serve_forever()
"""


async def _until(
    kube: KubeClient, pod: Object, holds: Callable[[Object | None], bool], *, seconds: float = 20
) -> Object | None:
    """Wait until a pod is as it should be (None: gone) and return it."""
    meta = pod["metadata"]
    fields = f"metadata.name={meta['name']}"
    last: Object | None = None
    try:
        async with asyncio.timeout(seconds):
            while True:
                listing = await kube.list("v1", "Pod", meta["namespace"], fields=fields)
                last = listing["items"][0] if listing["items"] else None
                if holds(last):
                    return last
                since = listing["metadata"]["resourceVersion"]
                watch = kube.watch("v1", "Pod", meta["namespace"], fields=fields, since=since)
                async with aclosing(watch) as changes:  # type: ignore[type-var]  # it is a generator
                    async for change, obj in changes:
                        if change == "BOOKMARK":
                            continue
                        last = None if change == "DELETED" else obj
                        if holds(last):
                            return last
    except TimeoutError:
        shown = json.dumps((last or {}).get("status"))
        raise AssertionError(f"pod {meta['name']} is not as expected after {seconds} s: {shown}") from None


def _container(pod: Object) -> Object:
    listed = (pod.get("status") or {}).get("containerStatuses") or [{}]
    match: Object = listed[0]
    return match


def _running(restarts: int) -> Callable[[Object | None], bool]:
    def holds(pod: Object | None) -> bool:
        if pod is None:
            return False
        container = _container(pod)
        return bool(container.get("ready")) and container.get("restartCount") == restarts

    return holds


def _gone(pod: Object | None) -> bool:
    return pod is None


def _run_file(plane: Rehearsal, pod: Object) -> Object:
    text = (plane.state / "run" / "pods" / pod["metadata"]["uid"] / "run.json").read_text()
    content: Object = json.loads(text)
    return content


async def _process_gone(pid: int) -> None:
    async with asyncio.timeout(15):
        while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def _pid(plane: Rehearsal, component: str) -> int:
    pid = next(status.pid for status in plane.status() if status.name == component)
    assert pid is not None
    return pid


MakePod = Callable[..., Any]


@pytest.fixture
async def make_pod(kube: KubeClient, namespace: str) -> AsyncIterator[MakePod]:
    """Make a pod of the platform's own on a node of its own."""
    node = f"cpu-{secrets.token_hex(3)}"
    hardware = {"instanceType": "m6i.2xlarge", "cpu": "8", "memory": "32Gi", "pods": 110}
    body: Object = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": node,
            "annotations": {"kwok.x-k8s.io/node": "fake", "rehearsal.inferstack.dev/hardware": json.dumps(hardware)},
        },
    }
    await kube.create(body, field_manager=MANAGER)
    account: Object = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "op", "namespace": namespace}}
    await kube.create(account, field_manager=MANAGER)
    pods: list[Object] = []

    async def make(code: str = OPERATOR, **container: Any) -> Object:
        pod: Object = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"op-{secrets.token_hex(3)}",
                "namespace": namespace,
                "labels": {"app.kubernetes.io/component": "operator", "app.kubernetes.io/part-of": "inferstack"},
            },
            "spec": {
                "nodeName": node,
                "serviceAccountName": "op",
                "terminationGracePeriodSeconds": 5,
                "containers": [
                    {
                        "name": "operator",
                        "image": "none",
                        "command": ["python", "-c", code],
                        "env": [
                            {"name": "INFERSTACK_HEALTH_PORT", "value": "8080"},
                            {"name": "NAMESPACE", "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}}},
                        ],
                        "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1},
                        **container,
                    }
                ],
            },
        }
        created = await kube.create(pod, field_manager=MANAGER)
        pods.append(created)
        return created

    yield make
    for pod in pods:
        await kube.delete("v1", "Pod", pod["metadata"]["name"], namespace, propagation="Background")
        await _until(kube, pod, _gone)
    await kube.delete("v1", "Node", node)


async def test_pod_process_runs_as_its_service_account(
    kube: KubeClient, make_pod: MakePod, plane: Rehearsal, namespace: str
) -> None:
    pod = await make_pod()
    running = await _until(kube, pod, _running(0))
    assert running is not None
    assert running["status"]["phase"] == "Running"
    log = (plane.state / "logs" / f"{pod['metadata']['name']}.log").read_text()
    assert f"I am system:serviceaccount:{namespace}:op in {namespace}" in log
    folder = plane.state / "run" / "pods" / pod["metadata"]["uid"]
    assert {path.name: oct(path.stat().st_mode & 0o777) for path in folder.iterdir() if path.name != "run.json"} == {
        "kubeconfig": "0o600",
        "token": "0o600",
    }
    pid = _run_file(plane, pod)["pid"]
    await kube.delete("v1", "Pod", pod["metadata"]["name"], namespace, propagation="Background")
    await _until(kube, pod, _gone)
    assert not psutil.pid_exists(pid)
    assert not folder.exists()


async def test_killed_pod_process_is_restarted(kube: KubeClient, make_pod: MakePod, plane: Rehearsal) -> None:
    pod = await make_pod()
    await _until(kube, pod, _running(0))
    os.kill(_run_file(plane, pod)["pid"], signal.SIGKILL)
    again = await _until(kube, pod, _running(1))
    assert again is not None
    assert _container(again)["lastState"]["terminated"]["exitCode"] == 137


async def test_crashing_pod_process_backs_off(kube: KubeClient, make_pod: MakePod) -> None:
    pod = await make_pod("raise SystemExit(3)")

    def waits(pod: Object | None) -> bool:
        container = _container(pod or {})
        waiting = (container.get("state") or {}).get("waiting") or {}
        return waiting.get("reason") == "CrashLoopBackOff" and container["restartCount"] >= 2

    waiting = await _until(kube, pod, waits)
    assert waiting is not None
    assert _container(waiting)["lastState"]["terminated"]["exitCode"] == 3
    assert "back-off 2s restarting failed container=operator" in _container(waiting)["state"]["waiting"]["message"]


async def test_unstartable_pod_reports_why(kube: KubeClient, make_pod: MakePod) -> None:
    pod = await make_pod(command=None)

    def waits(waiting: Object | None) -> bool:
        state = _container(waiting or {}).get("state") or {}
        return (state.get("waiting") or {}).get("reason") == "CreateContainerError"

    waiting = await _until(kube, pod, waits)
    assert waiting is not None
    assert "the container has no command" in _container(waiting)["state"]["waiting"]["message"]


async def test_failed_liveness_probe_restarts_the_pod(kube: KubeClient, make_pod: MakePod, plane: Rehearsal) -> None:
    probe = {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1, "failureThreshold": 2}
    pod = await make_pod(livenessProbe={**probe, "initialDelaySeconds": 2})
    await _until(kube, pod, _running(0))
    url = f"http://127.0.0.1:{_run_file(plane, pod)['port']}/break"
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        assert answer.status == 500
    await _until(kube, pod, _running(1))


async def test_new_agent_adopts_running_pods(kube: KubeClient, make_pod: MakePod, plane: Rehearsal) -> None:
    pod, orphan = await make_pod(), await make_pod()
    for each in (pod, orphan):
        await _until(kube, each, _running(0))
    kept, ended = _run_file(plane, pod)["pid"], _run_file(plane, orphan)["pid"]
    os.kill(_pid(plane, "agent"), signal.SIGKILL)
    assert psutil.pid_exists(kept)
    await kube.request("DELETE", await kube.path_of(orphan), body={"gracePeriodSeconds": 0})
    await asyncio.to_thread(plane.start, lambda _: None)
    await _process_gone(ended)
    await _until(kube, pod, _running(0))
    assert _run_file(plane, pod)["pid"] == kept
    os.kill(kept, signal.SIGKILL)  # its end is noticed though it is not the new agent's child
    await _until(kube, pod, _running(1))


async def test_stopped_agent_stops_its_pods(kube: KubeClient, make_pod: MakePod, plane: Rehearsal) -> None:
    pod = await make_pod()
    await _until(kube, pod, _running(0))
    pid = _run_file(plane, pod)["pid"]
    agent = _pid(plane, "agent")
    os.kill(agent, signal.SIGTERM)
    await _process_gone(agent)
    await _process_gone(pid)
    await asyncio.to_thread(plane.start, lambda _: None)
    await _until(kube, pod, _running(1))
