"""The loop over all jobs, with Prometheus' stand-in and an API server that only takes notes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, cast

import pytest

from inferstack.api.labels import SCALER
from inferstack.controllers.scaling import cluster
from inferstack.controllers.scaling.loop import Pace, Scaler
from inferstack.controllers.scaling.prometheus import Prometheus
from inferstack.k8s import ApiError, KubeClient
from tests.unit.controllers.scaling.jobs import make_job
from tests.unit.controllers.scaling.prometheus_server import Server, failure

Object = dict[str, Any]
PACE = Pace(interval=5, window=30, validity=60, step=60, depth=7200)


class Kube:
    """Takes notes of what is applied, and answers as an API server would."""

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
        """What was said last of a job."""
        found = [body for body in self.applied if body["metadata"]["name"] == name][-1]
        return cast("Object", found["status"]["scaling"])


class Stage:
    """A scaler, and what it sees."""

    def __init__(self, prometheus: Prometheus) -> None:
        self.kube = Kube()
        self.now = 1_800_000_000.0
        self.scaler = Scaler(cast("KubeClient", self.kube), prometheus, PACE, clock=lambda: self.now)
        self.add(cluster.prune_node, self.scaler._nodes.objects, make_node(4000))

    def add(self, prune: Callable[[Object], Object], into: dict[str, Object], obj: Object) -> None:
        """Have an object seen."""
        meta = obj["metadata"]
        into["/".join(filter(None, (meta.get("namespace"), meta["name"])))] = prune(obj)

    def job(self, raw: Object, replicas: int = 2, ready: int | None = None) -> None:
        """Have a job and its Deployment seen."""
        name = raw["metadata"]["name"]
        self.kube.jobs[name] = raw
        self.add(cluster.prune_job, self.scaler.jobs.objects, raw)
        self.deployment(name, replicas, ready)

    def deployment(self, name: str, replicas: int, ready: int | None = None) -> None:
        """Have a Deployment seen."""
        meta = {"name": name, "namespace": "ml", "uid": "d", "resourceVersion": "1"}
        status = {"readyReplicas": replicas if ready is None else ready}
        obj = {"metadata": meta, "spec": {"replicas": replicas}, "status": status}
        self.add(cluster.prune_deployment, self.scaler._deployments.objects, obj)

    async def round(self, seconds: float = 5) -> None:
        """Let time pass, then look once."""
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
    """Return the series of jobs that have some load."""
    keys = [f"ml/{name}" for name in names or ("chat",)]
    values = {"up": 2.0, "arrivals": rate, "finished": rate, "running": running, "waiting": waiting}
    made: dict[str, Any] = {name: dict.fromkeys(keys, value) for name, value in values.items()}
    return {**made, "alive": {"": 9}}


@pytest.fixture
async def stage(server: Server, prometheus: Prometheus) -> Stage:
    """A busy job that has been measured at its limit."""
    made = Stage(prometheus)
    made.job(make_job(most=900))
    server.jobs = busy(rate=8.0, running=64.0, waiting=20.0)
    await made.scaler.learn()
    server.jobs = busy()
    return made


async def test_a_decision_is_written_once_and_confirmed_before_it_ends(stage: Stage) -> None:
    for _ in range(10):
        await stage.round()  # until what it has found has settled
    stage.kube.applied.clear()
    await stage.round(60)
    [body] = stage.kube.applied
    assert body["metadata"] == {"name": "chat", "namespace": "ml", "uid": "uid-chat"}
    said = stage.kube.last()
    assert said["service"] == {
        "requestsPerSecond": "4",
        "slots": 32,
        "coldStartSeconds": 1800,
        "source": "Saturation",
    }
    assert said["observedGeneration"] == 3
    for _ in range(6):
        await stage.round()
    assert len(stage.kube.applied) == 1
    await stage.round()
    assert len(stage.kube.applied) == 2
    assert stage.kube.last()["validUntil"] > said["validUntil"]
    assert stage.scaler.counts.rounds == sum(stage.scaler.counts.decisions.values()) == 18
    assert 'inferstack_scaler_decisions_total{reason="' in stage.scaler.counts.render()


async def test_a_step_in_load_is_answered_in_the_next_round(server: Server, stage: Stage) -> None:
    await stage.round()
    before = stage.kube.last()["minReplicas"]
    server.jobs = busy(rate=40.0, running=64.0, waiting=400.0)
    await stage.round()
    said = stage.kube.last()
    assert said["minReplicas"] >= 10 > before
    assert said["reason"] in {"Burst", "Reactive", "Budget"}


async def test_a_round_is_four_questions_whatever_the_number_of_jobs(server: Server, stage: Stage) -> None:
    names = [f"job-{index}" for index in range(60)]
    for name in names:
        stage.job(make_job(name, most=900))
    server.jobs = busy(8.0, 64.0, 20.0, *names, "chat")
    await stage.scaler.learn()
    server.asked.clear()
    await stage.round()
    assert len(server.asked) == 4
    assert len({body["metadata"]["name"] for body in stage.kube.applied}) == 61


async def test_prometheus_is_away(server: Server, stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    await stage.round()
    decided = stage.kube.last()
    server.broken = failure(503, "unavailable", "starting up")
    for _ in range(4):
        await stage.round()
    said = stage.kube.last()
    assert said["reason"] == "PrometheusUnreachable"
    assert "starting up" in said["message"]
    assert {key: said[key] for key in ("minReplicas", "target", "validUntil")} == {
        key: decided[key] for key in ("minReplicas", "target", "validUntil")
    }
    # Said once in the status and once in the log, for as long as it lasts.
    assert len(stage.kube.applied) == 2
    assert sum("starting up" in record.message for record in caplog.records) == 1
    assert stage.scaler.counts.errors["prometheus"] == 4
    server.broken = None
    await stage.round()
    assert stage.kube.last()["reason"] not in {"PrometheusUnreachable", "NoData"}
    assert stage.scaler.problem() != "no round"


async def test_no_series(server: Server, stage: Stage) -> None:
    server.jobs = {"alive": {"": 9}, "up": {"ml/other": 3.0}}
    await stage.round()
    assert stage.kube.last()["reason"] == "NoData"
    assert "minReplicas" not in stage.kube.last()


async def test_not_a_number_is_no_number(server: Server, stage: Stage) -> None:
    await stage.round()
    server.jobs = {**busy(), "up": {"ml/chat": float("nan")}}
    await stage.round()
    assert stage.kube.last()["reason"] == "NoData"
    server.jobs = {**busy(), "running": {"ml/chat": float("nan")}, "waiting": {"ml/chat": float("inf")}}
    await stage.round()
    assert stage.kube.last()["reason"] not in {"NoData", "Budget"}


async def test_what_was_said_goes_where_nobody_asks_for_it(stage: Stage) -> None:
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
    assert stage.scaler.counts.jobs == 0


async def test_a_paused_job_is_left_alone(stage: Stage) -> None:
    stage.job(make_job(replicas=0), replicas=0)
    await stage.round()
    assert stage.kube.applied == []


async def test_an_event_tells_of_a_turn(server: Server, stage: Stage) -> None:
    await stage.round()
    server.jobs = busy(rate=40.0, running=64.0, waiting=400.0)
    await stage.round()
    waiting = stage.scaler._events._waiting
    events = [waiting.get_nowait() for _ in range(waiting.qsize())]
    assert [event["reason"] for event in events][-1] == stage.kube.last()["reason"]
    assert len(events) == 2
    assert events[0]["source"] == {"component": SCALER}
    assert events[0]["involvedObject"]["name"] == "chat"


async def test_what_the_api_server_refuses_is_said_again(stage: Stage) -> None:
    stage.kube.refuse = True
    await stage.round()
    assert stage.scaler.counts.errors["kubernetes"] == 1
    stage.kube.refuse = False
    await stage.round()
    assert stage.kube.last()["minReplicas"] >= 1


async def test_an_idle_job_sleeps_and_the_first_request_wakes_it(server: Server, stage: Stage) -> None:
    raw = make_job(predictive={"idleSeconds": 120})
    raw["metadata"]["generation"] += 1
    stage.job(raw)
    server.jobs = {**busy(rate=0.0, running=0.0), "meshed": {"": 4}}
    await stage.round()
    assert "replicas" not in stage.kube.last()
    for _ in range(3):
        await stage.round(60)
    assert (stage.kube.last()["replicas"], stage.kube.last()["reason"]) == (0, "Idle")
    stage.deployment("chat", 0)
    server.jobs = {"alive": {"": 9}, "meshed": {"": 4}}
    await stage.round(60)
    assert stage.kube.last()["replicas"] == 0
    # The first request that finds no replica begins a series, of which there is no rate yet.
    server.jobs["first_knocks"] = {"ml/chat": 1}
    await stage.round()
    assert (stage.kube.last()["reason"], stage.kube.last()["replicas"]) == ("Wake", stage.kube.last()["minReplicas"])


async def test_two_jobs_share_a_pool_by_priority(server: Server, stage: Stage) -> None:
    meta = {"name": "high", "uid": "high", "resourceVersion": "1"}
    stage.add(cluster.prune_priority, stage.scaler._priorities.objects, {"metadata": meta, "value": 1000})
    stage.add(cluster.prune_node, stage.scaler._nodes.objects, make_node(8))
    stage.job(make_job("first", priorityClassName="high"))
    server.jobs = busy(40.0, 64.0, 400.0, "chat", "first")
    await stage.scaler.learn()
    await stage.round()
    first, chat = stage.kube.last("first"), stage.kube.last("chat")
    assert first["minReplicas"] + chat["minReplicas"] <= 8
    # What a job has and needs nobody takes away.
    assert first["minReplicas"] == 6
    assert (chat["minReplicas"], chat["maxReplicas"], chat["reason"]) == (2, 2, "Budget")
    assert "the pool grants 2" in chat["message"]


async def test_measurements_are_kept_where_prometheus_has_none_for_a_while(server: Server, stage: Stage) -> None:
    server.jobs = {**busy(), "latency_0.5": {"ml/chat": 1.0}, "first_token_0.99": {"ml/chat": 0.2}}
    stage.now += 60
    await stage.scaler.learn()
    known = stage.scaler._known["ml/chat"]
    assert {measure.value: one.quantile(0.5) for measure, one in known.work.items()} == {
        "Latency": 1.0,
        "TimeToFirstToken": 0.2,
    }
    server.jobs = busy()
    stage.now += 60
    await stage.scaler.learn()
    assert len(known.work) == 2


async def test_a_job_that_is_gone_is_forgotten(stage: Stage) -> None:
    await stage.round()
    del stage.scaler.jobs.objects["ml/chat"]
    await stage.round()
    assert stage.scaler._known == {}


async def test_a_job_may_go_while_prometheus_is_asked(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stage.scaler._prometheus, "instant", _after(stage, stage.scaler._prometheus.instant))
    await stage.round()
    assert stage.scaler.counts.rounds == 1
    assert stage.scaler.counts.errors == {}


def _after(stage: Stage, ask: Callable[..., Any]) -> Callable[..., Any]:
    """Return a question during which the job is deleted."""

    async def asked(query: str) -> Any:
        stage.scaler.jobs.objects.pop("ml/chat", None)
        stage.scaler._deployments.objects.pop("ml/chat", None)
        return await ask(query)

    return asked


async def test_a_flaw_that_one_job_brings_to_light_does_not_stop_the_others(
    server: Server, stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.job(make_job("second"))
    server.jobs = busy(8.0, 64.0, 20.0, "chat", "second")
    await stage.scaler.learn()
    stage.scaler._known["ml/chat"].burstiness = float("nan")
    await stage.round()
    assert stage.scaler.counts.errors["decision"] + (stage.kube.last("chat")["reason"] == "SloUnreachable") >= 1
    assert stage.kube.last("second")["minReplicas"] >= 1


async def test_misses_of_the_service_level_spend_the_error_budget(server: Server, stage: Stage) -> None:
    within = stage.scaler.asking()["ml/chat"].predictive.slo.milliseconds / 1000
    needs = {}
    for name, late in (("unused", 0), ("used up", 300)):
        buckets: dict[str, Any] = {f"ml/chat|{within:g}": 10_000.0 - late, "ml/chat|+Inf": 10_000.0}
        server.jobs = {**busy(rate=600.0, running=100.0), "times": buckets}
        await stage.scaler.learn()
        assert stage.scaler._known["ml/chat"].missed == pytest.approx(late / 10_000)
        await stage.round()
        needs[name] = stage.kube.last()["target"]
    # What is spent is no longer planned for: a replica is aimed at with less.
    assert quantity(needs["used up"]) < quantity(needs["unused"])
    (form,) = server.questions("times")[:1]
    assert "[3600000ms]" in form["query"]
    server.jobs = busy()
    await stage.scaler.learn()
    assert stage.scaler._known["ml/chat"].missed is None


def quantity(text: str) -> float:
    """Return the number of a quantity in thousandths."""
    return float(text.removesuffix("m")) / 1000 if text.endswith("m") else float(text)


async def test_health(stage: Stage) -> None:
    assert "first list" in (stage.scaler.problem() or "")
    stage.scaler.jobs.synced.set()
    await stage.round()
    assert stage.scaler.problem() is None
    stage.now += 1000
    assert "no round was finished for more than 110 s" in (stage.scaler.problem() or "")
