"""The planner against its brute force, and what holds of every plan."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inferstack.mig.errors import LayoutError
from inferstack.mig.planner import Budget, Demand, Fleet, FleetGpu, Instance, Plan, Scope, plan
from inferstack.mig.planner.objective import evaluate
from tests.unit.mig.planner.fleets import A100, H100, brute_force, demands, fleets
from tests.unit.mig.planner.rules import check_fleet

NO_SEARCH = 0


def _nodes(count: int, gpus: int = 8, model: str = H100) -> Fleet:
    return Fleet(tuple(FleetGpu(f"n{n}-{g}", f"n{n}", model) for n in range(count) for g in range(gpus)))


def _check(fleet: Fleet, demands: list[Demand], result: Plan) -> None:
    """Every plan, exact or not, is legal and drops nothing, and says of itself what is true."""
    check_fleet(fleet, result.fleet, demands)
    assert result.objective == evaluate(fleet, result.fleet, demands)
    for most, served in zip(result.bounds.served, result.objective.served, strict=True):
        assert served <= most
    assert min(result.gap[1:]) >= 0


@settings(max_examples=70, deadline=None)
@given(fleets(), demands())
def test_plan_equals_the_brute_force(fleet: Fleet, demands: list[Demand]) -> None:
    result = plan(fleet, demands)
    _check(fleet, demands, result)
    assert result.optimal
    assert result.objective.key == brute_force(fleet, demands)


@settings(max_examples=60, deadline=None)
@given(fleets(), demands())
def test_without_a_search_a_plan_is_legal_and_its_bounds_hold(fleet: Fleet, demands: list[Demand]) -> None:
    result, best = plan(fleet, demands, Budget(NO_SEARCH)), plan(fleet, demands)
    _check(fleet, demands, result)
    assert result.objective.moved == 0
    assert result.objective.key >= best.objective.key
    for most, without_search, served in zip(
        result.bounds.served, result.objective.served, best.objective.served, strict=True
    ):
        assert served <= most
        if without_search != served:
            break
    else:  # the other bounds hold among the plans that serve as much
        assert result.bounds.fragmentation <= best.objective.fragmentation
        assert result.bounds.reconfigured <= best.objective.reconfigured
        assert result.bounds.moved <= best.objective.moved


@settings(max_examples=40, deadline=None)
@given(fleets(), demands(), st.sampled_from([A100, H100]))
def test_larger_fleet_serves_no_less(fleet: Fleet, demands: list[Demand], model: str) -> None:
    larger = dataclasses.replace(fleet, gpus=(*fleet.gpus, FleetGpu("gpu-new", "node-new", model)))
    assert plan(larger, demands).objective.served >= plan(fleet, demands).objective.served


@settings(max_examples=40, deadline=None)
@given(fleets(), demands(), st.data())
def test_larger_demand_is_served_no_less(fleet: Fleet, demands: list[Demand], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(demands) - 1))
    more = [dataclasses.replace(d, count=d.count + (index == at)) for index, d in enumerate(demands)]
    assert plan(fleet, more).objective.served >= plan(fleet, demands).objective.served


@settings(max_examples=30, deadline=None)
@given(fleets(), demands())
def test_order_of_the_demands_does_not_matter(fleet: Fleet, demands: list[Demand]) -> None:
    assert plan(fleet, demands) == plan(fleet, demands[::-1])


def test_demands_that_differ_in_name_only_are_planned_as_one() -> None:
    alone = plan(_nodes(2), [Demand("all", 100, 0, "1g.10gb")])
    split = plan(_nodes(2), [Demand(f"one-{index:03}", 1, 0, "1g.10gb") for index in range(100)])
    assert alone.objective == split.objective
    assert sorted(split.served.values()) == [1] * 100


def test_higher_class_is_served_before_more_of_a_lower_one() -> None:
    result = plan(_nodes(1, 1), [Demand("many", 7, 0, "1g.10gb"), Demand("one", 1, 1, "7g.80gb")])
    assert (result.priorities, result.objective.served) == ((1, 0), (1, 0))
    assert result.optimal


def test_pod_moves_where_that_alone_serves_a_demand() -> None:
    small = [Instance(0, "1g.10gb", "pod-a"), Instance(0, "1g.10gb", "pod-b")]
    fleet = Fleet(tuple(FleetGpu(f"gpu-{i}", "n", H100, (instance,)) for i, instance in enumerate(small)))
    result = plan(fleet, [Demand("big", 1, 0, "7g.80gb")])
    assert (result.objective.served, result.objective.moved, result.optimal) == ((1,), 2, True)
    pinned = dataclasses.replace(
        fleet,
        gpus=tuple(
            dataclasses.replace(g, instances=(dataclasses.replace(g.instances[0], pinned=True),)) for g in fleet.gpus
        ),
    )
    assert plan(pinned, [Demand("big", 1, 0, "7g.80gb")]).objective.served == (0,)


@pytest.mark.parametrize("scope", ["gpu", "node", "instance"])
def test_pod_that_breaks_a_gpu_up_moves_where_it_breaks_up_least(scope: Scope) -> None:
    gpu = FleetGpu("gpu", "n", H100, (Instance(0, "1g.10gb", "pod"),))
    result = plan(Fleet((gpu,), scope), [])
    used = [instance for instance in result.fleet.gpus[0].instances if instance.pod]
    assert used == [Instance(6, "1g.10gb", "pod")]
    assert (result.objective.moved, result.optimal) == (1, True)
    pinned = dataclasses.replace(gpu, instances=(dataclasses.replace(gpu.instances[0], pinned=True),))
    assert plan(Fleet((pinned,), scope), []).fleet == Fleet((pinned,), scope)


def test_idle_instance_is_used_before_a_gpu_is_changed() -> None:
    idle = FleetGpu("gpu-1", "n", H100, (Instance(0, "7g.80gb"),))
    result = plan(Fleet((FleetGpu("gpu-0", "n", H100), idle)), [Demand("big", 1, 0, "7g.80gb")])
    assert result.objective.reconfigured == 0
    assert result.fleet.gpus[1].instances == (Instance(0, "7g.80gb", demand="big"),)


def test_need_gets_the_smallest_profile_that_suffices() -> None:
    demand = Demand("need", 1, 0, memory_mib=15000, compute_slices=1)
    assert (demand.on(A100), demand.on(H100)) == ("3g.20gb", "1g.20gb")
    assert Demand("need", 1, 0, memory_mib=10**6).on(H100) == ""


def test_no_node_gets_more_than_the_spread_limit() -> None:
    result = plan(_nodes(3), [Demand("spread", 20, 0, "1g.10gb", max_per_node=2)], Budget(NO_SEARCH))
    held = Counter(gpu.node for gpu in result.fleet.gpus for instance in gpu.instances if instance.demand)
    assert held == {"n0": 2, "n1": 2, "n2": 2}
    assert result.gap.served == (0,)


def test_callers_clock_ends_the_search_and_the_plan_says_what_is_proven() -> None:
    asked = itertools.count()
    demands = [Demand("a", 3, 0, "1g.10gb"), Demand("b", 2, 0, "3g.40gb")]
    result = plan(_nodes(1, 2), demands, Budget(10**6, lambda: next(asked) > 10))
    assert next(asked) == 12
    assert result.gap.served == (0,)
    assert not result.optimal
    assert plan(_nodes(1, 2), demands).optimal


def test_ten_thousand_gpus_are_planned_by_their_kinds() -> None:
    demands = [Demand("two", 9000, 1, "2g.20gb"), Demand("one", 21000, 0, "1g.10gb")]
    result = plan(_nodes(1250), demands)
    assert result.gap.served == (0, 0)
    assert result.objective.served == (9000, 21000)


def test_more_demand_than_a_large_fleet_can_hold_is_served_within_a_hundredth_of_the_bound() -> None:
    demands = [Demand("two", 200, 1, "2g.20gb"), Demand("one", 500, 0, "1g.10gb"), Demand("three", 200, 0, "3g.40gb")]
    result = plan(_nodes(25), demands, Budget(NO_SEARCH))
    assert result.gap.served[0] == 0
    assert 0 <= result.gap.served[1] <= result.bounds.served[1] / 100


def test_invalid_input_raises_error_naming_it() -> None:
    for construct, reason in (
        (lambda: Demand("a", -1, 0, "1g.10gb"), "below 0"),
        (lambda: Demand("a", 1), "either a profile or"),
        (lambda: Demand("a", 1, 0, "1g.10gb", max_per_node=0), "^a: a limit of 0 per node"),
        (lambda: Demand("", 1, 0, "1g.10gb"), "no name"),
        (lambda: Fleet((FleetGpu("g", "n", H100), FleetGpu("g", "n", H100))), "the GPU g is in the fleet twice"),
        (lambda: Fleet((FleetGpu("g", "n", H100, (Instance(0, "1g.10gb", pinned=True),)),)), "pinned"),
        (lambda: Fleet((FleetGpu("g", "n", H100, (Instance(1, "2g.20gb"),)),)), "cannot hold 2g.20gb@1"),
        (lambda: plan(_nodes(1), [Demand("a", 1, 0, "1g.10gb")] * 2), "^demands: duplicate name a$"),
        (lambda: plan(Fleet((FleetGpu("g", "n", H100, (Instance(0, "1g.10gb", demand="a"),)),)), []), "has no pod"),
    ):
        with pytest.raises(LayoutError, match=reason):
            construct()
