"""MIG layouts of a stack: refused where no GPU can hold them, or where a group of nodes cannot use them."""

from __future__ import annotations

from typing import Any

import pytest

from components.cluster.settings import ClusterSettings
from components.gpu.layouts import check_fleet, make_layouts
from components.gpu.settings import GpuSettings, Strategy
from components.settings import load_role
from inferstack.errors import UserError
from inferstack.mig import catalogue, layout

Rule = dict[str, Any]
CUT: Rule = {"devices": "all", "mig-enabled": True}


def layouts(**own: list[Rule]) -> dict[str, Any]:
    """Return the MIG manager's configuration of a stack with these layouts."""
    return make_layouts(load_role("gpu", GpuSettings, {"mig": {"layouts": own}}))


def fleet(**group: Any) -> ClusterSettings:
    """Return the settings of a cluster with one group of nodes, ``g``."""
    return load_role("cluster", ClusterSettings, {"fleet": {"g": {"instanceType": "p4d.24xlarge", **group}}})


def test_own_layouts_stand_beside_the_usual_ones_and_may_replace_them() -> None:
    own = [{**CUT, "mig-devices": {"3g.20gb": 2}}]
    usual = layouts()["mig-configs"]
    configs = layouts(**{"all-balanced": own, "halves": own})["mig-configs"]
    assert configs == {**usual, "all-balanced": own, "halves": own}
    assert usual["all-balanced"] != own


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([], ": needs a list of at least one entry"),
        ([{"devices": "all"}], "[0].mig-enabled: missing"),
        ([{**CUT, "mig-devices": {}, "divices": 1}], "[0].divices: unknown field"),
        ([CUT], "[0].mig-devices: missing"),
        ([{**CUT, "mig-devices": {"9g.5gb": 1}}], "[0].mig-devices: no GPU has 9g.5gb (A30: 1g.6gb"),
        # Each GPU has the profile, none has room for so many.
        ([{**CUT, "mig-devices": {"1g.5gb": 8}}], "[0].mig-devices: no GPU can hold this (8 x 1g.5gb: "),
        # 40 GB and 80 GB profiles in one layout: no GPU has both.
        ([{**CUT, "mig-devices": {"1g.5gb": 1, "4g.40gb": 1}}], "[0].mig-devices: no GPU has 1g.5gb, 4g.40gb ("),
        ([{**CUT, "device-filter": "0xFFFF10DE", "mig-devices": {"1g.5gb": 1}}], "[0].device-filter: "),
        (
            [{**CUT, "mig-devices": {"1g.5gb": 7}}, {**CUT, "mig-devices": {"7g.40gb": 2}}],
            "[1].mig-devices: no GPU can",
        ),
    ],
)
def test_a_layout_that_cannot_be_is_refused_with_its_path(rules: list[Rule], message: str) -> None:
    with pytest.raises(UserError) as caught:
        layouts(own=rules)
    assert str(caught.value).startswith(f"inferstack:gpu.mig.layouts.own{message}")


MACHINES = ("p4d.24xlarge", "p4de.24xlarge", "p5.48xlarge", "p5en.48xlarge")
GPU_MODELS = [gpu_model for name in MACHINES if (gpu_model := catalogue.instance_type(name).gpu)]


# all-enabled is left out: MIG on and no instance, a node without a GPU.
@pytest.mark.parametrize(
    "name", sorted(layout.make_mig_parted_config(GPU_MODELS)["mig-configs"].keys() - {"all-enabled"})
)
def test_each_usual_layout_fits_some_machine_and_is_refused_at_its_key_on_others(name: str) -> None:
    refusals = []
    config = layouts()
    for machine in MACHINES:
        try:
            check_fleet(config, fleet(instanceType=machine, migLayout=name), Strategy.MIXED)
        except UserError as error:
            refusals.append(str(error))
    assert all(line.startswith("inferstack:cluster.fleet.g.migLayout: ") for line in refusals)
    assert len(refusals) < 4, refusals


@pytest.mark.parametrize(
    ("group", "strategy", "message"),
    [
        ({"migLayout": "all-1g.5g"}, Strategy.MIXED, 'there is no layout "all-1g.5g"; there are all-1g.5gb, '),
        ({"migLayout": "halves"}, Strategy.MIXED, 'there is no layout "halves"; there are all-1g.10gb, '),
        ({"migLayout": "all-enabled"}, Strategy.MIXED, "with inferstack:gpu.mig.strategy mixed, layout "),
        (
            {"migLayout": "all-1g.5gb", "instanceType": "m6i.2xlarge"},
            Strategy.MIXED,
            "m6i.2xlarge has no GPU",
        ),
        (
            {"migLayout": "all-1g.5gb", "instanceType": "p5.48xlarge"},
            Strategy.MIXED,
            'layout "all-1g.5gb" does not fit a H100-80GB-HBM3: ',
        ),
        (
            {"migLayout": "all-balanced"},
            Strategy.SINGLE,
            'with inferstack:gpu.mig.strategy single, layout "all-balanced" leaves the nodes without a GPU: ',
        ),
    ],
)
def test_a_group_that_cannot_use_its_layout_is_refused(group: dict[str, Any], strategy: Strategy, message: str) -> None:
    with pytest.raises(UserError) as caught:
        check_fleet(layouts(), fleet(**group), strategy)
    assert str(caught.value).startswith(f"inferstack:cluster.fleet.g.migLayout: {message}")


@pytest.mark.parametrize(
    ("group", "strategy"),
    [
        ({}, Strategy.SINGLE),
        ({"migLayout": "all-1g.5gb"}, Strategy.SINGLE),
        ({"migLayout": "all-balanced"}, Strategy.MIXED),
        ({"migLayout": "all-disabled"}, Strategy.NONE),
    ],
)
def test_a_group_that_can_is_not(group: dict[str, Any], strategy: Strategy) -> None:
    check_fleet(layouts(), fleet(**group), strategy)
