"""What a stack costs a month."""

from __future__ import annotations

import pytest
import yaml

from inferstack.aws import catalogue
from inferstack.aws.cost import HOURS_A_MONTH, monthly, of_resources, prices
from inferstack.aws.quotas import Group
from tests.unit.ci.pipelines import ROOT

NODES = "aws:eks/nodeGroup:NodeGroup"


def test_every_instance_type_has_a_price() -> None:
    assert prices()["instances"].keys() == catalogue.load().instance_types.keys()
    assert [name for name, usd in prices()["instances"].items() if usd is None] == ["p5e.48xlarge"]


def test_price_scales_with_size_within_family() -> None:
    for small, large in (("m6i.large", "m6i.xlarge"), ("m6i.2xlarge", "m6i.4xlarge"), ("m7i.xlarge", "m7i.2xlarge")):
        assert prices()["instances"][large] == pytest.approx(2 * prices()["instances"][small])
    assert prices()["instances"]["p5.48xlarge"] == pytest.approx(8 * prices()["instances"]["p5.4xlarge"])


def test_nodes_cost_their_most_expensive_type() -> None:
    estimate = monthly([Group("g", ("g6e.xlarge", "g6e.4xlarge"), "SPOT", 3)])
    assert estimate.usd == pytest.approx(3 * 3.00424 * HOURS_A_MONTH)
    assert estimate.unknown == ()


def test_unpriced_resources_make_estimate_a_minimum() -> None:
    estimate = monthly(
        [Group("big", ("p5e.48xlarge",), "CAPACITY_BLOCK", 1), Group("off", ("p5e.48xlarge",), "SPOT", 0)]
    )
    assert (estimate.usd, estimate.unknown) == (0.0, ("big: 1 x p5e.48xlarge",))


def test_extended_support_costs_six_times_as_much() -> None:
    standard, extended = (monthly([], control_planes=1, extended=flag).usd for flag in (False, True))
    assert extended == pytest.approx(6 * standard)


def test_resources_are_counted_by_their_tokens() -> None:
    group = {"instanceTypes": ["m6i.2xlarge"], "scalingConfig": {"desiredSize": 2}}
    estimate = of_resources(
        [
            (NODES, "system", group),
            ("aws:eks/cluster:Cluster", "cluster", {"upgradePolicy": {"supportType": "STANDARD"}}),
            ("aws:ec2/natGateway:NatGateway", "nat-a", {}),
            ("aws:ec2/natGateway:NatGateway", "nat-b", {}),
            ("aws:ec2/vpcEndpoint:VpcEndpoint", "s3", {"vpcEndpointType": "Gateway"}),
            ("aws:ec2/vpcEndpoint:VpcEndpoint", "sts", {"vpcEndpointType": "Interface", "subnetIds": ["a", "b", "c"]}),
            ("aws:kms/key:Key", "disks", {}),
            ("kubernetes:core/v1:Namespace", "nlp", {}),
        ]
    )
    assert estimate.usd == pytest.approx((2 * 0.384 + 0.10 + 2 * 0.045 + 3 * 0.01) * HOURS_A_MONTH + 1)
    assert [item.usd for item in estimate.items] == sorted((item.usd for item in estimate.items), reverse=True)  # type: ignore[type-var]


@pytest.mark.parametrize("stack", ["dev", "staging", "prod"])
def test_all_nodes_of_the_shipped_stacks_have_a_price(stack: str) -> None:
    config = yaml.safe_load((ROOT / "stacks" / f"Pulumi.{stack}.yaml").read_text())["config"]
    groups = config["inferstack:cluster"]["aws"]["gpu"]
    estimate = monthly([Group(name, tuple(group["instanceTypes"]), "ON_DEMAND", 1) for name, group in groups.items()])
    assert estimate.unknown == ()
    assert len(estimate.items) == len(groups)
