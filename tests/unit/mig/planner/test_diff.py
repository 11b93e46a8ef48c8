"""The steps from a fleet to its plan, carried out one by one."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings

from inferstack.mig.errors import LayoutError
from inferstack.mig.planner import Demand, Diff, Fleet, FleetGpu, Instance, diff, plan
from inferstack.mig.planner.diff import Move, Reconfigure, Start
from tests.unit.mig.planner.fleets import H100, demands, fleets
from tests.unit.mig.planner.rules import carry_out


@settings(max_examples=60, deadline=None)
@given(fleets(most_gpus=3, most_movable=4), demands())
def test_steps_lead_to_plan_and_touch_only_counted_pods(fleet: Fleet, demands: list[Demand]) -> None:
    result = plan(fleet, demands)
    steps = diff(fleet, result.fleet)
    carry_out(fleet, result.fleet, steps)
    assert len(steps.reconfigured) == result.objective.reconfigured
    pods = [instance.pod for gpu in fleet.gpus for instance in gpu.instances if instance.pod]
    assert len(pods) - len(steps.uninterrupted) == result.objective.moved


def _gpu(name: str, *instances: Instance) -> FleetGpu:
    return FleetGpu(name, f"node-of-{name}", H100, instances)


def test_gpu_is_drained_before_reconfiguration() -> None:
    before = Fleet((_gpu("a", Instance(0, "1g.10gb", "pod")), _gpu("b", Instance(0, "1g.10gb"))))
    after = Fleet((_gpu("a", Instance(0, "7g.80gb", demand="big")), _gpu("b", Instance(0, "1g.10gb", "pod"))))
    placement = (0, "1g.10gb")
    assert diff(before, after).steps == (
        Move("pod", "a", placement, "b", placement),
        Reconfigure("a", "node-of-a", (placement,), ((0, "7g.80gb"),)),
        Start("", "big", "a", (0, "7g.80gb")),
    )
    assert diff(before, after).nodes == ("node-of-a",)


def test_swapping_pods_parks_one() -> None:
    first, second = Instance(0, "3g.40gb", "one"), Instance(0, "3g.40gb", "two")
    before, after = Fleet((_gpu("a", first), _gpu("b", second))), Fleet((_gpu("a", second), _gpu("b", first)))
    steps = diff(before, after)
    carry_out(before, after, steps)
    assert steps.parked == ("one",)
    assert steps.uninterrupted == ()


def test_unchanged_plan_has_no_steps() -> None:
    fleet = Fleet((_gpu("a", Instance(0, "3g.40gb", "one")),))
    assert diff(fleet, fleet) == Diff((), ("one",))


def test_plan_that_loses_or_stops_pinned_pod_is_refused() -> None:
    pinned = Fleet((_gpu("a", Instance(0, "3g.40gb", "one", pinned=True)), _gpu("b")))
    moved = Fleet((_gpu("a"), _gpu("b", Instance(0, "3g.40gb", "one"))))
    beside = Fleet((_gpu("a", *pinned.gpus[0].instances, Instance(4, "3g.40gb")), _gpu("b")))
    for after, reason in ((moved, "pinned"), (beside, "pinned"), (Fleet((_gpu("a"), _gpu("b"))), "one of the two")):
        with pytest.raises(LayoutError, match=reason):
            diff(pinned, after)
    with pytest.raises(LayoutError, match="same GPUs"):
        diff(pinned, Fleet(pinned.gpus[:1]))
    alongside = diff(dataclasses.replace(pinned, scope="instance"), beside)
    assert alongside.uninterrupted == ("one",)


def test_pod_goes_where_it_can_start_first_rather_than_back_to_where_it_is_stopped() -> None:
    instance = Instance(0, "1g.10gb", "pod")
    before = Fleet((FleetGpu("a-0", "a", H100, (instance,)), FleetGpu("b-0", "b", H100)), "node")
    result = plan(before, [Demand("many", 13, 0, "1g.10gb")])
    assert (result.objective.served, result.objective.moved, result.optimal) == ((13,), 1, True)
    steps = diff(before, result.fleet)
    assert steps.parked == ()
    assert [type(step) for step in steps.steps[:1]] == [Reconfigure]
    assert [step.to_gpu for step in steps.steps if isinstance(step, Move)] == ["b-0"]
    carry_out(before, result.fleet, steps)
