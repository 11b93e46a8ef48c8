"""The steps from a fleet to its plan, carried out one by one."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings

from inferstack.mig.errors import LayoutError
from inferstack.mig.plan import Demand, Diff, Fleet, FleetGpu, Instance, diff, plan
from inferstack.mig.plan.diff import Move, Park, Reconfigure, Start
from tests.unit.mig.plan.fleets import H100, demands, fits, fleets


def _carry_out(before: Fleet, after: Fleet, found: Diff) -> None:
    """Do each step on a copy of the fleet, and fail where one cannot be done or stops a pod unsaid."""
    seats = {gpu.name: {(s.start, s.profile) for s in gpu.instances} for gpu in before.gpus}
    models = {gpu.name: gpu.model for gpu in before.gpus}
    nodes = {gpu.name: gpu.node for gpu in before.gpus}
    at = {(gpu.name, (s.start, s.profile)): s.pod for gpu in before.gpus for s in gpu.instances if s.pod}
    parked: set[str] = set()
    touched: set[str] = set()
    for step in found.steps:
        if isinstance(step, Reconfigure):
            now = seats[step.gpu]
            if before.scope == "instance":
                assert not {(step.gpu, seat) for seat in step.remove} & at.keys()
            else:
                stopped = {
                    name for name in seats if step.gpu == name or (before.scope == "node" and nodes[name] == step.node)
                }
                assert not {name for name, _ in at} & stopped
            assert set(step.remove) <= now
            assert not set(step.create) & now
            seats[step.gpu] = (now - set(step.remove)) | set(step.create)
            assert fits(models[step.gpu], sorted(seats[step.gpu]))
        elif isinstance(step, Move):
            assert at.pop((step.from_gpu, step.from_seat)) == step.pod
            assert step.to_seat in seats[step.to_gpu]
            assert (step.to_gpu, step.to_seat) not in at
            at[step.to_gpu, step.to_seat] = step.pod
            touched.add(step.pod)
        elif isinstance(step, Park):
            assert at.pop((step.gpu, step.seat)) == step.pod
            parked.add(step.pod)
            touched.add(step.pod)
        else:
            assert isinstance(step, Start)
            assert step.seat in seats[step.gpu]
            assert (step.gpu, step.seat) not in at
            at[step.gpu, step.seat] = step.pod or f"new:{step.demand}"
            parked -= {step.pod}
    assert not parked
    assert seats == {gpu.name: {(s.start, s.profile) for s in gpu.instances} for gpu in after.gpus}
    assert at == {
        (gpu.name, (s.start, s.profile)): s.pod or f"new:{s.demand}"
        for gpu in after.gpus
        for s in gpu.instances
        if not s.idle
    }
    pods = {seat.pod for gpu in before.gpus for seat in gpu.instances if seat.pod}
    assert set(found.uninterrupted) == pods - touched


@settings(max_examples=60, deadline=None)
@given(fleets(most_gpus=3, most_movable=4), demands())
def test_the_steps_lead_to_the_plan_and_touch_only_what_it_counts(fleet: Fleet, wanted: list[Demand]) -> None:
    found = plan(fleet, wanted)
    steps = diff(fleet, found.fleet)
    _carry_out(fleet, found.fleet, steps)
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
    _carry_out(before, after, found)
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
