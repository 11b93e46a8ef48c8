"""Decisions about rollouts, one situation at a time."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from inferstack.api import MigRolloutSpec, Phase, Step
from inferstack.controllers.mig.actions import Cordon, Evict
from inferstack.controllers.mig.begin import SETTLE_SECONDS
from inferstack.controllers.mig.decide import decide
from tests.unit.controllers.mig.cluster import NAME, START, Cluster, Machine, make


def step(cluster: Cluster, node: str = "n0") -> Step:
    assert cluster.status is not None
    assert cluster.status.nodes is not None
    return next(record.step for record in cluster.status.nodes if record.name == node)


def message(cluster: Cluster, node: str = "n0") -> str:
    assert cluster.status is not None
    return next(record.message for record in cluster.status.nodes or () if record.name == node)


def until(cluster: Cluster, wanted: Step, node: str = "n0") -> None:
    for _ in range(60):
        cluster.turn()
        if step(cluster, node) is wanted:
            return
        cluster.live()
    raise AssertionError(f"{node} is {step(cluster, node)}, not {wanted}")


def test_a_step_is_written_before_it_is_taken() -> None:
    cluster = make(1)
    decision = cluster.decide()
    assert decision.records["n0"].step is Step.CORDONING
    assert decision.actions == (Cordon("n0"),)
    assert decision.phase is Phase.RUNNING
    assert decision.current == "n0"
    record = decision.records["n0"]
    assert record.previous_layout == "all-3g.20gb"
    assert record.previous_devices == {"nvidia.com/mig-3g.20gb": 4}
    assert record.devices == {"nvidia.com/mig-1g.5gb": 14}


def test_the_way_of_one_node() -> None:
    cluster = make(1, pods=2)
    seen: list[str] = []
    for _ in range(40):
        decision = cluster.turn()
        assert decision is not None
        seen += [type(action).__name__ for action in decision.actions]
        if decision.phase.final:
            break
        cluster.live()
    assert seen == ["Cordon", "Evict", "Evict", "SetLayout", "Uncordon"]
    assert cluster.phase is Phase.SUCCEEDED


def test_the_old_success_is_not_taken_for_the_new_one() -> None:
    cluster = make(1)
    until(cluster, Step.LABELLING)
    assert cluster.machines["n0"].state is None  # it was taken away with the label
    cluster.turn()
    assert step(cluster) is Step.CONFIGURING
    assert message(cluster) == "the MIG manager: no word yet"


def test_budgets_are_shared_by_the_nodes_of_a_look() -> None:
    cluster = make(2, pods=4, budget=1, maxUnavailableNodes=2)
    cluster.turn()
    assert (step(cluster), step(cluster, "n1")) == (Step.CORDONING, Step.WAITING)
    assert message(cluster, "n1") == "ns/job allows no disruption"
    decision = cluster.turn()
    assert decision is not None
    assert len([action for action in decision.actions if isinstance(action, Evict)]) == 1


def test_pods_that_left_are_waited_for_but_not_for_ever() -> None:
    cluster = make(2, pods=2, budget=2)
    cluster.machines["n1"].ready = False
    until(cluster, Step.DONE)
    cluster.pods[0] = dataclasses.replace(cluster.pods[0], node="")
    cluster.pods[1] = dataclasses.replace(cluster.pods[1], node="n1")
    cluster.machines["n1"].ready = True
    cluster.turn()
    assert message(cluster, "n1") == "pods of ns/job that left do not run again yet"
    cluster.now += timedelta(seconds=SETTLE_SECONDS)
    cluster.turn()
    assert step(cluster, "n1") is Step.CORDONING


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ready": False}, "the node is not ready"),
        ({"cordoned": True}, "someone else has cordoned the node"),
        ({"cordoned": True, "owner": "other"}, "the node is in the hands of the rollout other"),
        ({"state": "pending"}, "the MIG manager is at work"),
        ({"lost": 1}, "publishes 2 mig-3g.20gb where its layout all-3g.20gb means 4 mig-3g.20gb: has it lost GPUs?"),
        (
            {"label": "all-1g.5gb", "state": "failed", "done": "all-1g.5gb"},
            "asked for all-1g.5gb already, the MIG manager said failed: ask for another",
        ),
    ],
)
def test_what_stands_in_the_way_of_one_node_stops_no_other(change: dict[str, object], said: str) -> None:
    cluster = make(2, drainTimeoutSeconds=50)
    for key, value in change.items():
        setattr(cluster.machines["n0"], key, value)
    cluster.turn()
    assert (step(cluster), message(cluster)) == (Step.BLOCKED, said)
    assert step(cluster, "n1") is Step.CORDONING
    owner, cordoned = cluster.machines["n0"].owner, cluster.machines["n0"].cordoned
    cluster.machines["n0"].hangs = change.get("state") == "pending"
    cluster.machines["n0"].first = "none" if change.get("state") == "pending" else "all-3g.20gb"
    decision = cluster.finish()
    assert decision.phase is Phase.FAILED
    assert decision.records["n0"].step is Step.SKIPPED
    assert decision.records["n0"].message == f"not begun after 50 s: {said}"
    assert decision.records["n1"].step is Step.DONE
    assert (cluster.machines["n0"].owner, cluster.machines["n0"].cordoned) == (owner, cordoned)


def test_a_pod_without_a_controller_is_not_evicted() -> None:
    cluster = make(1, pods=1)
    cluster.pods[0] = dataclasses.replace(cluster.pods[0], replaced=False)
    cluster.turn()
    assert message(cluster) == "pod ns/p0 has no controller and would not come back: delete it yourself"


def test_a_plan_with_an_error_is_refused_before_anything() -> None:
    cluster = make(3, maxFailedNodes=3)
    nodes = [{"name": "n0", "layout": "all-1g.5gb"}, {"name": "n1", "layout": "all-9g"}, {"name": "n7", "layout": "x"}]
    cluster.spec = MigRolloutSpec.model_validate({"nodes": nodes, "maxFailedNodes": 3})
    decision = cluster.turn()
    assert decision is not None
    assert decision.phase is Phase.FAILED
    assert decision.message == (
        "refused, nothing was changed: 2 of 3 nodes cannot be, n1: the MIG manager's configuration has no layout "
        "'all-9g'"
    )
    assert decision.actions == ()
    assert decision.records["n7"].message == "there is no such node"


def test_without_the_gpu_operator_nothing_is_begun() -> None:
    cluster = make(1)
    world = dataclasses.replace(cluster.world(), settings=None, problem="there is no ClusterPolicy")
    decision = decide(NAME, cluster.spec, None, world, START + timedelta(days=9))
    assert (decision.phase, decision.message) == (Phase.WAITING, "n0: there is no ClusterPolicy")


def test_failures_within_the_budget_let_it_go_on() -> None:
    cluster = make(3, maxFailedNodes=1)
    cluster.machines["n0"].fails = True
    decision = cluster.finish()
    assert [record.step for record in decision.records.values()] == [Step.ROLLED_BACK, Step.DONE, Step.DONE]
    assert decision.phase is Phase.SUCCEEDED
    assert decision.message == "1 of 3 nodes did not get their layout; first n0: the MIG manager failed at all-1g.5gb"
    assert cluster.machines["n0"].label == "all-3g.20gb"


def test_the_first_failure_stops_it_and_gives_back_what_is_untouched() -> None:
    cluster = make(3, pods=3, budget=1, maxUnavailableNodes=2)
    cluster.machines["n0"].fails = cluster.machines["n2"].cordoned = True
    cluster.pods = [dataclasses.replace(pod, node="n1") for pod in cluster.pods]  # one leaves and finds no place
    decision = cluster.finish()
    assert decision.phase is Phase.FAILED
    assert [record.step for record in decision.records.values()] == [Step.ROLLED_BACK, Step.SKIPPED, Step.WAITING]
    assert decision.records["n1"].message == "given back unchanged: the rollout stops"
    assert cluster.ours == []


def test_a_hanging_mig_manager_is_given_up() -> None:
    cluster = make(1, stateTimeoutSeconds=30)
    cluster.machines["n0"].hangs = True
    decision = cluster.finish()
    record = decision.records["n0"]
    assert (record.step, record.message) == (Step.ROLLED_BACK, "the MIG manager was not done after 30 s")


def test_a_node_without_the_label_gets_it_back_without() -> None:
    cluster = make(1)
    cluster.machines["n0"] = Machine("n0", label=None, done="all-disabled", first="all-disabled", fails=True)
    decision = cluster.finish()
    assert decision.records["n0"].step is Step.ROLLED_BACK
    assert cluster.machines["n0"].label is None


def test_an_abort_finishes_what_is_cut_and_gives_back_the_rest() -> None:
    cluster = make(2, pods=4, budget=1)
    until(cluster, Step.DRAINING)
    cluster.spec = cluster.spec.model_copy(update={"aborted": True})
    decision = cluster.finish()
    assert decision.phase is Phase.ABORTED
    assert [record.step for record in decision.records.values()] == [Step.SKIPPED, Step.WAITING]
    cluster = make(2)
    until(cluster, Step.CONFIGURING)
    cluster.spec = cluster.spec.model_copy(update={"aborted": True})
    assert cluster.turn() is not None
    assert cluster.phase is Phase.STOPPING
    decision = cluster.finish()
    assert [record.step for record in decision.records.values()] == [Step.DONE, Step.WAITING]
    assert cluster.ours == []


def test_a_pause_and_a_closed_window_begin_nothing() -> None:
    cluster = make(1, paused=True)
    assert (cluster.decide().phase, cluster.decide().actions) == (Phase.PAUSED, ())
    cluster = make(1, windows=[{"days": ["Tue"], "start": "02:00", "durationMinutes": 30}])
    assert (cluster.decide().phase, cluster.decide().actions) == (Phase.WAITING, ())
    cluster.now += timedelta(hours=14)
    assert cluster.decide().actions == (Cordon("n0"),)


def test_a_begun_node_is_finished_after_the_window() -> None:
    cluster = make(2, windows=[{"days": ["Mon"], "start": "12:00", "durationMinutes": 1}])
    until(cluster, Step.CONFIGURING)
    cluster.now += timedelta(minutes=2)
    until(cluster, Step.DONE)
    assert (step(cluster, "n1"), cluster.phase) == (Step.WAITING, Phase.WAITING)


def test_time_counts_only_for_the_node_that_others_wait_for() -> None:
    cluster = make(2, pods=2, budget=0, drainTimeoutSeconds=100)
    cluster.turn()
    cluster.spec = cluster.spec.model_copy(update={"paused": True})
    cluster.now += timedelta(seconds=90)
    cluster.turn()
    cluster.spec = cluster.spec.model_copy(update={"paused": False})
    cluster.now += timedelta(seconds=90)
    cluster.turn()
    assert step(cluster) is Step.WAITING
    cluster.now += timedelta(seconds=100)
    cluster.turn()
    assert step(cluster) is Step.SKIPPED


def test_someone_elses_layout_is_left() -> None:
    cluster = make(1)
    until(cluster, Step.CONFIGURING)
    cluster.machines["n0"].label = "all-2g.10gb"
    decision = cluster.finish()
    assert decision.records["n0"].message == "someone else asked for the layout all-2g.10gb"
    assert cluster.machines["n0"].label == "all-2g.10gb"
    assert cluster.ours == []


def test_an_uncordoned_node_is_cordoned_again_while_it_is_emptied() -> None:
    cluster = make(1, pods=3, budget=1)
    until(cluster, Step.DRAINING)
    cluster.machines["n0"].cordoned = False
    assert Cordon("n0") in cluster.decide().actions
