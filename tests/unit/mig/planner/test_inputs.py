"""Parsing of fleet and demand files, and the errors for invalid keys."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from inferstack.mig.errors import MigError
from inferstack.mig.planner import Demand, Fleet, FleetGpu, Instance
from inferstack.mig.planner.inputs import dump_fleet, parse_demands, parse_fleet
from tests.unit.mig.planner.fleets import H100, fleets


def _node(**fields: Any) -> dict[str, Any]:
    return {"nodes": [{"name": "n", "model": H100, "gpus": 1, **fields}]}


def test_equal_nodes_are_copies_and_starts_may_be_left_out() -> None:
    three, pod = {"profile": "3g.40gb"}, {"profile": "4g.40gb", "pod": "a/b", "pinned": False}
    fleet = parse_fleet(_node(gpus=[{"instances": [three, pod]}]))
    assert fleet.scope == "node"
    assert fleet.gpus[0].instances == (Instance(0, "4g.40gb", "a/b"), Instance(4, "3g.40gb"))
    copies = parse_fleet({"scope": "gpu", **_node(gpus=2, copies=2)})
    assert copies == Fleet(tuple(FleetGpu(f"n-{n}/{g}", f"n-{n}", H100) for n in range(2) for g in range(2)))
    assert parse_fleet(_node(gpus=[{"instances": [{"profile": "1g.10gb", "pod": "a/b"}]}])).gpus[0].instances[0].pinned


@settings(max_examples=40, deadline=None)
@given(fleets(3, 3))
def test_fleet_round_trip(fleet: Fleet) -> None:
    if len({(gpu.node, gpu.model) for gpu in fleet.gpus}) > len({gpu.node for gpu in fleet.gpus}):
        return  # a file has nodes of one board each
    again = parse_fleet(dump_fleet(fleet))
    assert again.scope == fleet.scope
    assert sorted((g.node, tuple(sorted(g.instances))) for g in again.gpus) == sorted(
        (g.node, tuple(sorted(g.instances))) for g in fleet.gpus
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "not a mapping"),
        (_node(gpu=1), r"nodes\[0\]\.gpu: unknown key"),
        ({"nodes": [{"name": "n", "gpus": 1}]}, r"nodes\[0\]\.model: is required"),
        (_node(model="H900"), r"nodes\[0\]\.model: no GPU 'H900'"),
        (_node(gpus=0), r"nodes\[0\]\.gpus: .*greater than or equal to 1"),
        (_node(gpus=[{"instances": [{"profile": "9g.1gb"}]}]), r"nodes\[0\]\.gpus\[0\]: .*no MIG profile '9g.1gb'"),
        (_node(gpus=[{"instances": [{"profile": 1}]}]), r"nodes\[0\]\.gpus\[0\]\.instances\[0\]\.profile: .*got 1"),
        (
            _node(gpus=[{"instances": [{"profile": "1g.10gb", "start": 0}, {"profile": "1g.10gb"}]}]),
            "start of every instance",
        ),
        (_node(gpus=[{"instances": [{"profile": "7g.80gb"}] * 2}]), r"gpus\[0\]: .*at most 1 of 7g.80gb"),
        ({"nodes": _node()["nodes"] * 2}, "nodes: n is there twice"),
        ({"scope": "pod", **_node()}, "scope: .*'instance', 'gpu' or 'node'"),
    ],
)
def test_invalid_fleet_error_names_path(content: Any, message: str) -> None:
    with pytest.raises(MigError, match=message):
        parse_fleet(content)


def test_demands_by_profile_and_by_need() -> None:
    given = [
        {"name": "a", "count": 2, "priority": 5, "profile": "1g.10gb", "maxPerNode": 1},
        {"name": "b", "count": 1, "memoryMib": 9000, "computeSlices": 1},
    ]
    assert parse_demands({"demands": given}) == (
        Demand("a", 2, 5, "1g.10gb", max_per_node=1),
        Demand("b", 1, 0, "", 9000, 1),
    )
    for wrong, message in (
        ({"name": "a", "count": -1, "profile": "1g.10gb"}, r"demands\[0\]\.count"),
        ({"name": "a", "count": 1}, r"demands\[0\]: a: give either a profile"),
        ({"name": "a", "count": 1, "profile": "1g.1gb"}, r"demands\[0\]\.profile: no GPU has '1g.1gb'"),
        ({"name": "a", "count": 1, "memoryMiB": 1}, r"demands\[0\]\.memoryMiB: unknown key"),
    ):
        with pytest.raises(MigError, match=message):
            parse_demands({"demands": [wrong]})
    with pytest.raises(MigError, match="a is there twice"):
        parse_demands({"demands": [given[0]] * 2})
