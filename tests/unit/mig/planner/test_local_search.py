"""Planning groups anew makes plans better, never worse, and keeps every rule."""

from __future__ import annotations

from hypothesis import given, settings

from inferstack.mig.planner import Budget, Demand, Fleet, FleetGpu, Instance, diff, drain, plan
from inferstack.mig.planner.greedy import solve
from inferstack.mig.planner.local_search import improve
from inferstack.mig.planner.objective import evaluate
from tests.unit.mig.planner.fleets import H100, demands, fleets
from tests.unit.mig.planner.rules import carry_out, check_fleet


@settings(max_examples=80, deadline=None)
@given(fleets(most_gpus=4, most_movable=4), demands(3, 3))
def test_local_search_is_legal_and_between_greedy_and_optimum(fleet: Fleet, demands: list[Demand]) -> None:
    first = solve(fleet, demands)
    better = improve(fleet, first, demands, Budget(100_000))
    check_fleet(fleet, better, demands)
    best = plan(fleet, demands, Budget(10_000_000))
    assert best.optimal
    objective = evaluate(fleet, better, demands)
    assert best.objective.key <= objective.key <= evaluate(fleet, first, demands).key
    carry_out(fleet, better, diff(fleet, better))


def _scattered(pairs: int, *, pinned: bool = False) -> Fleet:
    """Two GPUs a node, each with one small pod in the way of a large instance."""
    return Fleet(
        tuple(
            FleetGpu(f"n{n}-{g}", f"n{n}", H100, (Instance(0, "1g.10gb", f"pod-{n}-{g}", pinned=pinned),))
            for n in range(pairs)
            for g in range(2)
        )
    )


def test_pods_move_where_that_serves_a_demand_on_a_fleet_beyond_the_exact_search() -> None:
    fleet, demands = _scattered(20), [Demand("big", 20, 0, "7g.80gb")]
    result = plan(fleet, demands, Budget(3_000_000))
    assert result.objective.served == (20,)
    assert result.objective.moved >= 20
    carry_out(fleet, result.fleet, diff(fleet, result.fleet))
    assert plan(fleet, demands, Budget(0)).objective.served == (0,)
    assert plan(_scattered(20, pinned=True), demands).objective.served == (0,)


def test_same_budget_gives_the_same_plan() -> None:
    fleet, demands = _scattered(10), [Demand("big", 9, 0, "7g.80gb"), Demand("mid", 7, 1, "3g.40gb")]
    assert plan(fleet, demands, Budget(50_000)) == plan(fleet, demands, Budget(50_000))


@settings(max_examples=60, deadline=None)
@given(fleets(most_gpus=4, most_movable=5), demands(3, 3))
def test_draining_keeps_pods_and_constraints(fleet: Fleet, demands: list[Demand]) -> None:
    first = solve(fleet, demands)
    better = drain.solve(fleet, first, demands, Budget(1_000_000))
    check_fleet(fleet, better, demands)
    assert evaluate(fleet, better, demands).key <= evaluate(fleet, first, demands).key
    carry_out(fleet, better, diff(fleet, better))


def test_whole_nodes_are_cleared_where_one_pod_holds_each_and_pinned_ones_are_left() -> None:
    gpus = tuple(
        FleetGpu(f"n{n}/{g}", f"n{n}", H100, (Instance(0, "1g.10gb", f"p{n}", pinned=n > 3),) if g == 0 else ())
        for n in range(30)
        for g in range(8)
    )
    fleet, demands = Fleet(gpus, "node"), [Demand("big", 40, 0, "7g.80gb")]
    assert evaluate(fleet, solve(fleet, demands), demands).served == (0,)
    result = plan(fleet, demands)
    check_fleet(fleet, result.fleet, demands)
    # Of the 32 GPUs of the four nodes one has to take their pods.
    assert (result.objective.served, result.gap.served, result.objective.moved) == ((31,), (0,), 4)
    carry_out(fleet, result.fleet, diff(fleet, result.fleet))
