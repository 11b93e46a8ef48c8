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
    Action,
    Pool,
    Step,
    StepContext,
    limit,
    matches,
    next_step,
    parse_pools,
    pool_of,
)
from rehearsal.simulators.sriov.eviction import must_evict

QUIET = StepContext(
    differs=False,
    reboot=False,
    failure=None,
    drain_enabled=True,
    requested_state=IDLE,
    current_state=IDLE,
    sync_status=SUCCEEDED,
    last_sync_error="",
    cordoned=False,
    disruption_allowed=True,
    pods=0,
    elapsed=None,
    seconds=1.0,
)
WORK = replace(QUIET, differs=True, sync_status=IN_PROGRESS)
AWAY = replace(WORK, requested_state=DRAIN, current_state=DRAINING, cordoned=True)
DONE = replace(QUIET, requested_state=DRAIN, current_state=DRAINED, sync_status=IN_PROGRESS, cordoned=True)


@pytest.mark.parametrize(
    ("now", "step"),
    [
        (QUIET, Step(Action.NOTHING)),
        (replace(QUIET, differs=True), Step(Action.SET_SYNC_STATUS, IN_PROGRESS)),
        (
            replace(QUIET, differs=True, sync_status=FAILED, last_sync_error="e"),
            Step(Action.SET_SYNC_STATUS, IN_PROGRESS, "e"),
        ),
        (WORK, Step(Action.REQUEST_STATE, DRAIN)),
        (replace(WORK, reboot=True), Step(Action.REQUEST_STATE, REBOOT)),
        (replace(WORK, requested_state=DRAIN), Step(Action.SET_CURRENT_STATE, DRAINING)),
        (replace(WORK, requested_state=DRAIN, disruption_allowed=False), Step(Action.WAIT, seconds=1.0)),
        (replace(WORK, drain_enabled=False, elapsed=0.25), Step(Action.WAIT, seconds=0.75)),
        (replace(WORK, drain_enabled=False, elapsed=1.0), Step(Action.CONFIGURE)),
        (replace(AWAY, cordoned=False), Step(Action.CORDON)),
        (replace(AWAY, pods=2), Step(Action.EVICT, seconds=0.2)),
        (AWAY, Step(Action.SET_CURRENT_STATE, DRAINED)),
        (replace(AWAY, current_state=DRAINED), Step(Action.WAIT, seconds=1.0)),
        (replace(AWAY, current_state=DRAINED, elapsed=2.0), Step(Action.CONFIGURE)),
        (DONE, Step(Action.REQUEST_STATE, IDLE)),
        (replace(DONE, requested_state=IDLE), Step(Action.SET_SYNC_STATUS, SUCCEEDED)),
        (replace(DONE, requested_state=IDLE, sync_status=SUCCEEDED), Step(Action.UNCORDON)),
        (
            replace(DONE, requested_state=IDLE, sync_status=SUCCEEDED, cordoned=False),
            Step(Action.SET_CURRENT_STATE, IDLE),
        ),
        # What cannot be done takes no node away, and one that is away comes back.
        (replace(QUIET, differs=True, failure="e"), Step(Action.SET_SYNC_STATUS, FAILED, "e")),
        (replace(QUIET, differs=True, failure="e", sync_status=FAILED, last_sync_error="e"), Step(Action.NOTHING)),
        (replace(AWAY, failure="e"), Step(Action.REQUEST_STATE, IDLE)),
        # Taken back while the node waits for its disruption_allowed.
        (replace(QUIET, requested_state=DRAIN, sync_status=IN_PROGRESS), Step(Action.REQUEST_STATE, IDLE)),
        (replace(QUIET, sync_status=FAILED, last_sync_error="e"), Step(Action.SET_SYNC_STATUS, SUCCEEDED)),
    ],
)
def test_next_step_follows_context(now: StepContext, step: Step) -> None:
    assert next_step(now) == step


@pytest.mark.parametrize(
    ("share", "nodes", "away"), [(None, 9, None), (2, 9, 2), ("25%", 9, 2), ("1%", 9, 0), ("100%", 3, 3), ("x", 9, 0)]
)
def test_limit_of_unavailable_nodes(share: int | str | None, nodes: int, away: int | None) -> None:
    assert limit(Pool("p", {}, share, None), nodes) == away


def test_pool_of_node_is_selected_by_labels() -> None:
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
def test_label_expressions_match(operator: str, values: list[str] | None, held: bool) -> None:
    selector = {"matchExpressions": [{"key": "k", "operator": operator, "values": values}]}
    assert matches(selector, {"k": "x"}) is held


def pod(requests: dict[str, str], owner: str | None = None, **annotations: str) -> dict[str, Any]:
    owners = [{"kind": owner}] if owner else []
    container = {"resources": {"requests": requests}}
    return {
        "metadata": {"ownerReferences": owners, "annotations": annotations},
        "spec": {"containers": [{}, container]},
    }


def test_drain_evicts_pods_with_functions_and_reboot_evicts_all() -> None:
    attached, plain = pod({"openshift.io/x": "1"}), pod({"cpu": "1"})
    assert [must_evict(item, "openshift.io", all_pods=False) for item in (attached, plain)] == [True, False]
    assert [must_evict(item, "openshift.io", all_pods=True) for item in (attached, plain)] == [True, True]


def test_daemon_set_and_mirror_pods_are_not_evicted() -> None:
    for item in (pod({"openshift.io/x": "1"}, "DaemonSet"), pod({}, **{"kubernetes.io/config.mirror": "x"})):
        assert not must_evict(item, "openshift.io", all_pods=True)


@dataclass
class Node:
    """A node played by the steps alone."""

    wanted: int = 0
    actual: int = 0
    holds: int = 4
    requested_state: str = IDLE
    current_state: str = IDLE
    sync_status: str = SUCCEEDED
    error: str = ""
    cordoned: bool = False
    pods: int = 0

    def step_context(self, disruption_allowed: bool) -> StepContext:
        failure = "too many" if self.wanted > self.holds else None
        return replace(
            QUIET,
            differs=self.wanted != self.actual,
            failure=failure,
            requested_state=self.requested_state,
            current_state=self.current_state,
            sync_status=self.sync_status,
            last_sync_error=self.error,
            cordoned=self.cordoned,
            disruption_allowed=disruption_allowed,
            pods=self.pods,
            elapsed=9.0,
        )

    def take(self, step: Step) -> None:
        if step.action is Action.SET_SYNC_STATUS:
            self.sync_status, self.error = step.value, step.error
        elif step.action is Action.REQUEST_STATE:
            self.requested_state = step.value
        elif step.action is Action.SET_CURRENT_STATE:
            self.current_state = step.value
        elif step.action in (Action.CORDON, Action.UNCORDON):
            self.cordoned = step.action is Action.CORDON
        elif step.action is Action.EVICT:
            self.pods = max(0, self.pods - 1)
        elif step.action is Action.CONFIGURE:
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
def test_drain_respects_limit_and_all_nodes_converge(events: list[tuple[str, int, int]], allowed: int) -> None:
    nodes = [Node() for _ in range(5)]

    def away() -> int:
        return sum(node.current_state != IDLE for node in nodes)

    def step(node: Node) -> Step:
        result = next_step(node.step_context(away() < allowed))
        node.take(result)
        assert away() <= allowed
        assert sum(item.cordoned for item in nodes) <= allowed
        assert node.actual <= node.holds
        return result

    for event, index, value in events:
        node = nodes[index]
        if event == "ask":
            node.wanted = value
        elif event == "pods" and not node.cordoned:
            node.pods = value
        else:
            step(node)
    for _ in range(200):
        if all([step(node).action is Action.NOTHING for node in nodes]):  # noqa: C419  # item node takes a step
            break
    else:
        raise AssertionError(f"it does not come to rest: {nodes}")
    for node in nodes:
        assert (node.requested_state, node.current_state, node.cordoned) == (IDLE, IDLE, False)
        if node.wanted > node.holds:
            assert (node.sync_status, node.error) == (FAILED, "too many")
        else:
            assert (node.actual, node.sync_status, node.error) == (node.wanted, SUCCEEDED, "")
