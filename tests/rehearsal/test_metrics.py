"""Prometheus, prometheus-adapter and the load simulator of the rehearsal: the autoscaler's whole loop, for real."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, TypeVar

import aiohttp
import psutil
import pytest

from components.monitoring.alerts import make_rules
from components.monitoring.builders import make_monitors
from components.monitoring.settings import MonitoringSettings
from components.settings import load_role
from inferstack.api import MetricType, RuntimeName, constants, runtimes
from inferstack.api.runtimes import make_adapter_rules
from inferstack.apimachinery.objects import Object
from inferstack.k8s import ApiError, KubeClient
from rehearsal.control_plane import Rehearsal, Supervisor
from rehearsal.control_plane.model import Adapter, PlaneOptions
from rehearsal.load import control
from rehearsal.load.scenario import parse
from rehearsal.metrics import APISERVICE
from tests.rehearsal.kinds import crds_of, served
from tests.rehearsal.operator_process import MANAGER, serving

pytestmark = pytest.mark.rehearsal

OPTIONS = PlaneOptions(
    metrics=True,
    adapter=Adapter(tuple(make_adapter_rules()), relist_seconds=1),
    hpa_sync_seconds=1,
    hpa_downscale_seconds=3,
)
ONE = {"nvidia.com/gpu": 1}
CUSTOM = "/apis/custom.metrics.k8s.io/v1beta1"
Found = TypeVar("Found")
MODELS = {"vllm": "Qwen/Qwen2.5-7B-Instruct", "text-embeddings-inference": "bert-base-uncased"}


def quiet(_: str) -> None:
    return


@pytest.fixture(scope="module")
def metered(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsal]:
    """A control plane with metrics, our operator, and the monitors and rules of the monitoring role."""
    rehearsal = Rehearsal(tmp_path_factory.mktemp("metered") / "state")
    rehearsal.start(quiet, options=OPTIONS)
    try:
        with (
            served(rehearsal, crds_of("kube-prometheus-stack")),
            serving(rehearsal.kubeconfig, tmp_path_factory.mktemp("operator")),
        ):
            asyncio.run(_monitor(rehearsal))
            yield rehearsal
    finally:
        rehearsal.stop(purge=True)


async def _monitor(rehearsal: Rehearsal) -> None:
    settings = load_role("monitoring", MonitoringSettings, {"inference": {"interval": "1s", "window": "4s"}})
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "monitoring"}}
    async with await KubeClient.connect(rehearsal.kubeconfig) as kube:
        for obj in (namespace, *make_monitors(settings), *make_rules(settings)):
            await kube.apply(obj, field_manager=MANAGER)


@pytest.fixture
async def kube(metered: Rehearsal) -> AsyncIterator[KubeClient]:
    async with await KubeClient.connect(metered.kubeconfig) as client:
        yield client


@pytest.fixture
async def namespace(kube: KubeClient, metered: Rehearsal) -> AsyncIterator[str]:
    """A namespace; its deletion must come to an end."""
    name = f"test-{secrets.token_hex(4)}"
    await kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, field_manager=MANAGER)
    yield name
    control.remove(metered.state)
    await kube.delete("v1", "Namespace", name, propagation="Background")
    await _until(lambda: _gone(kube, name), 40)


async def _gone(kube: KubeClient, name: str) -> bool:
    return await kube.find("v1", "Namespace", name) is None


async def _until(look: Callable[[], Awaitable[Found]], seconds: float = 30) -> Found:
    """Wait until what is looked at is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (result := await look()):
        assert time.monotonic() < deadline, f"not after {seconds} s"
        await asyncio.sleep(0.1)
    return result


async def _query(metered: Rehearsal, promql: str) -> list[Object]:
    async with (
        aiohttp.ClientSession() as http,
        http.get(f"{metered.prometheus_url}/api/v1/query", params={"query": promql}) as answer,
    ):
        answer.raise_for_status()
        result: list[Object] = (await answer.json())["data"]["result"]
        return result


async def _job(kube: KubeClient, namespace: str, name: str, runtime: str, **spec: Any) -> None:
    wanted = {
        "model": MODELS[runtime],
        "replicas": 1,
        "resources": {"requests": ONE, "limits": ONE},
        **spec,
    }
    meta = {"name": name, "namespace": namespace}
    job = {"apiVersion": constants.API_VERSION, "kind": constants.KIND, "metadata": meta, "spec": wanted}
    await kube.create(job, field_manager=MANAGER)


def _play(metered: Rehearsal, **jobs: Object) -> None:
    scenario = parse({"jobs": [{"job": name.replace("__", "/"), **load} for name, load in jobs.items()]}, "test")
    control.write(metered.state, control.Run(scenario, seed=1, began=time.time()))


async def _replicas(kube: KubeClient, namespace: str, name: str) -> int:
    deployment = await kube.find("apps/v1", "Deployment", name, namespace)
    return int((deployment or {}).get("status", {}).get("readyReplicas", 0))


async def test_load_step_scales_a_job_up_and_down(metered: Rehearsal, kube: KubeClient, namespace: str) -> None:
    autoscale = {"minReplicas": 1, "maxReplicas": 4, "metrics": [{"type": "ConcurrentRequests", "target": 8}]}
    await _job(kube, namespace, "chat", "vllm", autoscale=autoscale)
    await _until(lambda: _is(_replicas(kube, namespace, "chat"), 1))
    # About 2 s for an answer: 24 requests at once, which 8 a replica asks three or four replicas for.
    load = {
        "arrivals": {"type": "step", "before": 0, "after": 12, "atSeconds": 2},
        "output": {"mean": 150, "spread": 0},
    }
    _play(metered, **{f"{namespace}__chat": load})
    began = time.monotonic()
    await _until(lambda: _at_least(_replicas(kube, namespace, "chat"), 3), 45)
    took = time.monotonic() - began
    path = f"{CUSTOM}/namespaces/{namespace}/pods/*/inference_concurrent_requests"

    async def values() -> set[str]:
        items = (await kube.request("GET", path))["items"]
        assert {item["describedObject"]["kind"] for item in items} == {"Pod"}
        return {item["describedObject"]["name"] for item in items}

    await _until(lambda: _many(values(), 3))  # the new replicas are scraped, recorded and found
    control.remove(metered.state)
    await _until(lambda: _is(_replicas(kube, namespace, "chat"), 1), 60)
    assert took < 45


async def _is(values: Awaitable[int], wanted: int) -> bool:
    return await values == wanted


async def _many(values: Awaitable[set[str]], least: int) -> bool:
    return len(await values) >= least


async def _at_least(count: Awaitable[int], wanted: int) -> bool:
    return await count >= wanted


@pytest.mark.parametrize("runtime", MODELS)
async def test_each_metric_of_a_runtime_is_recorded_and_served(
    metered: Rehearsal, kube: KubeClient, namespace: str, runtime: str
) -> None:
    await _job(kube, namespace, "served", runtime)
    await _until(lambda: _is(_replicas(kube, namespace, "served"), 1))
    _play(metered, **{f"{namespace}__served": {"arrivals": {"type": "constant", "rate": 20}}})
    wanted = {
        name
        for metric, name in runtimes.load().runtimes[RuntimeName(runtime)].metrics.items()
        if metric is not MetricType.GPU_UTILIZATION_PERCENT  # nothing describes the GPUs of this test's nodes
    }

    async def values(name: str) -> list[str]:
        try:
            metrics = await kube.request("GET", f"{CUSTOM}/namespaces/{namespace}/pods/*/{name}")
        except ApiError as error:
            if error.code not in (404, 503):  # no such metric yet, or not of these pods
                raise
            return []
        return [item["describedObject"]["namespace"] for item in metrics["items"]]

    for name in sorted(wanted):
        assert await _until(lambda name=name: values(name), 40) == [namespace]  # type: ignore[misc]
    listed = await kube.request("GET", CUSTOM)
    assert {f"pods/{name}" for name in wanted} <= {entry["name"] for entry in listed["resources"]}
    rates = f'inference_requests_per_second{{namespace="{namespace}",inferencejob="served",runtime="{runtime}"}} > 10'
    await _until(lambda: _query(metered, rates), 30)
    istio = f'sum by (response_code) (istio_requests_total{{destination_service_namespace="{namespace}"}})'
    assert [sample["metric"] for sample in await _query(metered, istio)] == [{"response_code": "200"}]


def test_nothing_listens_beyond_loopback(metered: Rehearsal) -> None:
    for status in metered.status():
        listening = [
            connection.laddr.ip
            for connection in psutil.Process(status.pid).net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        ]
        assert set(listening) == {"127.0.0.1"}, status.name


@pytest.mark.parametrize("name", ["prometheus", "prometheus-adapter", "load"])
async def test_killed_metrics_component_restarts_and_namespaces_can_be_deleted_meanwhile(
    metered: Rehearsal, kube: KubeClient, namespace: str, name: str
) -> None:
    (before,) = [status for status in metered.status() if status.name == name]
    assert before.pid
    psutil.Process(before.pid).kill()
    doomed = f"{namespace}-doomed"
    await kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": doomed}}, field_manager=MANAGER)
    await kube.delete("v1", "Namespace", doomed, propagation="Background")
    if name == "prometheus-adapter":
        # Nobody serves it: it must be gone, for discovery would fail.
        await _until(lambda: _no_api(kube))
    await _until(lambda: _gone(kube, doomed), 40)
    lines: list[str] = []
    with Supervisor(metered, lines.append):
        await _until(lambda: _says(lines, f"{name} ready"), 60)
    assert {status.state for status in metered.status()} == {"running"}


async def _no_api(kube: KubeClient) -> bool:
    return await kube.find("apiregistration.k8s.io/v1", "APIService", APISERVICE) is None


async def _says(lines: list[str], begin: str) -> bool:
    return any(line.startswith(begin) for line in lines)


async def test_disabling_metrics_stops_components_and_removes_their_objects(
    metered: Rehearsal, kube: KubeClient, namespace: str
) -> None:
    extra = {"load", "prometheus", "prometheus-adapter"}
    running = [psutil.Process(status.pid) for status in metered.status() if status.name in extra and status.pid]
    assert len(running) == len(extra)
    await asyncio.to_thread(lambda: metered.start(quiet, options=PlaneOptions()))
    assert [process for process in running if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []
    assert metered.prometheus_url is None
    assert extra.isdisjoint(status.name for status in metered.status())
    await _until(lambda: _no_api(kube))
    await asyncio.to_thread(lambda: metered.start(quiet, options=OPTIONS))
    assert {status.state for status in metered.status()} == {"running"}
    assert json.loads((metered.state / "run" / "options.json").read_text())["hpa_sync_seconds"] == 1
