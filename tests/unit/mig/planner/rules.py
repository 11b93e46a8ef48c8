"""What must hold of every plan and of every way to it, from the fleets alone."""

from __future__ import annotations

from collections import Counter

from inferstack.mig import catalogue
from inferstack.mig.placement import find_placement
from inferstack.mig.planner import Demand, Diff, Fleet
from inferstack.mig.planner.diff import Move, Park, Reconfigure, Start
from tests.unit.mig.planner.fleets import fits


def check_fleet(before: Fleet, after: Fleet, wanted: list[Demand]) -> None:
    """Fail where a planned fleet is illegal, drops or moves what it may not, or serves too much."""
    assert [(g.name, g.node, g.model) for g in before.gpus] == [(g.name, g.node, g.model) for g in after.gpus]
    for gpu in after.gpus:
        seats = [(seat.start, seat.profile) for seat in gpu.instances]
        assert fits(gpu.model, seats)
        assert find_placement(catalogue.gpu(gpu.model), Counter(profile for _, profile in seats)) is not None
    was = {s.pod: (g, s) for g in before.gpus for s in g.instances if s.pod}
    now = {s.pod: (g, s) for g in after.gpus for s in g.instances if s.pod}
    assert was.keys() == now.keys()
    for pod, (gpu, seat) in was.items():
        there, then = now[pod]
        assert (there.model, then.profile, then.demand) == (gpu.model, seat.profile, seat.demand)
        if seat.pinned:
            assert (there.name, then) == (gpu.name, seat)
    counts = Counter(s.demand for g in after.gpus for s in g.instances if s.demand and not s.pod)
    by_name = {demand.name: demand for demand in wanted}
    assert counts.keys() <= by_name.keys()
    for demand in wanted:
        assert counts[demand.name] <= demand.count
        for gpu in after.gpus:
            new = [s.profile for s in gpu.instances if s.demand == demand.name and not s.pod]
            assert set(new) <= {demand.on(gpu.model)}
        if demand.max_per_node is not None:
            held, today = (
                Counter(g.node for g in fleet.gpus for s in g.instances if s.demand == demand.name)
                for fleet in (after, before)
            )
            assert all(count <= max(demand.max_per_node, today[node]) for node, count in held.items())


def carry_out(before: Fleet, after: Fleet, found: Diff) -> None:
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
            assert at.pop((step.from_gpu, step.from_placement)) == step.pod
            assert step.to_placement in seats[step.to_gpu]
            assert (step.to_gpu, step.to_placement) not in at
            at[step.to_gpu, step.to_placement] = step.pod
            touched.add(step.pod)
        elif isinstance(step, Park):
            assert at.pop((step.gpu, step.placement)) == step.pod
            parked.add(step.pod)
            touched.add(step.pod)
        else:
            assert isinstance(step, Start)
            assert step.placement in seats[step.gpu]
            assert (step.gpu, step.placement) not in at
            at[step.gpu, step.placement] = step.pod or f"new:{step.demand}"
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
