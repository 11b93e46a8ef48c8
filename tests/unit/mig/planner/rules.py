"""What must hold of every plan and of every way to it, from the fleets alone."""

from __future__ import annotations

from collections import Counter

from inferstack.mig import catalogue
from inferstack.mig.placement import find_placement
from inferstack.mig.planner import Demand, Diff, Fleet
from inferstack.mig.planner.diff import Move, Park, Reconfigure, Start
from tests.unit.mig.planner.fleets import fits


def check_fleet(before: Fleet, after: Fleet, demands: list[Demand]) -> None:
    """Fail where a planned fleet is illegal, drops or moves what it may not, or serves too much."""
    assert [(g.name, g.node, g.model) for g in before.gpus] == [(g.name, g.node, g.model) for g in after.gpus]
    for gpu in after.gpus:
        placements = [(instance.start, instance.profile) for instance in gpu.instances]
        assert fits(gpu.model, placements)
        assert find_placement(catalogue.gpu(gpu.model), Counter(profile for _, profile in placements)) is not None
    was = {s.pod: (g, s) for g in before.gpus for s in g.instances if s.pod}
    now = {s.pod: (g, s) for g in after.gpus for s in g.instances if s.pod}
    assert was.keys() == now.keys()
    for pod, (gpu, instance) in was.items():
        there, then = now[pod]
        assert (there.model, then.profile, then.demand) == (gpu.model, instance.profile, instance.demand)
        if instance.pinned:
            assert (there.name, then) == (gpu.name, instance)
    counts = Counter(s.demand for g in after.gpus for s in g.instances if s.demand and not s.pod)
    by_name = {demand.name: demand for demand in demands}
    assert counts.keys() <= by_name.keys()
    for demand in demands:
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


def carry_out(before: Fleet, after: Fleet, steps: Diff) -> None:
    """Do each step on a copy of the fleet, and fail where one cannot be done or stops a pod unsaid."""
    placements = {gpu.name: {(s.start, s.profile) for s in gpu.instances} for gpu in before.gpus}
    models = {gpu.name: gpu.model for gpu in before.gpus}
    nodes = {gpu.name: gpu.node for gpu in before.gpus}
    at = {(gpu.name, (s.start, s.profile)): s.pod for gpu in before.gpus for s in gpu.instances if s.pod}
    parked: set[str] = set()
    touched: set[str] = set()
    for step in steps.steps:
        if isinstance(step, Reconfigure):
            now = placements[step.gpu]
            if before.scope == "instance":
                assert not {(step.gpu, placement) for placement in step.remove} & at.keys()
            else:
                stopped = {
                    name
                    for name in placements
                    if step.gpu == name or (before.scope == "node" and nodes[name] == step.node)
                }
                assert not {name for name, _ in at} & stopped
            assert set(step.remove) <= now
            assert not set(step.create) & now
            placements[step.gpu] = (now - set(step.remove)) | set(step.create)
            assert fits(models[step.gpu], sorted(placements[step.gpu]))
        elif isinstance(step, Move):
            assert at.pop((step.from_gpu, step.from_placement)) == step.pod
            assert step.to_placement in placements[step.to_gpu]
            assert (step.to_gpu, step.to_placement) not in at
            at[step.to_gpu, step.to_placement] = step.pod
            touched.add(step.pod)
        elif isinstance(step, Park):
            assert at.pop((step.gpu, step.placement)) == step.pod
            parked.add(step.pod)
            touched.add(step.pod)
        else:
            assert isinstance(step, Start)
            assert step.placement in placements[step.gpu]
            assert (step.gpu, step.placement) not in at
            at[step.gpu, step.placement] = step.pod or f"new:{step.demand}"
            parked -= {step.pod}
    assert not parked
    assert placements == {gpu.name: {(s.start, s.profile) for s in gpu.instances} for gpu in after.gpus}
    assert at == {
        (gpu.name, (s.start, s.profile)): s.pod or f"new:{s.demand}"
        for gpu in after.gpus
        for s in gpu.instances
        if not s.idle
    }
    pods = {instance.pod for gpu in before.gpus for instance in gpu.instances if instance.pod}
    assert set(steps.uninterrupted) == pods - touched
