"""Predictive scaling for real: API server, scheduler, HPA, Prometheus, operator and scaler, under simulated load.

A replica of the simulated servers works on 8 requests at once and takes about a second for each. Decisions come every
second and hold for six, scrapes come every second.
"""

from __future__ import annotations

import asyncio
import secrets
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest

from components.monitoring.alerts import make_rules
from components.monitoring.builders import make_monitors
from components.monitoring.settings import MonitoringSettings
from components.settings import load_role
from inferstack.api import constants
from inferstack.api.runtimes import make_adapter_rules
from inferstack.apimachinery.objects import Object
from inferstack.k8s import KubeClient
from rehearsal.control_plane import Rehearsal
from rehearsal.control_plane.model import Adapter, PlaneOptions
from rehearsal.load import control
from rehearsal.load.scenario import parse
from tests.rehearsal.kinds import crds_of, served
from tests.rehearsal.operator_process import MANAGER, NODES, serving
from tests.rehearsal.scaler_process import Scaler, scaling

pytestmark = [pytest.mark.rehearsal, pytest.mark.timeout(300)]

OPTIONS = PlaneOptions(
    metrics=True, adapter=Adapter(tuple(make_adapter_rules()), relist_seconds=1), hpa_downscale_seconds=3
)
"""The HPA looks every 15 s, as it does everywhere: what is there sooner, the operator has done."""
VALIDITY = 6
PACE = ("--interval=1", "--window=4", f"--validity={VALIDITY}", "--history-step=1", "--history-days=0.02")
GPU = "nvidia.com/gpu"
SERVER = {"maxRunning": 8, "tokenSeconds": 0.006, "tokenSecondsPerRequest": 0, "prefillTokensPerSecond": 20_000}
SLO: Object = {"slo": {"milliseconds": 1000}}


@dataclass(frozen=True)
class Stage:
    """What runs."""

    plane: Rehearsal
    scaler: Scaler


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A control plane with metrics, our operator, the scaler, and the monitors and rules of the monitoring role."""
    plane = Rehearsal(tmp_path_factory.mktemp("predictive") / "state")
    plane.start(lambda _: None, options=OPTIONS)
    try:
        assert plane.prometheus_url
        with (
            served(plane, crds_of("kube-prometheus-stack")),
            serving(plane.kubeconfig, tmp_path_factory.mktemp("operator")),
            scaling(plane.kubeconfig, tmp_path_factory.mktemp("scaler"), plane.prometheus_url, *PACE) as scaler,
        ):
            asyncio.run(_monitor(plane))
            yield Stage(plane, scaler)
    finally:
        plane.stop(purge=True)


async def _monitor(plane: Rehearsal) -> None:
    settings = load_role("monitoring", MonitoringSettings, {"inference": {"interval": "1s", "window": "4s"}})
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "monitoring"}}
    async with await KubeClient.connect(plane.kubeconfig) as kube:
        for obj in (namespace, *make_monitors(settings), *make_rules(settings)):
            await kube.apply(obj, field_manager=MANAGER)


class Jobs:
    """Jobs of one namespace under load, and waits on what becomes of them."""

    def __init__(self, kube: KubeClient, stage: Stage, namespace: str) -> None:
        self.kube, self.stage, self.namespace = kube, stage, namespace

    async def create(self, name: str, *, least: int = 1, most: int = 8, **rest: Any) -> None:
        resources = {GPU: rest.pop("gpus", 1)}
        autoscale = {
            "minReplicas": least,
            "maxReplicas": most,
            # What a replica can do until it has been measured.
            "metrics": [{"type": "RequestsPerSecond", "target": 8}],
            "predictive": {**SLO, **rest.pop("predictive", {})},
        }
        spec = {
            "model": "Qwen/Qwen2.5-7B-Instruct",
            "replicas": least,
            "resources": {"requests": resources, "limits": resources},
            "autoscale": autoscale,
            "args": ["--max-num-seqs=8"],
            **rest,
        }
        meta = {"name": name, "namespace": self.namespace}
        job = {"apiVersion": constants.API_VERSION, "kind": constants.KIND, "metadata": meta, "spec": spec}
        await self.kube.create(job, field_manager=MANAGER)

    def play(self, **arrivals: Object) -> None:
        """Let requests come; a job of the name of each key."""
        jobs = [
            {
                "job": f"{self.namespace}/{name}",
                "arrivals": given,
                "prompt": {"mean": 100, "spread": 0},
                "output": {"mean": 150, "spread": 0},
                "server": SERVER,
            }
            for name, given in arrivals.items()
        ]
        control.write(self.stage.plane.state, control.Run(parse({"jobs": jobs}, "test"), seed=1, began=time.time()))

    async def scaling(self, name: str) -> Object:
        """What the scaler says of a job."""
        job = await self.kube.get(constants.API_VERSION, constants.KIND, name, self.namespace)
        scaling: Object = (job.get("status") or {}).get("scaling") or {}
        return scaling

    async def hpa(self, name: str) -> Object:
        """The spec of a job's HorizontalPodAutoscaler; empty where there is none."""
        hpa = await self.kube.find("autoscaling/v2", "HorizontalPodAutoscaler", name, self.namespace)
        spec: Object = (hpa or {}).get("spec") or {}
        return spec

    async def wanted(self, name: str) -> int:
        """Replicas that a job's Deployment wants."""
        deployment = await self.kube.find("apps/v1", "Deployment", name, self.namespace)
        return int(deployment["spec"]["replicas"]) if deployment else -1

    async def decided(self, name: str, seconds: float = 40) -> Object:
        """Wait for a decision that has been measured."""

        async def look() -> Object | None:
            scaling = await self.scaling(name)
            return scaling if scaling.get("service") and "minReplicas" in scaling else None

        reached: Object = await self.until(look, seconds, name)
        return reached

    async def until(self, look: Callable[[], Awaitable[Any]], seconds: float, name: str) -> Any:
        """Wait until what is looked at is true, and return it."""
        deadline = time.monotonic() + seconds
        while not (result := await look()):
            if time.monotonic() > deadline:
                conditions, hpa, wanted = await asyncio.gather(self.scaling(name), self.hpa(name), self.wanted(name))
                log = self.stage.scaler.log.read_text()[-3000:]
                raise AssertionError(f"not after {seconds} s: {conditions}\nHPA {hpa}\nreplicas {wanted}\n{log}")
            await asyncio.sleep(0.05)
        return result

    async def waits(self, name: str) -> bool:
        """Whether requests wait at a job, as Prometheus has it: from when on a step is to be seen."""
        promql = f'sum(vllm:num_requests_waiting{{namespace="{self.namespace}",inferencejob="{name}"}}) > 0'
        url = f"{self.stage.plane.prometheus_url}/api/v1/query"
        async with aiohttp.ClientSession() as http, http.get(url, params={"query": promql}) as answer:
            return bool((await answer.json())["data"]["result"])


@pytest.fixture
async def jobs(stage: Stage) -> AsyncIterator[Jobs]:
    """Jobs in a namespace of their own; their pods are gone afterwards, for GPUs are few."""
    name = f"test-{secrets.token_hex(4)}"
    async with await KubeClient.connect(stage.plane.kubeconfig) as kube:
        await kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, field_manager=MANAGER)
        jobs = Jobs(kube, stage, name)
        yield jobs
        control.remove(stage.plane.state)
        await kube.delete("v1", "Namespace", name, propagation="Background")
        async with asyncio.timeout(60):
            while (await kube.list("v1", "Pod", name))["items"]:  # noqa: ASYNC110  # nothing else tells
                await asyncio.sleep(0.1)


async def test_load_step_is_answered_within_5_seconds_and_floors_expire_without_scaler(jobs: Jobs) -> None:
    await jobs.create("chat")
    jobs.play(chat={"type": "step", "before": 2, "after": 25, "atSeconds": 25})
    began = time.monotonic()
    calm = await jobs.decided("chat")
    assert calm["minReplicas"] <= 2
    assert (await jobs.hpa("chat"))["minReplicas"] == calm["minReplicas"]
    await jobs.until(lambda: jobs.waits("chat"), 60, "chat")
    seen = time.monotonic()
    assert seen - began > 20, "the step came too soon to be one"

    async def raised() -> bool:
        return (await jobs.hpa("chat"))["minReplicas"] >= 4 and await jobs.wanted("chat") >= 4

    await jobs.until(raised, 15, "chat")
    assert time.monotonic() - seen < 5
    scaling = await jobs.scaling("chat")
    assert scaling["reason"] in {"Burst", "Forecast", "Reactive", "Budget"}
    metrics = [metric["pods"]["metric"]["name"] for metric in (await jobs.hpa("chat"))["metrics"]]
    assert metrics == ["inference_requests_per_second", "inference_outstanding_requests"]
    await _event(jobs, "chat", scaling["reason"])

    jobs.stage.scaler.end(signal.SIGKILL)
    killed = time.monotonic()

    async def let_go() -> bool:
        hpa = await jobs.hpa("chat")
        return (hpa["minReplicas"], hpa["maxReplicas"], len(hpa["metrics"])) == (1, 8, 1) and "behavior" not in hpa

    await jobs.until(let_go, VALIDITY + 10, "chat")
    assert time.monotonic() - killed < VALIDITY + 3
    # Nobody pulls replicas away: that is the autoscaler's, by the job's own metrics.
    assert await jobs.wanted("chat") >= 4
    jobs.stage.scaler.start()
    await jobs.stage.scaler.healthy()

    async def back() -> bool:
        return bool((await jobs.hpa("chat"))["minReplicas"] > 1)

    await jobs.until(back, 30, "chat")


async def _event(jobs: Jobs, name: str, reason: str) -> None:
    async with asyncio.timeout(10):
        async for change, event in jobs.kube.watch("v1", "Event", jobs.namespace):
            about = event.get("involvedObject", {}).get("name") == name
            if change == "ADDED" and about and event["reason"] == reason:
                assert event["source"]["component"] == "inferstack-scaler"
                return


async def test_budget_limits_replicas_and_is_reported(jobs: Jobs) -> None:
    await jobs.create("chat", gpus=2, predictive={"budgetGpus": 4})
    jobs.play(chat={"type": "constant", "rate": 30})

    async def capped() -> bool:
        scaling = await jobs.scaling("chat")
        return (scaling.get("reason"), scaling.get("minReplicas"), scaling.get("maxReplicas")) == ("Budget", 2, 2)

    await jobs.until(capped, 45, "chat")

    async def obeyed() -> bool:
        hpa = await jobs.hpa("chat")
        return (hpa["minReplicas"], hpa["maxReplicas"]) == (2, 2)

    await jobs.until(obeyed, 5, "chat")


async def test_jobs_share_a_pool_by_priority(jobs: Jobs) -> None:
    await jobs.kube.apply(
        {
            "apiVersion": "scheduling.k8s.io/v1",
            "kind": "PriorityClass",
            "metadata": {"name": "predictive-first"},
            "value": 1000,
            "preemptionPolicy": "Never",
        },
        field_manager=MANAGER,
    )
    await jobs.create("low", gpus=4, most=20)
    await jobs.create("first", gpus=4, most=20, priorityClassName="predictive-first")
    pool = NODES * 8 // 4
    few, many = {"type": "constant", "rate": 2}, {"type": "constant", "rate": 40}

    async def grown() -> bool:
        return bool((await jobs.scaling("first")).get("minReplicas", 0) > pool // 2)

    # One after the other: what a job has and needs nobody takes away, so who is scraped first would win.
    jobs.play(low=few, first=many)
    await jobs.until(grown, 45, "first")
    jobs.play(low=many, first=many)

    async def shared() -> bool:
        low, first = await asyncio.gather(jobs.scaling("low"), jobs.scaling("first"))
        if "minReplicas" not in low or "minReplicas" not in first:
            return False
        return bool(first["minReplicas"] > low["minReplicas"] and low["reason"] == "Budget")

    await jobs.until(shared, 45, "first")
    low, first = await asyncio.gather(jobs.scaling("low"), jobs.scaling("first"))
    assert first["minReplicas"] + low["minReplicas"] <= pool
    assert f"the pool grants {low['minReplicas']}" in low["message"]


async def test_idle_job_scales_to_zero_and_wakes_on_the_first_request(jobs: Jobs) -> None:
    await jobs.create("chat", predictive={"idleSeconds": 60})
    # Something comes once, so that a replica is measured; nothing else for longer than the shortest idle time.
    jobs.play(chat={"type": "step", "before": 3, "after": 0, "atSeconds": 8})
    await jobs.decided("chat")

    async def asleep() -> bool:
        return await jobs.wanted("chat") == 0

    await jobs.until(asleep, 100, "chat")
    assert (await jobs.scaling("chat"))["reason"] == "Idle"

    async def said() -> bool:
        job = await jobs.kube.get(constants.API_VERSION, constants.KIND, "chat", jobs.namespace)
        ready = next(condition for condition in job["status"]["conditions"] if condition["type"] == "Ready")
        return (ready["status"], ready["reason"]) == ("True", "Idle")

    await jobs.until(said, 20, "chat")
    # Longer than a decision holds: it stays asleep by being told so again.
    await asyncio.sleep(VALIDITY + 1)
    assert await jobs.wanted("chat") == 0
    jobs.play(chat={"type": "constant", "rate": 2})
    knocked = time.monotonic()
    await jobs.until(lambda: _awake(jobs), 20, "chat")
    assert time.monotonic() - knocked < 10


async def _awake(jobs: Jobs) -> bool:
    return await jobs.wanted("chat") >= 1
