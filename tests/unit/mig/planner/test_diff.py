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
def test_the_steps_lead_to_the_plan_and_touch_only_what_it_counts(fleet: Fleet, wanted: list[Demand]) -> None:
    found = plan(fleet, wanted)
    steps = diff(fleet, found.fleet)
    carry_out(fleet, found.fleet, steps)
    assert len(steps.reconfigured) == found.objective.reconfigured
    pods = [seat.pod for gpu in fleet.gpus for seat in gpu.instances if seat.pod]
    assert len(pods) - len(steps.uninterrupted) == found.objective.moved


def _gpu(name: str, *seats: Instance) -> FleetGpu:
    return FleetGpu(name, f"node-of-{name}", H100, seats)


def test_a_gpu_is_emptied_before_it_is_changed() -> None:
    before = Fleet((_gpu("a", Instance(0, "1g.10gb", "pod")), _gpu("b", Instance(0, "1g.10gb"))))
    after = Fleet((_gpu("a", Instance(0, "7g.80gb", demand="big")), _gpu("b", Instance(0, "1g.10gb", "pod"))))
    seat = (0, "1g.10gb")
    assert diff(before, after).steps == (
        Move("pod", "a", seat, "b", seat),
        Reconfigure("a", "node-of-a", (seat,), ((0, "7g.80gb"),)),
        Start("", "big", "a", (0, "7g.80gb")),
    )
    assert diff(before, after).nodes == ("node-of-a",)


def test_pods_that_swap_need_one_of_them_parked() -> None:
    one, two = Instance(0, "3g.40gb", "one"), Instance(0, "3g.40gb", "two")
    before, after = Fleet((_gpu("a", one), _gpu("b", two))), Fleet((_gpu("a", two), _gpu("b", one)))
    found = diff(before, after)
    carry_out(before, after, found)
    assert found.parked == ("one",)
    assert found.uninterrupted == ()


def test_nothing_to_do_is_no_step() -> None:
    fleet = Fleet((_gpu("a", Instance(0, "3g.40gb", "one")),))
    assert diff(fleet, fleet) == Diff((), ("one",))


def test_a_plan_that_loses_a_pod_or_stops_a_pinned_one_is_refused() -> None:
    pinned = Fleet((_gpu("a", Instance(0, "3g.40gb", "one", pinned=True)), _gpu("b")))
    moved = Fleet((_gpu("a"), _gpu("b", Instance(0, "3g.40gb", "one"))))
    beside = Fleet((_gpu("a", *pinned.gpus[0].instances, Instance(4, "3g.40gb")), _gpu("b")))
    for after, told in ((moved, "pinned"), (beside, "pinned"), (Fleet((_gpu("a"), _gpu("b"))), "one of the two")):
        with pytest.raises(LayoutError, match=told):
            diff(pinned, after)
    with pytest.raises(LayoutError, match="same GPUs"):
        diff(pinned, Fleet(pinned.gpus[:1]))
    alongside = diff(dataclasses.replace(pinned, scope="instance"), beside)
    assert alongside.uninterrupted == ("one",)


def test_a_pod_goes_where_it_can_start_first_rather_than_back_to_where_it_is_stopped() -> None:
    one = Instance(0, "1g.10gb", "pod")
    before = Fleet((FleetGpu("a-0", "a", H100, (one,)), FleetGpu("b-0", "b", H100)), "node")
    found = plan(before, [Demand("many", 13, 0, "1g.10gb")])
    assert (found.objective.served, found.objective.moved, found.optimal) == ((13,), 1, True)
    steps = diff(before, found.fleet)
    assert steps.parked == ()
    assert [type(step) for step in steps.steps[:1]] == [Reconfigure]
    assert [step.to_gpu for step in steps.steps if isinstance(step, Move)] == ["b-0"]
    carry_out(before, found.fleet, steps)
