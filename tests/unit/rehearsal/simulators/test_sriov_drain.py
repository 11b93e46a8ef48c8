"""The order in which nodes are drained, set up and put back: a table of steps, and a whole pool played out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehearsal.simulators.sriov.drain import (
    DEFAULT_POOL,
    DRAIN,
    DRAINED,
    DRAINING,
    FAILED,
    IDLE,
    IN_PROGRESS,
    REBOOT,
    SUCCEEDED,
    Do,
    Pool,
    Situation,
    Step,
    limit,
    matches,
    next_step,
    parse_pools,
    pool_of,
)
from rehearsal.simulators.sriov.eviction import must_leave

QUIET = Situation(
    differs=False,
    reboot=False,
    failure=None,
    drains=True,
    asked=IDLE,
    answered=IDLE,
    sync=SUCCEEDED,
    error="",
    cordoned=False,
    turn=True,
    pods=0,
    elapsed=None,
    seconds=1.0,
)
WORK = replace(QUIET, differs=True, sync=IN_PROGRESS)
AWAY = replace(WORK, asked=DRAIN, answered=DRAINING, cordoned=True)
DONE = replace(QUIET, asked=DRAIN, answered=DRAINED, sync=IN_PROGRESS, cordoned=True)


@pytest.mark.parametrize(
    ("now", "step"),
    [
        (QUIET, Step(Do.NOTHING)),
        (replace(QUIET, differs=True), Step(Do.TELL, IN_PROGRESS)),
        (replace(QUIET, differs=True, sync=FAILED, error="e"), Step(Do.TELL, IN_PROGRESS, "e")),
        (WORK, Step(Do.ASK, DRAIN)),
        (replace(WORK, reboot=True), Step(Do.ASK, REBOOT)),
        (replace(WORK, asked=DRAIN), Step(Do.ANSWER, DRAINING)),
        (replace(WORK, asked=DRAIN, turn=False), Step(Do.WAIT, seconds=1.0)),
        (replace(WORK, drains=False, elapsed=0.25), Step(Do.WAIT, seconds=0.75)),
        (replace(WORK, drains=False, elapsed=1.0), Step(Do.SET_UP)),
        (replace(AWAY, cordoned=False), Step(Do.CORDON)),
        (replace(AWAY, pods=2), Step(Do.EVICT, seconds=0.2)),
        (AWAY, Step(Do.ANSWER, DRAINED)),
        (replace(AWAY, answered=DRAINED), Step(Do.WAIT, seconds=1.0)),
        (replace(AWAY, answered=DRAINED, elapsed=2.0), Step(Do.SET_UP)),
        (DONE, Step(Do.ASK, IDLE)),
        (replace(DONE, asked=IDLE), Step(Do.TELL, SUCCEEDED)),
        (replace(DONE, asked=IDLE, sync=SUCCEEDED), Step(Do.UNCORDON)),
        (replace(DONE, asked=IDLE, sync=SUCCEEDED, cordoned=False), Step(Do.ANSWER, IDLE)),
        # What cannot be done takes no node away, and one that is away comes back.
        (replace(QUIET, differs=True, failure="e"), Step(Do.TELL, FAILED, "e")),
        (replace(QUIET, differs=True, failure="e", sync=FAILED, error="e"), Step(Do.NOTHING)),
        (replace(AWAY, failure="e"), Step(Do.ASK, IDLE)),
        # Taken back while the node waits for its turn.
        (replace(QUIET, asked=DRAIN, sync=IN_PROGRESS), Step(Do.ASK, IDLE)),
        (replace(QUIET, sync=FAILED, error="e"), Step(Do.TELL, SUCCEEDED)),
    ],
)
def test_the_next_step(now: Situation, step: Step) -> None:
    assert next_step(now) == step


@pytest.mark.parametrize(
    ("share", "nodes", "away"), [(None, 9, None), (2, 9, 2), ("25%", 9, 2), ("1%", 9, 0), ("100%", 3, 3), ("x", 9, 0)]
)
def test_how_many_nodes_may_be_away(share: int | str | None, nodes: int, away: int | None) -> None:
    assert limit(Pool("p", {}, share, None), nodes) == away


def test_the_pool_of_a_node() -> None:
    def config(name: str, **spec: Any) -> dict[str, Any]:
        return {"metadata": {"name": name}, "spec": spec}

    pools = parse_pools(
        [
            config("a", nodeSelector={"matchLabels": {"pool": "a"}}, maxUnavailable=2, rdmaMode="exclusive"),
            config("b", nodeSelector={"matchLabels": {"zone": "b"}}),
            config("offload", ovsHardwareOffloadConfig={"name": "x"}),
        ]
    )
    assert [pool.name for pool in pools] == ["a", "b"]
    assert pool_of({"pool": "a"}, pools) == Pool("a", {"matchLabels": {"pool": "a"}}, 2, "exclusive")
    assert pool_of({}, pools) == DEFAULT_POOL
    assert pool_of({"pool": "a", "zone": "b"}, pools) is None


@pytest.mark.parametrize(
    ("operator", "values", "held"),
    [
        ("In", ["x", "y"], True),
        ("NotIn", ["x"], False),
        ("Exists", None, True),
        ("DoesNotExist", None, False),
        ("In", [], False),
    ],
)
def test_label_expressions(operator: str, values: list[str] | None, held: bool) -> None:
    selector = {"matchExpressions": [{"key": "k", "operator": operator, "values": values}]}
    assert matches(selector, {"k": "x"}) is held


def pod(requests: dict[str, str], owner: str | None = None, **annotations: str) -> dict[str, Any]:
    owners = [{"kind": owner}] if owner else []
    container = {"resources": {"requests": requests}}
    return {
        "metadata": {"ownerReferences": owners, "annotations": annotations},
        "spec": {"containers": [{}, container]},
    }


def test_pods_with_functions_leave_and_before_a_reboot_all() -> None:
    attached, plain = pod({"openshift.io/x": "1"}), pod({"cpu": "1"})
    assert [must_leave(each, "openshift.io", everything=False) for each in (attached, plain)] == [True, False]
    assert [must_leave(each, "openshift.io", everything=True) for each in (attached, plain)] == [True, True]


def test_pods_of_the_node_itself_stay() -> None:
    for each in (pod({"openshift.io/x": "1"}, "DaemonSet"), pod({}, **{"kubernetes.io/config.mirror": "x"})):
        assert not must_leave(each, "openshift.io", everything=True)


@dataclass
class Node:
    """A node played by the steps alone."""

    wanted: int = 0
    actual: int = 0
    holds: int = 4
    asked: str = IDLE
    answered: str = IDLE
    sync: str = SUCCEEDED
    error: str = ""
    cordoned: bool = False
    pods: int = 0

    def situation(self, turn: bool) -> Situation:
        failure = "too many" if self.wanted > self.holds else None
        return replace(
            QUIET,
            differs=self.wanted != self.actual,
            failure=failure,
            asked=self.asked,
            answered=self.answered,
            sync=self.sync,
            error=self.error,
            cordoned=self.cordoned,
            turn=turn,
            pods=self.pods,
            elapsed=9.0,
        )

    def take(self, step: Step) -> None:
        if step.do is Do.TELL:
            self.sync, self.error = step.value, step.error
        elif step.do is Do.ASK:
            self.asked = step.value
        elif step.do is Do.ANSWER:
            self.answered = step.value
        elif step.do in (Do.CORDON, Do.UNCORDON):
            self.cordoned = step.do is Do.CORDON
        elif step.do is Do.EVICT:
            self.pods = max(0, self.pods - 1)
        elif step.do is Do.SET_UP:
            assert self.pods == 0
            self.actual = self.wanted


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("step"), st.integers(0, 4), st.just(0)),
        st.tuples(st.just("ask"), st.integers(0, 4), st.integers(0, 6)),
        st.tuples(st.just("pods"), st.integers(0, 4), st.integers(0, 3)),
    ),
    max_size=120,
)


@given(EVENTS, st.integers(1, 5))
def test_never_are_more_nodes_away_than_allowed_and_in_the_end_all_are_as_asked(
    events: list[tuple[str, int, int]], allowed: int
) -> None:
    nodes = [Node() for _ in range(5)]

    def away() -> int:
        return sum(node.answered != IDLE for node in nodes)

    def step(node: Node) -> Step:
        made = next_step(node.situation(away() < allowed))
        node.take(made)
        assert away() <= allowed
        assert sum(each.cordoned for each in nodes) <= allowed
        assert node.actual <= node.holds
        return made

    for event, index, value in events:
        node = nodes[index]
        if event == "ask":
            node.wanted = value
        elif event == "pods" and not node.cordoned:
            node.pods = value
        else:
            step(node)
    for _ in range(200):
        if all([step(node).do is Do.NOTHING for node in nodes]):  # noqa: C419  # each node takes a step
            break
    else:
        raise AssertionError(f"it does not come to rest: {nodes}")
    for node in nodes:
        assert (node.asked, node.answered, node.cordoned) == (IDLE, IDLE, False)
        if node.wanted > node.holds:
            assert (node.sync, node.error) == (FAILED, "too many")
        else:
            assert (node.actual, node.sync, node.error) == (node.wanted, SUCCEEDED, "")
