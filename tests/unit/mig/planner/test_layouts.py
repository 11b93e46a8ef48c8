"""What a plan writes: layouts and labels, read back with mig-parted's own rules."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections import Counter

import pytest
from hypothesis import given, settings

from inferstack.mig import catalogue
from inferstack.mig.errors import LayoutError
from inferstack.mig.layout import apply_layout, mig_disabled
from inferstack.mig.mig_parted import dump_config, make_mig_parted_config, parse_config
from inferstack.mig.planner import Demand, Fleet, FleetGpu, Instance, diff, plan
from inferstack.mig.planner.driver_choice import find_driver_choices
from inferstack.mig.planner.layouts import NodeChange, make_output, node_order
from tests.unit.mig.planner.fleets import A100, H100, RTX, broken_up, demands, fits, fleets

EXISTING = dump_config(make_mig_parted_config([A100, H100, RTX]))
LABEL_VALUE = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")


def _gpus(node: str, *layouts: tuple[tuple[int, str], ...]) -> list[FleetGpu]:
    return [
        FleetGpu(f"{node}-{index}", node, H100, tuple(Instance(*instance) for instance in instances))
        for index, instances in enumerate(layouts)
    ]


@settings(max_examples=60, deadline=None)
@given(fleets(3, 3), demands())
def test_output_files_match_plan(fleet: Fleet, demands: list[Demand]) -> None:
    after = plan(fleet, demands).fleet
    nodes = {gpu.node: [other for other in after.gpus if other.node == gpu.node] for gpu in after.gpus}
    if any(len({gpu.model for gpu in gpus}) > 1 for gpus in nodes.values()):
        with pytest.raises(LayoutError, match="GPUs of two models"):
            make_output(fleet, after)
        return
    for text in (None, EXISTING):
        output = make_output(fleet, after, text)
        layouts = parse_config(dump_config(output.config)) if output.layouts or text else {}
        assert set(output.added) <= set(layouts)
        for node, gpus in nodes.items():
            before = [gpu for gpu in fleet.gpus if gpu.node == node]
            counts = [Counter(instance.profile for instance in gpu.instances) for gpu in gpus]
            if node not in output.layouts:
                assert counts == [Counter(instance.profile for instance in gpu.instances) for gpu in before]
                continue
            assert LABEL_VALUE.fullmatch(output.layouts[node])
            states = apply_layout(layouts[output.layouts[node]], catalogue.gpu(gpus[0].model), mig_disabled(len(gpus)))
            assert [dict(state.profiles) for state in states] == counts
            assert [state.enabled for state in states] == [bool(count) for count in counts]


def test_equal_nodes_share_a_layout_and_one_that_is_there_keeps_its_name() -> None:
    ones = tuple((start, "1g.10gb") for start in range(7))
    threes = ((0, "3g.40gb"), (4, "3g.40gb"))
    before = Fleet(tuple(gpu for node in "abc" for gpu in _gpus(node, (), ())))
    after = Fleet((*_gpus("a", ones, threes), *_gpus("b", ones, threes), *_gpus("c", threes, threes)))
    output = make_output(before, after, dump_config(make_mig_parted_config([H100])))
    assert output.layouts == {"a": "0_7x1g.10gb_1_2x3g.40gb", "b": "0_7x1g.10gb_1_2x3g.40gb", "c": "all-3g.40gb"}
    assert output.added == ("0_7x1g.10gb_1_2x3g.40gb",)
    assert output.config["mig-configs"][output.added[0]] == [
        {"devices": [0], "mig-enabled": True, "mig-devices": {"1g.10gb": 7}},
        {"devices": [1], "mig-enabled": True, "mig-devices": {"3g.40gb": 2}},
    ]
    again = make_output(before, after, dump_config(output.config))
    assert (again.added, again.layouts) == ((), output.layouts)


def test_taken_or_long_layout_name_ends_in_digest() -> None:
    ones = tuple((start, "1g.10gb") for start in range(7))
    before, after = Fleet(tuple(_gpus("a", (), ()))), Fleet(tuple(_gpus("a", ones, ())))
    taken = {"version": "v1", "mig-configs": {"0_7x1g.10gb_1_whole": [{"devices": "all", "mig-enabled": False}]}}
    output = make_output(before, after, dump_config(taken))
    assert re.fullmatch(r"0_7x1g\.10gb_1_whole-[0-9a-f]{8}", output.layouts["a"])
    mixes = [ones[: index + 1] for index in range(7)]
    long = make_output(Fleet(tuple(_gpus("a", *[()] * 7))), Fleet(tuple(_gpus("a", *mixes))))
    assert len(long.layouts["a"]) <= 63
    assert LABEL_VALUE.fullmatch(long.layouts["a"])


def test_nodes_come_in_the_order_of_the_steps() -> None:
    pod = Instance(0, "1g.10gb", "pod")
    a = FleetGpu("a-0", "a", H100, (pod,))
    before = Fleet((a, FleetGpu("b-0", "b", H100), FleetGpu("c-0", "c", H100)), "node")
    moved = FleetGpu("b-0", "b", H100, (pod,))
    big = FleetGpu("a-0", "a", H100, (Instance(0, "7g.80gb", demand="big"),))
    after = Fleet((big, moved, before.gpus[2]), "node")
    output = make_output(before, after)
    assert node_order(diff(before, after), output.layouts) == (
        NodeChange("b", "all_1x1g.10gb"),
        NodeChange("a", "all_1x7g.80gb"),
    )


def test_worse_driver_placements_are_reported() -> None:
    before = Fleet(tuple(_gpus("a", (), ((0, "1g.10gb"),), (), ())))
    # One small instance at 6 breaks up nothing that it would at 0; two large ones have no other starts.
    threes = ((0, "3g.40gb"), (4, "3g.40gb"))
    after = Fleet(tuple(_gpus("a", ((6, "1g.10gb"),), ((6, "1g.10gb"),), threes, ())))
    used = dataclasses.replace(
        after,
        gpus=tuple(
            dataclasses.replace(g, instances=tuple(dataclasses.replace(s, demand="d") for s in g.instances))
            for g in after.gpus
        ),
    )
    first, second = find_driver_choices(before, used)
    assert (first.gpu, first.reconfigured, second.gpu, second.reconfigured) == ("a-0", True, "a-1", False)
    assert first.planned == second.planned < first.worst
    assert second.worst == broken_up(H100, [(0, "1g.10gb")])
    assert make_output(before, used).layouts == {"a": "0-1_1x1g.10gb_2_2x3g.40gb_3_whole"}


@settings(max_examples=40, deadline=None)
@given(fleets(2, 2), demands())
def test_driver_choice_is_never_worse_than_reported(fleet: Fleet, demands: list[Demand]) -> None:
    after = plan(fleet, demands).fleet
    reported = {choice.gpu: choice.worst for choice in find_driver_choices(fleet, after)}
    for old, new in zip(fleet.gpus, after.gpus, strict=True):
        used = [instance.profile for instance in new.instances if not instance.idle]
        if old == new or Counter(s.profile for s in old.instances) == Counter(s.profile for s in new.instances):
            continue
        ways = itertools.product(*(catalogue.gpu(new.model).profiles[name].starts for name in used))
        is_legal = [way for way in (list(zip(starts, used, strict=True)) for starts in ways) if fits(new.model, way)]
        planned = broken_up(new.model, [(s.start, s.profile) for s in new.instances if not s.idle])
        worst = max(broken_up(new.model, way) for way in is_legal)
        assert reported.get(new.name, planned) <= worst  # an idle instance beside them can only leave fewer ways
        if len(used) == len(new.instances):
            assert reported.get(new.name, planned) == worst
