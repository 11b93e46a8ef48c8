"""Whatever happens and wherever the operator dies, a rollout ends and leaves no node cordoned."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from inferstack.api import Phase, Step
from tests.unit.controllers.mig.cluster import Cluster, make

FAULTS = st.sampled_from(["well", "fails", "hangs", "not ready", "cordoned", "lost"])
MISHAPS = st.lists(
    st.one_of(
        st.tuples(st.just("die"), st.integers(0, 3)),
        st.tuples(st.just("wait"), st.integers(1, 200)),
        st.tuples(st.just("uncordon"), st.integers(0, 4)),
        st.tuples(st.just("relabel"), st.integers(0, 4)),
        st.tuples(st.just("remove"), st.integers(0, 4)),
    ),
    max_size=40,
)


def build(faults: list[str], unavailable: int, failed: int, pods: int, budget: int | None) -> Cluster:
    cluster = make(
        len(faults),
        pods=pods,
        budget=budget,
        maxUnavailableNodes=unavailable,
        maxFailedNodes=failed,
        drainTimeoutSeconds=120,
        stateTimeoutSeconds=60,
    )
    for fault, machine in zip(faults, cluster.machines.values(), strict=True):
        machine.fails, machine.hangs = fault == "fails", fault == "hangs"
        machine.ready, machine.cordoned = fault != "not ready", fault == "cordoned"
        machine.lost = fault == "lost"
    return cluster


@settings(max_examples=120, deadline=None)
@given(
    faults=st.lists(FAULTS, min_size=1, max_size=5),
    unavailable=st.integers(1, 3),
    failed=st.integers(0, 3),
    pods=st.integers(0, 8),
    budget=st.one_of(st.none(), st.integers(0, 2)),
    mishaps=MISHAPS,
)
def test_a_rollout_ends_and_no_node_stays_cordoned(
    faults: list[str], unavailable: int, failed: int, pods: int, budget: int | None, mishaps: list[tuple[str, int]]
) -> None:
    cluster = build(faults, unavailable, failed, pods, budget)
    touched: set[str] = set()
    for kind, number in mishaps:
        name = f"n{number}"
        if kind == "die":
            cluster.turn(die_after=number)
        elif kind == "wait":
            cluster.turn()
            cluster.live(number)
        elif name in cluster.machines:
            touched.add(name)
            if kind == "uncordon":
                cluster.machines[name].cordoned = False
            elif kind == "relabel":
                cluster.machines[name].label = "all-2g.10gb"
            elif cluster.status is not None:
                del cluster.machines[name]
                cluster.pods = [pod for pod in cluster.pods if pod.node != name]
        if cluster.status is not None and cluster.phase.final:
            break
    if cluster.status is None or not cluster.phase.final:
        cluster.finish()
    assert cluster.status is not None
    assert cluster.ours == []
    assert cluster.cordons <= unavailable
    if budget is not None and not any(kind == "remove" for kind, _ in mishaps):
        assert cluster.lowest >= pods - budget
    for record in cluster.status.nodes or ():
        if record.name in touched:
            continue
        machine = cluster.machines[record.name]
        if record.step is Step.DONE:
            assert (machine.label, machine.state) == ("all-1g.5gb", "success")
        elif record.step in (Step.ROLLED_BACK, Step.SKIPPED, Step.WAITING, Step.BLOCKED):
            assert machine.label == "all-3g.20gb"
    # A node that is missing before any was begun is an error in the plan, whatever may fail.
    stopped = (cluster.status.failed or 0) > failed or cluster.status.message.startswith("refused")
    assert cluster.phase is (Phase.FAILED if stopped else Phase.SUCCEEDED)


@settings(max_examples=50, deadline=None)
@given(died=st.lists(st.integers(0, 4), max_size=30), count=st.integers(3, 4), unavailable=st.integers(1, 2))
def test_restarts_of_the_operator_only_cost_time(died: list[int], count: int, unavailable: int) -> None:
    cluster = make(count, pods=count * 2, budget=1, maxUnavailableNodes=unavailable)
    for writes in died:
        cluster.turn(die_after=writes)
        cluster.live(1)
    decision = cluster.finish() if cluster.status is None or not cluster.phase.final else None
    assert cluster.phase is Phase.SUCCEEDED, decision
    assert all(machine.done == "all-1g.5gb" for machine in cluster.machines.values())
    assert cluster.lowest >= count * 2 - 1
