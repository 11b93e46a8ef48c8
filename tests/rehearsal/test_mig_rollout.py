"""MigRollouts on a real API server: budgets, evictions and scheduling are real; GPUs and MIG manager are played."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from inferstack.api import constants
from inferstack.k8s import KubeClient
from rehearsal.control_plane import Rehearsal
from tests.rehearsal import mig_fleet as fleet
from tests.rehearsal.disruptions import Recorder
from tests.rehearsal.mig_fleet import AFTER, BEFORE, OWNER, balanced, is_cut, is_free, phase, reach, steps
from tests.rehearsal.operator_process import MANAGER, Operator, serving

pytestmark = [pytest.mark.rehearsal, pytest.mark.timeout(240)]

GPUS = 2


@pytest.fixture(scope="module")
def operator(plane: Rehearsal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operator]:
    """A running operator, and the GPU operator beside it."""
    with fleet.gpu_operator(plane), serving(plane.kubeconfig, tmp_path_factory.mktemp("operator")) as running:
        yield running


MakeNodes = Callable[..., Awaitable[list[str]]]


@pytest.fixture
async def make_nodes(kube: KubeClient, operator: Operator) -> AsyncIterator[MakeNodes]:
    """Make nodes; they and all rollouts go afterwards."""
    created: list[str] = []

    async def make(count: int, **options: Any) -> list[str]:
        names = await fleet.make_nodes(kube, count, gpus=GPUS, **options)
        created.extend(names)
        return names

    yield make
    await fleet.remove(kube, created)


async def _all_at(kube: KubeClient, nodes: list[str], layout: str) -> None:
    """Assert that nodes are cut as asked and that nobody has them cordoned."""
    devices = balanced(GPUS) if layout == AFTER else {fleet.SLICE: 2 * GPUS}
    for name in nodes:
        node = await fleet.node_of(kube, name)
        assert is_cut(node, layout, devices), (node["metadata"]["labels"], node["status"]["allocatable"])
        assert is_free(node), node["spec"]


async def test_four_nodes_are_changed_one_after_another(
    kube: KubeClient, namespace: str, make_nodes: MakeNodes
) -> None:
    nodes = await make_nodes(4)
    await fleet.deploy(kube, namespace, "served", 4, nodes)
    name = await fleet.start(kube, nodes)
    status = await reach(kube, name, phase("Succeeded"))
    assert (status["done"], status["failed"], steps(status)) == ("4/4", 0, ["Done"] * 4)
    assert [c["status"] for c in status["conditions"] if c["type"] == "Complete"] == ["True"]
    await _all_at(kube, nodes, AFTER)
    begun = [record["since"] for record in status["nodes"]]
    assert begun == sorted(begun)
    events = (await kube.list("v1", "Event", "default", fields=f"involvedObject.name={name}"))["items"]
    assert [event["reason"] for event in events].count("NodeDone") == 4


async def test_nodes_with_their_layout_are_unchanged(kube: KubeClient, make_nodes: MakeNodes) -> None:
    nodes = await make_nodes(2)
    before = [(await fleet.node_of(kube, node))["metadata"]["labels"] for node in nodes]
    name = await fleet.start(kube, nodes, BEFORE)
    status = await reach(kube, name, phase("Succeeded"))
    assert {record["message"] for record in status["nodes"]} == {"the node already has the layout"}
    assert [(await fleet.node_of(kube, node))["metadata"]["labels"] for node in nodes] == before


@contextlib.asynccontextmanager
async def _spoilt(kube: KubeClient) -> AsyncIterator[None]:
    await fleet.spoil(kube)
    try:
        yield
    finally:
        await fleet.spoil(kube, mend=True)


KILLED = ["Cordoning", "Draining", "Labelling", "Configuring", "Verifying", "Restoring", "Releasing"]


@pytest.mark.parametrize("step", KILLED)
async def test_an_operator_killed_in_any_step_resumes(
    kube: KubeClient, namespace: str, make_nodes: MakeNodes, operator: Operator, step: str
) -> None:
    nodes = await make_nodes(3, seconds=3.0 if step in ("Verifying", "Restoring") else 0.5)
    # An eviction whose client dies in its midst can leave its pod counted as going, for the two minutes that Kubernetes
    # gives it: there must be disruptions left.
    await fleet.deploy(kube, namespace, "served", 4, nodes, unavailable=3)
    name = await fleet.start(kube, nodes)
    async with contextlib.AsyncExitStack() as stack:
        if step in ("Verifying", "Restoring"):
            await reach(kube, name, lambda status: "Configuring" in steps(status))
        if step == "Verifying":
            await fleet.annotate(kube, nodes[0], "lost-gpus", "1")
        if step == "Restoring":
            await stack.enter_async_context(_spoilt(kube))
        await reach(kube, name, lambda status: step in steps(status))
        assert operator.end(signal.SIGKILL) == -signal.SIGKILL
        if step == "Verifying":
            await fleet.annotate(kube, nodes[0], "lost-gpus", None)
        operator.start()
        await operator.healthy()
        status = await reach(kube, name, lambda status: status["phase"] in ("Succeeded", "Failed"), seconds=60)
    if step == "Restoring":
        assert steps(status) == ["RolledBack", "Waiting", "Waiting"]
        await _all_at(kube, nodes, BEFORE)
    else:
        assert (status["phase"], steps(status)) == ("Succeeded", ["Done"] * 3), status
        await _all_at(kube, nodes, AFTER)


async def test_a_failed_layout_is_rolled_back_and_stops_the_rollout(
    kube: KubeClient, namespace: str, make_nodes: MakeNodes
) -> None:
    nodes = await make_nodes(3, seconds=3.0)
    await fleet.deploy(kube, namespace, "served", 4, nodes)
    name = await fleet.start(kube, nodes)
    await reach(kube, name, lambda status: "Configuring" in steps(status))
    async with _spoilt(kube):
        status = await reach(kube, name, phase("Failed"))
    assert steps(status) == ["RolledBack", "Waiting", "Waiting"]
    assert f"{nodes[0]}: the MIG manager failed to apply {AFTER}" in status["message"]
    assert (status["done"], status["failed"]) == ("0/3", 1)
    await _all_at(kube, nodes, BEFORE)


async def test_a_node_with_missing_devices_is_rolled_back(kube: KubeClient, make_nodes: MakeNodes) -> None:
    nodes = await make_nodes(2, seconds=3.0)
    name = await fleet.start(kube, nodes, stateTimeoutSeconds=8, maxFailedNodes=1)
    await reach(kube, name, lambda status: "Configuring" in steps(status))
    await fleet.annotate(kube, nodes[0], "lost-gpus", "1")
    await reach(kube, name, lambda status: "Restoring" in steps(status))
    await fleet.annotate(kube, nodes[0], "lost-gpus", None)
    status = await reach(kube, name, phase("Succeeded"))
    assert steps(status) == ["RolledBack", "Done"]
    await _all_at(kube, nodes[:1], BEFORE)
    await _all_at(kube, nodes[1:], AFTER)


async def test_an_impossible_rollout_changes_nothing(kube: KubeClient, make_nodes: MakeNodes) -> None:
    nodes = await make_nodes(1)
    name = await fleet.start(kube, [*nodes, "no-such-node"])
    status = await reach(kube, name, phase("Failed"))
    assert "no-such-node: the node does not exist" in status["message"]
    name = await fleet.start(kube, nodes, "all-1g.18gb")
    status = await reach(kube, name, phase("Failed"))
    assert status["message"].startswith("refused")
    await _all_at(kube, nodes, BEFORE)


async def test_a_budget_that_allows_no_disruption_is_respected(
    kube: KubeClient, namespace: str, make_nodes: MakeNodes
) -> None:
    nodes = await make_nodes(2)
    await fleet.deploy(kube, namespace, "fixed", 4, nodes, unavailable=0)
    pods = {pod["metadata"]["uid"] for pod in (await kube.list("v1", "Pod", namespace))["items"]}
    name = await fleet.start(kube, nodes, drainTimeoutSeconds=3)
    status = await reach(kube, name, phase("Failed"))
    assert steps(status) == ["Skipped", "Waiting"]
    assert f"{namespace}/fixed allows no disruption" in status["message"]
    assert {pod["metadata"]["uid"] for pod in (await kube.list("v1", "Pod", namespace))["items"]} == pods
    await _all_at(kube, nodes, BEFORE)


async def test_a_drain_ends_after_its_timeout(kube: KubeClient, namespace: str, make_nodes: MakeNodes) -> None:
    nodes = await make_nodes(2)
    await fleet.deploy(kube, namespace, "narrow", 2, nodes[:1])  # its pods can run nowhere else
    name = await fleet.start(kube, nodes, drainTimeoutSeconds=4)
    await reach(kube, name, lambda status: "Draining" in steps(status))
    status = await reach(kube, name, phase("Failed"))
    assert steps(status) == ["Skipped", "Waiting"]
    assert "not drained within 4 s" in status["message"]
    await _all_at(kube, nodes, BEFORE)
    async with asyncio.timeout(20):  # what had to leave comes back
        while True:
            pods = (await kube.list("v1", "Pod", namespace))["items"]
            if sum(map(fleet.is_ready, pods)) == 2:
                break
            await asyncio.sleep(0.2)


async def test_windows_pause_and_abort(kube: KubeClient, make_nodes: MakeNodes) -> None:
    nodes = await make_nodes(3, seconds=1.5)
    closed = [{"days": [fleet.far_day()], "start": "00:00", "durationMinutes": 60}]
    name = await fleet.start(kube, nodes, windows=closed)
    assert (await reach(kube, name, phase("Waiting")))["message"] == "waiting for a maintenance window"
    waiting = await fleet.start(kube, nodes, paused=True)
    assert (await reach(kube, waiting, phase("Pending")))["message"] == f"waiting for the rollout {name}"
    await fleet.edit(kube, name, aborted=True)
    assert steps(await reach(kube, name, phase("Aborted"))) == ["Waiting"] * 3
    await reach(kube, waiting, phase("Paused"))
    await _all_at(kube, nodes, BEFORE)
    await fleet.edit(kube, waiting, paused=False)
    await reach(kube, waiting, lambda status: "Configuring" in steps(status))
    await fleet.edit(kube, waiting, aborted=True)
    status = await reach(kube, waiting, phase("Aborted"))
    assert steps(status) == ["Done", "Waiting", "Waiting"]
    await _all_at(kube, nodes[:1], AFTER)
    await _all_at(kube, nodes[1:], BEFORE)


async def test_a_cordon_by_someone_else_is_kept(kube: KubeClient, make_nodes: MakeNodes) -> None:
    nodes = await make_nodes(3)
    await fleet.cordon(kube, nodes[0])
    await fleet.cordon(kube, nodes[1])
    name = await fleet.start(kube, nodes, drainTimeoutSeconds=8)
    status = await reach(kube, name, lambda status: steps(status) == ["Blocked", "Blocked", "Done"])
    assert "cordoned by someone else" in status["nodes"][0]["message"]
    await fleet.cordon(kube, nodes[1], lift=True)
    status = await reach(kube, name, phase("Failed"))
    assert steps(status) == ["Skipped", "Done", "Done"]
    node = await fleet.node_of(kube, nodes[0])
    assert node["spec"]["unschedulable"]
    assert OWNER not in node["metadata"]["labels"]
    assert is_cut(node, BEFORE, {fleet.SLICE: 2 * GPUS})


async def test_nodes_of_a_deleted_rollout_are_released(kube: KubeClient, make_nodes: MakeNodes) -> None:
    nodes = await make_nodes(1, seconds=2.0)
    name = await fleet.start(kube, nodes)
    await reach(kube, name, lambda status: "Configuring" in steps(status))
    await kube.delete(constants.API_VERSION, constants.ROLLOUT_KIND, name, propagation="Background")
    await fleet.until(kube, ("v1", "Node", nodes[0]), is_free)
    await _all_at(kube, nodes, AFTER)


async def test_the_recorder_detects_a_violated_budget(kube: KubeClient, namespace: str, make_nodes: MakeNodes) -> None:
    nodes = await make_nodes(1)
    await fleet.deploy(kube, namespace, "served", 3, nodes)
    recorder = Recorder(kube, namespace)
    await recorder.start()
    pods = (await kube.list("v1", "Pod", namespace))["items"]
    for pod in pods[:2]:  # past the budget, as nobody should
        await kube.delete("v1", "Pod", pod["metadata"]["name"], namespace, propagation="Background")
    async with asyncio.timeout(20):
        while not recorder.breaches():  # noqa: ASYNC110  # a watch fills it
            await asyncio.sleep(0.1)
    await recorder.stop()
    breaches = recorder.breaches()
    assert {(breach.budget, breach.desired) for breach in breaches} == {(f"{namespace}/served", 2)}
    assert min(breach.healthy for breach in breaches) <= 1


@pytest.mark.long
@pytest.mark.timeout(900)  # a minute on an idle machine
async def test_a_hundred_nodes_under_load_within_all_budgets(
    kube: KubeClient, namespace: str, make_nodes: MakeNodes
) -> None:
    nodes = await make_nodes(100)
    jobs = [f"job-{index:02d}" for index in range(20)]
    await asyncio.gather(*(_make_job(kube, namespace, job, replicas=6) for job in jobs))
    await _serve(kube, namespace, jobs, replicas=6)
    recorder = Recorder(kube, namespace)
    await recorder.start()
    name = await fleet.start(kube, nodes, maxUnavailableNodes=10)
    status = await reach(kube, name, lambda status: status["phase"] in ("Succeeded", "Failed"), seconds=500)
    await _serve(kube, namespace, jobs, replicas=6)
    await recorder.stop()
    assert (status["phase"], status["done"]) == ("Succeeded", "100/100"), status["message"]
    assert recorder.breaches() == []
    evicted = sum(change == "DELETED" and obj["kind"] == "Pod" for change, obj in recorder.events)
    assert evicted >= 50, "it was no load"
    assert 1 < recorder.most_cordoned <= 10
    listed = {node["metadata"]["name"]: node for node in (await kube.list("v1", "Node"))["items"]}
    for node in nodes:
        assert is_cut(listed[node], AFTER, balanced(GPUS)), node
        assert is_free(listed[node]), node


async def _make_job(kube: KubeClient, namespace: str, name: str, *, replicas: int) -> None:
    resources = {fleet.SLICE: 1, "cpu": "1", "memory": "1Gi"}
    job = {
        "apiVersion": constants.API_VERSION,
        "kind": constants.KIND,
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "model": "bert-base-uncased",
            "replicas": replicas,
            "resources": {"requests": resources, "limits": resources},
        },
    }
    await kube.create(job, field_manager=MANAGER)


async def _serve(kube: KubeClient, namespace: str, jobs: list[str], *, replicas: int) -> None:
    """Wait until all jobs have all their replicas, and their budgets know it."""
    async with asyncio.timeout(180):
        while True:
            budgets = (await kube.list("policy/v1", "PodDisruptionBudget", namespace))["items"]
            healthy = {budget["metadata"]["name"]: budget.get("status", {}).get("currentHealthy") for budget in budgets}
            if all(healthy.get(job) == replicas for job in jobs):
                return
            await asyncio.sleep(1)
