"""Planning groups anew makes plans better, never worse, and keeps every rule."""

from __future__ import annotations

from hypothesis import given, settings

from inferstack.mig.plan import Budget, Demand, Fleet, FleetGpu, Instance, diff, plan
from inferstack.mig.plan.greedy import solve
from inferstack.mig.plan.improve import improve
from inferstack.mig.plan.judge import evaluate
from tests.unit.mig.plan.fleets import H100, demands, fleets
from tests.unit.mig.plan.rules import carry_out, check_fleet


@settings(max_examples=80, deadline=None)
@given(fleets(most_gpus=4, most_movable=4), demands(3, 3))
def test_it_is_legal_and_between_the_greedy_plan_and_the_best(fleet: Fleet, wanted: list[Demand]) -> None:
    first = solve(fleet, wanted)
    better = improve(fleet, first, wanted, Budget(100_000))
    check_fleet(fleet, better, wanted)
    best = plan(fleet, wanted, Budget(10_000_000))
    assert best.optimal
    found = evaluate(fleet, better, wanted)
    assert best.objective.key <= found.key <= evaluate(fleet, first, wanted).key
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
    fleet, wanted = _scattered(20), [Demand("big", 20, 0, "7g.80gb")]
    found = plan(fleet, wanted, Budget(3_000_000))
    assert found.objective.served == (20,)
    assert found.objective.moved >= 20
    carry_out(fleet, found.fleet, diff(fleet, found.fleet))
    assert plan(fleet, wanted, Budget(0)).objective.served == (0,)
    assert plan(_scattered(20, pinned=True), wanted).objective.served == (0,)


def test_the_same_budget_gives_the_same_plan() -> None:
    fleet, wanted = _scattered(10), [Demand("big", 9, 0, "7g.80gb"), Demand("mid", 7, 1, "3g.40gb")]
    assert plan(fleet, wanted, Budget(50_000)) == plan(fleet, wanted, Budget(50_000))
