"""A job's replicas behind the balancer: more of them wait less, and none of the requests is lost."""

from __future__ import annotations

from typing import Any

from rehearsal.load.control import Run
from rehearsal.load.fleet import FleetSimulation, make_status
from rehearsal.load.scenario import JobLoad, Scenario
from rehearsal.load.simulation import JobSimulation


def load(rate: float, **more: Any) -> JobLoad:
    return JobLoad.model_validate({"job": "nlp/chat", "arrivals": {"type": "constant", "rate": rate}, **more})


def simulate(job_load: JobLoad, replicas: int, seconds: float) -> JobSimulation:
    job = JobSimulation(job_load, 1)
    pods = {f"pod-{number}": 0.0 for number in range(replicas)}
    for moment in range(1, int(seconds * 10) + 1):
        job.sync_pods(pods, moment / 10)
    return job


def waiting(job: JobSimulation) -> int:
    return sum(replica.server.waiting for replica in job.replicas.values())


def test_more_replicas_shorten_queue() -> None:
    # A replica can have 8 in work for about 1.9 s: some 4 a second.
    job_load = load(10, server={"maxRunning": 8}, output={"mean": 130, "spread": 0})
    queues = [waiting(simulate(job_load, replicas, 60)) for replicas in (1, 2, 3, 4)]
    assert queues == sorted(queues, reverse=True)
    assert queues[0] > 200
    assert queues[3] < 10


def test_requests_are_conserved() -> None:
    job_load = load(20, server={"maxRunning": 4}, timeoutSeconds=5)
    job = JobSimulation(job_load, 1)
    pods = {"a": 0.0, "b": 0.0}
    for moment in range(1, 601):
        at = moment / 10
        now = {} if 20 < at < 25 else {"b": 0.0, "c": 30.0} if at > 40 else pods
        job.sync_pods(now, at)
        stats = job.request_stats()
        queued = sum(replica.server.running + replica.server.waiting for replica in job.replicas.values())
        assert job.arrived == stats.ok + stats.timed_out + stats.refused + queued
    assert stats.refused > 50  # while queued was no replica
    assert stats.timed_out > 50
    assert stats.milliseconds.count == stats.ok


def test_loading_replica_gets_no_requests() -> None:
    job_load = load(5, server={"coldStartSeconds": 10})
    job = JobSimulation(job_load, 1)
    job.sync_pods({"old": -60.0}, 1)
    job.sync_pods({"old": -60.0, "new": 1.0}, 5)
    assert [replica.accepts_requests for replica in job.replicas.values()] == [True, False]
    job.sync_pods({"old": -60.0, "new": 1.0}, 10.9)
    assert job.replicas["new"].server.counts.prompt_tokens == 0
    job.sync_pods({"old": -60.0, "new": 1.0}, 11.1)
    job.sync_pods({"old": -60.0, "new": 1.0}, 30)
    assert job.replicas["new"].server.counts.prompt_tokens > 0


def pod(name: str, job: str, node: str = "n", ready: bool = True, **limits: str) -> dict[str, Any]:
    condition = {"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": "1970-01-01T00:16:40Z"}
    meta = {
        "name": name,
        "namespace": "nlp",
        "uid": f"uid-{name}",
        "creationTimestamp": f"1970-01-01T00:16:4{name[-1]}Z",
        "labels": {"inferstack.dev/job": job, "app.kubernetes.io/name": "vllm"},
    }
    container = {
        "name": "server",
        "args": ["--model", "m", "--port", "8000"],
        "resources": {"limits": limits},
        "ports": [{"name": "http", "containerPort": 8000, "protocol": "TCP"}],
    }
    return {
        "metadata": meta,
        "spec": {"nodeName": node, "containers": [container]},
        "status": {"phase": "Running", "podIP": "10.0.0.1", "conditions": [condition]},
    }


def test_fleet_follows_pods() -> None:
    fleet = FleetSimulation(Run(Scenario(jobs=(load(5),)), 1, 1000), {}, 1000)
    pods = {"nlp/chat-0": pod("chat-0", "chat"), "nlp/idle-0": pod("idle-0", "idle")}
    for tick in range(1, 101):
        fleet.step(pods, 1000 + tick / 10)
    by_name = {job["job"]: job for job in make_status(fleet, 1010, 0)["jobs"]}
    assert by_name["nlp/chat"]["arrived"] > 20
    assert by_name["nlp/chat"]["replicas"] == by_name["nlp/idle"]["replicas"] == 1
    assert by_name["nlp/idle"]["arrived"] == 0
    fleet.step({"nlp/chat-0": pod("chat-0", "chat", ready=False)}, 1011)
    assert [(job["job"], job["replicas"]) for job in make_status(fleet, 1011, 0)["jobs"]] == [("nlp/chat", 0)]
