"""The control loop, with a fake Prometheus and a recording API server."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from typing import Any, cast

import pytest

from inferstack.api.labels import SCALER
from inferstack.apimachinery.objects import Object
from inferstack.controllers.scaling import cluster
from inferstack.controllers.scaling.collector import LoopSettings
from inferstack.controllers.scaling.controller import Scaler
from inferstack.controllers.scaling.prometheus import Prometheus
from inferstack.k8s import ApiError, KubeClient
from inferstack.k8s.informer import Informer
from tests.unit.controllers.scaling.jobs import make_job
from tests.unit.controllers.scaling.prometheus_server import Server, failure

SETTINGS = LoopSettings(interval=5, window=30, validity=60, step=60, depth=7200)


class Kube:
    """Records applied objects, and answers like an API server."""

    def __init__(self) -> None:
        self.applied: list[Object] = []
        self.created: list[Object] = []
        self.jobs: dict[str, Object] = {}
        self.refuse = False

    async def apply(self, body: Object, *, field_manager: str, subresource: str) -> Object:
        assert (field_manager, subresource) == (SCALER, "status")
        if self.refuse:
            raise ApiError(500, {"message": "no"}, request="PATCH")
        self.applied.append(body)
        name = body["metadata"]["name"]
        job = copy.deepcopy(self.jobs[name])
        job["metadata"]["resourceVersion"] = str(int(job["metadata"]["resourceVersion"]) + 1)
        job["status"] = body.get("status", {})
        self.jobs[name] = job
        return copy.deepcopy(job)

    async def create(self, body: Object, *, field_manager: str) -> None:
        assert field_manager == SCALER
        self.created.append(body)

    def last(self, name: str = "chat") -> Object:
        """Return the last published status.scaling of a job."""
        bodies = [body for body in self.applied if body["metadata"]["name"] == name][-1]
        return cast("Object", bodies["status"]["scaling"])


class Stage:
    """A scaler and its environment."""

    def __init__(self, prometheus: Prometheus) -> None:
        self.kube = Kube()
        self.now = 1_800_000_000.0
        self.scaler = Scaler(cast("KubeClient", self.kube), prometheus, SETTINGS, clock=lambda: self.now)
        self.add(cluster.prune_node, self.scaler.collector.nodes.objects, make_node(4000))

    def add(self, prune: Callable[[Object], Object], into: dict[str, Object], obj: Object) -> None:
        """Add an object to an informer."""
        meta = obj["metadata"]
        into["/".join(filter(None, (meta.get("namespace"), meta["name"])))] = prune(obj)

    def job(self, raw: Object, replicas: int = 2, ready: int | None = None) -> None:
        """Add a job and its Deployment."""
        name = raw["metadata"]["name"]
        self.kube.jobs[name] = raw
        self.add(cluster.prune_job, self.scaler.collector.jobs.objects, raw)
        self.deployment(name, replicas, ready)

    def deployment(self, name: str, replicas: int, ready: int | None = None) -> None:
        """Add a Deployment."""
        meta = {"name": name, "namespace": "ml", "uid": "d", "resourceVersion": "1"}
        status = {"readyReplicas": replicas if ready is None else ready}
        obj = {"metadata": meta, "spec": {"replicas": replicas}, "status": status}
        self.add(cluster.prune_deployment, self.scaler.collector.deployments.objects, obj)

    async def round(self, seconds: float = 5) -> None:
        """Advance the clock and run one round."""
        self.now += seconds
        await self.scaler.round()


def make_node(gpus: int) -> Object:
    """Return a node."""
    status = {
        "allocatable": {"nvidia.com/gpu": str(gpus)},
        "conditions": [{"type": "Ready", "status": "True"}],
    }
    return {"metadata": {"name": "n1", "uid": "n1", "resourceVersion": "1"}, "status": status}


def busy(rate: float = 2.0, running: float = 8.0, waiting: float = 0.0, *names: str) -> dict[str, Any]:
    """Return the series of jobs under load."""
    keys = [f"ml/{name}" for name in names or ("chat",)]
    values = {"up": 2.0, "arrivals": rate, "finished": rate, "running": running, "waiting": waiting}
    stage: dict[str, Any] = {name: dict.fromkeys(keys, value) for name, value in values.items()}
    return {**stage, "scrape_targets": {"": 9}}


@pytest.fixture
async def stage(server: Server, prometheus: Prometheus) -> Stage:
    """A calibrated job under moderate load."""
    stage = Stage(prometheus)
    stage.job(make_job(max_replicas=900))
    server.jobs = busy(rate=8.0, running=64.0, waiting=20.0)
    await stage.scaler.collector.update_history()
    server.jobs = busy()
    return stage


async def test_decision_is_published_once_and_renewed_before_it_expires(stage: Stage) -> None:
    for _ in range(10):
        await stage.round()  # until the decision is stable
    stage.kube.applied.clear()
    await stage.round(60)
    [body] = stage.kube.applied
    assert body["metadata"] == {"name": "chat", "namespace": "ml", "uid": "uid-chat"}
    scaling = stage.kube.last()
    assert scaling["service"] == {
        "requestsPerSecond": "4",
        "slots": 32,
        "coldStartSeconds": 1800,
        "source": "Saturation",
    }
    assert scaling["observedGeneration"] == 3
    for _ in range(6):
        await stage.round()
    assert len(stage.kube.applied) == 1
    await stage.round()
    assert len(stage.kube.applied) == 2
    assert stage.kube.last()["validUntil"] > scaling["validUntil"]
    assert stage.scaler.metrics.rounds == sum(stage.scaler.metrics.decisions.values()) == 18
    assert 'inferstack_scaler_decisions_total{reason="' in stage.scaler.metrics.render()


async def test_step_in_load_raises_the_floor_in_the_next_round(server: Server, stage: Stage) -> None:
    await stage.round()
    before = stage.kube.last()["minReplicas"]
    server.jobs = busy(rate=40.0, running=64.0, waiting=400.0)
    await stage.round()
    scaling = stage.kube.last()
    assert scaling["minReplicas"] >= 10 > before
    assert scaling["reason"] in {"Burst", "Reactive", "Budget"}


async def test_round_needs_four_queries_for_any_number_of_jobs(server: Server, stage: Stage) -> None:
    names = [f"job-{index}" for index in range(60)]
    for name in names:
        stage.job(make_job(name, max_replicas=900))
    server.jobs = busy(8.0, 64.0, 20.0, *names, "chat")
    await stage.scaler.collector.update_history()
    server.queries.clear()
    await stage.round()
    assert len(server.queries) == 4
    assert len({body["metadata"]["name"] for body in stage.kube.applied}) == 61


async def test_unreachable_prometheus_keeps_the_decision_until_it_expires(
    server: Server, stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    await stage.round()
    decision = stage.kube.last()
    server.failure_response = failure(503, "unavailable", "starting up")
    for _ in range(4):
        await stage.round()
    scaling = stage.kube.last()
    assert scaling["reason"] == "PrometheusUnreachable"
    assert "starting up" in scaling["message"]
    assert {key: scaling[key] for key in ("minReplicas", "target", "validUntil")} == {
        key: decision[key] for key in ("minReplicas", "target", "validUntil")
    }
    # Published once and logged once while it lasts.
    assert len(stage.kube.applied) == 2
    assert sum("starting up" in record.message for record in caplog.records) == 1
    assert stage.scaler.metrics.errors["prometheus"] == 4
    server.failure_response = None
    await stage.round()
    assert stage.kube.last()["reason"] not in {"PrometheusUnreachable", "NoData"}
    stage.scaler.collector.jobs.synced.set()
    assert stage.scaler.unhealthy_reason() is None


async def test_missing_series_have_reason_no_data(server: Server, stage: Stage) -> None:
    server.jobs = {"scrape_targets": {"": 9}, "up": {"ml/other": 3.0}}
    await stage.round()
    assert stage.kube.last()["reason"] == "NoData"
    assert "minReplicas" not in stage.kube.last()


async def test_nan_counts_as_missing(server: Server, stage: Stage) -> None:
    await stage.round()
    server.jobs = {**busy(), "up": {"ml/chat": float("nan")}}
    await stage.round()
    assert stage.kube.last()["reason"] == "NoData"
    server.jobs = {**busy(), "running": {"ml/chat": float("nan")}, "waiting": {"ml/chat": float("inf")}}
    await stage.round()
    assert stage.kube.last()["reason"] not in {"NoData", "Budget"}


async def test_status_is_cleared_without_predictive_section(stage: Stage) -> None:
    await stage.round()
    raw = stage.kube.jobs["chat"]
    del raw["spec"]["autoscale"]["predictive"]
    raw["metadata"]["generation"] += 1
    stage.job(raw)
    await stage.round()
    assert "status" not in stage.kube.applied[-1]
    count = len(stage.kube.applied)
    await stage.round()
    assert len(stage.kube.applied) == count
    assert stage.scaler.metrics.jobs == 0


async def test_paused_job_is_ignored(stage: Stage) -> None:
    stage.job(make_job(replicas=0), replicas=0)
    await stage.round()
    assert stage.kube.applied == []


async def test_change_of_reason_posts_an_event(server: Server, stage: Stage) -> None:
    await stage.round()
    server.jobs = busy(rate=40.0, running=64.0, waiting=400.0)
    await stage.round()
    waiting = stage.scaler.publisher.events._waiting
    events = [waiting.get_nowait() for _ in range(waiting.qsize())]
    assert [event["reason"] for event in events][-1] == stage.kube.last()["reason"]
    assert len(events) == 2
    assert events[0]["source"] == {"component": SCALER}
    assert events[0]["involvedObject"]["name"] == "chat"


async def test_rejected_write_is_retried(stage: Stage) -> None:
    stage.kube.refuse = True
    await stage.round()
    assert stage.scaler.metrics.errors["kubernetes"] == 1
    stage.kube.refuse = False
    await stage.round()
    assert stage.kube.last()["minReplicas"] >= 1


async def test_idle_job_scales_to_zero_and_first_request_wakes_it_up(server: Server, stage: Stage) -> None:
    raw = make_job(predictive={"idleSeconds": 120})
    raw["metadata"]["generation"] += 1
    stage.job(raw)
    server.jobs = {**busy(rate=0.0, running=0.0), "mesh_series": {"": 4}}
    await stage.round()
    assert "replicas" not in stage.kube.last()
    for _ in range(3):
        await stage.round(60)
    assert (stage.kube.last()["replicas"], stage.kube.last()["reason"]) == (0, "Idle")
    stage.deployment("chat", 0)
    server.jobs = {"scrape_targets": {"": 9}, "mesh_series": {"": 4}}
    await stage.round(60)
    assert stage.kube.last()["replicas"] == 0
    # The first unserved request starts a new series, which has no rate yet.
    server.jobs["new_unserved_requests"] = {"ml/chat": 1}
    await stage.round()
    assert (stage.kube.last()["reason"], stage.kube.last()["replicas"]) == ("Wake", stage.kube.last()["minReplicas"])


async def test_jobs_share_a_pool_by_priority(server: Server, stage: Stage) -> None:
    meta = {"name": "high", "uid": "high", "resourceVersion": "1"}
    stage.add(cluster.prune_priority, stage.scaler.collector.priorities.objects, {"metadata": meta, "value": 1000})
    stage.add(cluster.prune_node, stage.scaler.collector.nodes.objects, make_node(8))
    stage.job(make_job("first", priorityClassName="high"))
    server.jobs = busy(40.0, 64.0, 400.0, "chat", "first")
    await stage.scaler.collector.update_history()
    await stage.round()
    first, chat = stage.kube.last("first"), stage.kube.last("chat")
    assert first["minReplicas"] + chat["minReplicas"] <= 8
    # Held and needed replicas are never taken away.
    assert first["minReplicas"] == 6
    assert (chat["minReplicas"], chat["maxReplicas"], chat["reason"]) == (2, 2, "Budget")
    assert "the pool grants 2" in chat["message"]


async def test_service_times_are_kept_without_new_measurements(server: Server, stage: Stage) -> None:
    server.jobs = {**busy(), "latency_0.5": {"ml/chat": 1.0}, "first_token_0.99": {"ml/chat": 0.2}}
    stage.now += 60
    await stage.scaler.collector.update_history()
    state = stage.scaler.collector.states["ml/chat"]
    assert {measure.value: distribution.quantile(0.5) for measure, distribution in state.service_times.items()} == {
        "Latency": 1.0,
        "TimeToFirstToken": 0.2,
    }
    server.jobs = busy()
    stage.now += 60
    await stage.scaler.collector.update_history()
    assert len(state.service_times) == 2


async def test_state_of_deleted_job_is_dropped(stage: Stage) -> None:
    await stage.round()
    del stage.scaler.collector.jobs.objects["ml/chat"]
    await stage.round()
    assert stage.scaler.collector.states == {}


async def test_job_may_be_deleted_during_queries(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        stage.scaler.collector.prometheus,
        "instant",
        _delete_job_before(stage, stage.scaler.collector.prometheus.instant),
    )
    await stage.round()
    assert stage.scaler.metrics.rounds == 1
    assert stage.scaler.metrics.errors == {}


def _delete_job_before(stage: Stage, query_prometheus: Callable[..., Any]) -> Callable[..., Any]:
    """Return a query that deletes the job first."""

    async def query_after_deletion(query: str) -> Any:
        stage.scaler.collector.jobs.objects.pop("ml/chat", None)
        stage.scaler.collector.deployments.objects.pop("ml/chat", None)
        return await query_prometheus(query)

    return query_after_deletion


async def test_error_in_one_job_does_not_stop_the_others(
    server: Server, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.job(make_job("second"))
    server.jobs = busy(8.0, 64.0, 20.0, "chat", "second")
    await stage.scaler.collector.update_history()
    stage.scaler.collector.states["ml/chat"].burstiness = float("nan")
    await stage.round()
    assert stage.scaler.metrics.errors["decision"] + (stage.kube.last("chat")["reason"] == "SloUnreachable") >= 1
    assert stage.kube.last("second")["minReplicas"] >= 1


async def test_slo_misses_use_up_the_error_budget(server: Server, stage: Stage) -> None:
    within = stage.scaler.collector.predictive_jobs()["ml/chat"].predictive.slo.milliseconds / 1000
    targets = {}
    for name, late in (("unused", 0), ("used up", 300)):
        buckets: dict[str, Any] = {f"ml/chat|{within:g}": 10_000.0 - late, "ml/chat|+Inf": 10_000.0}
        server.jobs = {**busy(rate=600.0, running=100.0), "duration_buckets": buckets}
        await stage.scaler.collector.update_history()
        assert stage.scaler.collector.states["ml/chat"].missed == pytest.approx(late / 10_000)
        await stage.round()
        targets[name] = stage.kube.last()["target"]
    # A used-up error budget lowers the target load of a replica.
    assert quantity(targets["used up"]) < quantity(targets["unused"])
    (form,) = server.queries_of("duration_buckets")[:1]
    assert "[3600000ms]" in form["query"]
    server.jobs = busy()
    await stage.scaler.collector.update_history()
    assert stage.scaler.collector.states["ml/chat"].missed is None


def quantity(text: str) -> float:
    """Return the number of a quantity in thousandths."""
    return float(text.removesuffix("m")) / 1000 if text.endswith("m") else float(text)


async def test_unhealthy_without_first_list_or_recent_round(stage: Stage) -> None:
    assert "first list" in (stage.scaler.unhealthy_reason() or "")
    stage.scaler.collector.jobs.synced.set()
    await stage.round()
    assert stage.scaler.unhealthy_reason() is None
    stage.now += 1000
    assert "110 s" in (stage.scaler.unhealthy_reason() or "")


async def test_run_publishes_until_cancelled(
    stage: Stage, prometheus: Prometheus, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run(informer: Informer) -> None:
        informer.synced.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(Informer, "run", run)
    settings = LoopSettings(interval=0.05, window=30, validity=60, step=60, depth=7200)
    scaler = Scaler(cast("KubeClient", stage.kube), prometheus, settings, clock=lambda: stage.now)
    task = asyncio.create_task(scaler.run())
    try:
        async with asyncio.timeout(20):
            while scaler.metrics.rounds == 0:
                await asyncio.sleep(0.01)
                scaler.collector.jobs.objects |= stage.scaler.collector.jobs.objects
                scaler.collector.deployments.objects |= stage.scaler.collector.deployments.objects
            while not stage.kube.applied:  # noqa: ASYNC110  # no event to wait for
                await asyncio.sleep(0.01)
    finally:
        task.cancel()
        await asyncio.wait([task])
    assert task.cancelled()
    assert stage.kube.last()["reason"] != "PrometheusUnreachable"
    assert scaler.unhealthy_reason() is None
