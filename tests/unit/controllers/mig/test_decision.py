"""Decisions about rollouts."""

from __future__ import annotations

import dataclasses
from datetime import timedelta

import pytest

from inferstack.api import MigRolloutSpec, Phase, Step
from inferstack.controllers.mig.actions import Cordon, Evict
from inferstack.controllers.mig.decision import decide
from inferstack.controllers.mig.eligibility import SETTLE_SECONDS
from tests.unit.controllers.mig.cluster import NAME, START, Cluster, Machine, make


def step(cluster: Cluster, node: str = "n0") -> Step:
    assert cluster.status is not None
    assert cluster.status.nodes is not None
    return next(record.step for record in cluster.status.nodes if record.name == node)


def message(cluster: Cluster, node: str = "n0") -> str:
    assert cluster.status is not None
    return next(record.message for record in cluster.status.nodes or () if record.name == node)


def until(cluster: Cluster, expected: Step, node: str = "n0") -> None:
    for _ in range(60):
        cluster.turn()
        if step(cluster, node) is expected:
            return
        cluster.live()
    raise AssertionError(f"{node} is {step(cluster, node)}, not {expected}")


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


def test_actions_of_a_node_in_order() -> None:
    cluster = make(1, pods=2)
    actions: list[str] = []
    for _ in range(40):
        decision = cluster.turn()
        assert decision is not None
        actions += [type(action).__name__ for action in decision.actions]
        if decision.phase.final:
            break
        cluster.live()
    assert actions == ["Cordon", "Evict", "Evict", "SetLayout", "Uncordon"]
    assert cluster.phase is Phase.SUCCEEDED


def test_the_state_of_the_old_layout_does_not_count() -> None:
    cluster = make(1)
    until(cluster, Step.LABELLING)
    assert cluster.machines["n0"].state is None  # it was taken away with the label
    cluster.turn()
    assert step(cluster) is Step.CONFIGURING
    assert "none yet" in message(cluster)


def test_nodes_share_a_budget_within_one_decision() -> None:
    cluster = make(2, pods=4, budget=1, maxUnavailableNodes=2)
    cluster.turn()
    assert (step(cluster), step(cluster, "n1")) == (Step.CORDONING, Step.WAITING)
    assert "ns/job allows no disruption" in message(cluster, "n1")
    decision = cluster.turn()
    assert decision is not None
    assert len([action for action in decision.actions if isinstance(action, Evict)]) == 1


def test_the_next_node_waits_a_limited_time_for_evicted_pods() -> None:
    cluster = make(2, pods=2, budget=2)
    cluster.machines["n1"].ready = False
    until(cluster, Step.DONE)
    cluster.pods[0] = dataclasses.replace(cluster.pods[0], node="")
    cluster.pods[1] = dataclasses.replace(cluster.pods[1], node="n1")
    cluster.machines["n1"].ready = True
    cluster.turn()
    assert "ns/job are not healthy" in message(cluster, "n1")
    cluster.now += timedelta(seconds=SETTLE_SECONDS)
    cluster.turn()
    assert step(cluster, "n1") is Step.CORDONING


@pytest.mark.parametrize(
    ("change", "mentions"),
    [
        ({"ready": False}, ["not ready"]),
        ({"cordoned": True}, ["cordoned by someone else"]),
        ({"cordoned": True, "owner": "other"}, ["rollout other"]),
        ({"state": "pending"}, ["MIG manager is busy"]),
        ({"lost": 1}, ["publishes 2 mig-3g.20gb", "4 mig-3g.20gb of its layout all-3g.20gb"]),
        (
            {"label": "all-1g.5gb", "state": "failed", "done": "all-1g.5gb"},
            ["all-1g.5gb was requested before", "failed"],
        ),
    ],
)
def test_a_blocked_node_does_not_block_others_and_is_skipped(change: dict[str, object], mentions: list[str]) -> None:
    cluster = make(2, drainTimeoutSeconds=50)
    for key, value in change.items():
        setattr(cluster.machines["n0"], key, value)
    cluster.turn()
    assert step(cluster) is Step.BLOCKED
    assert [part for part in mentions if part not in message(cluster)] == []
    assert step(cluster, "n1") is Step.CORDONING
    owner, cordoned = cluster.machines["n0"].owner, cluster.machines["n0"].cordoned
    cluster.machines["n0"].hangs = change.get("state") == "pending"
    cluster.machines["n0"].first = "none" if change.get("state") == "pending" else "all-3g.20gb"
    decision = cluster.finish()
    assert decision.phase is Phase.FAILED
    assert decision.records["n0"].step is Step.SKIPPED
    skipped = decision.records["n0"].message
    assert [part for part in ("50 s", *mentions) if part not in skipped] == []
    assert decision.records["n1"].step is Step.DONE
    assert (cluster.machines["n0"].owner, cluster.machines["n0"].cordoned) == (owner, cordoned)


def test_a_pod_without_a_controller_is_not_evicted() -> None:
    cluster = make(1, pods=1)
    cluster.pods[0] = dataclasses.replace(cluster.pods[0], replaced=False)
    cluster.turn()
    assert "pod ns/p0 has no controller" in message(cluster)


def test_an_impossible_layout_refuses_the_whole_rollout() -> None:
    cluster = make(3, maxFailedNodes=3)
    nodes = [{"name": "n0", "layout": "all-1g.5gb"}, {"name": "n1", "layout": "all-9g"}, {"name": "n7", "layout": "x"}]
    cluster.spec = MigRolloutSpec.model_validate({"nodes": nodes, "maxFailedNodes": 3})
    decision = cluster.turn()
    assert decision is not None
    assert decision.phase is Phase.FAILED
    for part in ("refused", "2 of 3 nodes", "n1: ", "'all-9g'"):
        assert part in decision.message
    assert decision.actions == ()
    assert "does not exist" in decision.records["n7"].message


def test_without_the_gpu_operator_the_rollout_waits() -> None:
    cluster = make(1)
    state = dataclasses.replace(cluster.state(), settings=None, settings_problem="there is no ClusterPolicy")
    decision = decide(NAME, cluster.spec, None, state, START + timedelta(days=9))
    assert (decision.phase, decision.message) == (Phase.WAITING, "n0: there is no ClusterPolicy")


def test_failures_up_to_max_failed_nodes_do_not_stop_the_rollout() -> None:
    cluster = make(3, maxFailedNodes=1)
    cluster.machines["n0"].fails = True
    decision = cluster.finish()
    assert [record.step for record in decision.records.values()] == [Step.ROLLED_BACK, Step.DONE, Step.DONE]
    assert decision.phase is Phase.SUCCEEDED
    assert all(part in decision.message for part in ("1 of 3 nodes", "n0: ", "failed to apply all-1g.5gb"))
    assert cluster.machines["n0"].label == "all-3g.20gb"


def test_a_failure_stops_the_rollout_and_releases_unchanged_nodes() -> None:
    cluster = make(3, pods=3, budget=1, maxUnavailableNodes=2)
    cluster.machines["n0"].fails = cluster.machines["n2"].cordoned = True
    cluster.pods = [dataclasses.replace(pod, node="n1") for pod in cluster.pods]  # one leaves and finds no place
    decision = cluster.finish()
    assert decision.phase is Phase.FAILED
    assert [record.step for record in decision.records.values()] == [Step.ROLLED_BACK, Step.SKIPPED, Step.WAITING]
    assert "released unchanged" in decision.records["n1"].message
    assert cluster.ours == []


def test_a_hanging_mig_manager_is_rolled_back_after_the_timeout() -> None:
    cluster = make(1, stateTimeoutSeconds=30)
    cluster.machines["n0"].hangs = True
    decision = cluster.finish()
    record = decision.records["n0"]
    assert record.step is Step.ROLLED_BACK
    assert "did not finish within 30 s" in record.message


def test_rollback_removes_the_label_of_a_node_that_had_none() -> None:
    cluster = make(1)
    cluster.machines["n0"] = Machine("n0", label=None, done="all-disabled", first="all-disabled", fails=True)
    decision = cluster.finish()
    assert decision.records["n0"].step is Step.ROLLED_BACK
    assert cluster.machines["n0"].label is None


def test_an_abort_finishes_changed_nodes_and_releases_the_others() -> None:
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


def test_no_node_begins_while_paused_or_outside_the_windows() -> None:
    cluster = make(1, paused=True)
    assert (cluster.decide().phase, cluster.decide().actions) == (Phase.PAUSED, ())
    cluster = make(1, windows=[{"days": ["Tue"], "start": "02:00", "durationMinutes": 30}])
    assert (cluster.decide().phase, cluster.decide().actions) == (Phase.WAITING, ())
    cluster.now += timedelta(hours=14)
    assert cluster.decide().actions == (Cordon("n0"),)


def test_a_node_in_progress_is_finished_after_the_window() -> None:
    cluster = make(2, windows=[{"days": ["Mon"], "start": "12:00", "durationMinutes": 1}])
    until(cluster, Step.CONFIGURING)
    cluster.now += timedelta(minutes=2)
    until(cluster, Step.DONE)
    assert (step(cluster, "n1"), cluster.phase) == (Step.WAITING, Phase.WAITING)


def test_drain_timeout_counts_only_for_the_next_node() -> None:
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


def test_a_layout_requested_by_someone_else_is_kept() -> None:
    cluster = make(1)
    until(cluster, Step.CONFIGURING)
    cluster.machines["n0"].label = "all-2g.10gb"
    decision = cluster.finish()
    assert "someone else requested the layout all-2g.10gb" in decision.records["n0"].message
    assert cluster.machines["n0"].label == "all-2g.10gb"
    assert cluster.ours == []


def test_a_node_uncordoned_during_its_drain_is_cordoned_again() -> None:
    cluster = make(1, pods=3, budget=1)
    until(cluster, Step.DRAINING)
    cluster.machines["n0"].cordoned = False
    assert Cordon("n0") in cluster.decide().actions
