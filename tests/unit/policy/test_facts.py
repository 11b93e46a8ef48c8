"""Defaults of rules against the facts that they were taken from, and what checks read of a stack."""

from __future__ import annotations

from typing import Any

import pytest

from components.cluster.aws.launch import GPU_AMI
from components.gpu import compatibility
from inferstack.api import runtimes
from inferstack.network import nics
from inferstack.policy.checks.common import given, statements
from inferstack.policy.checks.fleet import charts, machines, offered, requests
from inferstack.policy.evaluate import Undecided, apply
from inferstack.policy.examples import resource_of
from inferstack.policy.registry import find
from inferstack.policy.resource import UNKNOWN, Stack, UnknownError
from tests.unit.policy.test_rules import TODAY, settings

GROUP = "aws:eks/nodeGroup:NodeGroup"


def stack(*resources: dict[str, Any]) -> Stack:
    return Stack("prod", tuple(resource_of(resource, "prod") for resource in resources))


def group(**properties: Any) -> dict[str, Any]:
    return {"type": GROUP, "name": "nodes", "properties": properties}


def test_allowed_drivers_are_tested_and_supported() -> None:
    table = compatibility.load()
    (operator,) = table.operators.values()
    now = f"{TODAY:%Y-%m}"
    expected = {name for name in operator.drivers if name in table.branches and table.branches[name].end >= now}
    assert set(find("gpu-driver-supported").defaults["branches"]) == expected


def test_rule_lists_all_images_with_a_driver() -> None:
    images = set(find("gpu-driver-from-one-place").defaults["images"])
    assert images >= {GPU_AMI, *compatibility.load().node_images}


def test_function_limit_is_the_lowest_of_all_nics() -> None:
    fewest = min(nic.max_vfs for nic in nics.load().values())
    assert find("sriov-functions-bounded").defaults["functions"] == fewest


def test_default_runtime_arguments_do_not_reduce_precision() -> None:
    precision = find("precision-has-a-report")
    for runtime in runtimes.load().runtimes.values():
        job = {**precision.good[0].resources[0]}
        job["spec"] = {**job["spec"], "args": list(runtime.args)}
        assert list(apply(precision, stack(job), settings(), TODAY)) == []


@pytest.mark.parametrize(
    ("node", "gpu", "efa"),
    [
        (group(instanceTypes=["p5.48xlarge"]), "H100-80GB-HBM3", 32),
        (group(instanceTypes=["g6e.xlarge", "g6e.2xlarge"]), "L40S", 0),
        (group(instanceTypes=["x99.metal"]), None, 0),
        (group(capacityType="CAPACITY_BLOCK"), None, 0),
    ],
)
def test_node_group_has_the_gpu_and_efa_of_its_instance_type(node: dict[str, Any], gpu: str | None, efa: int) -> None:
    (machine,) = machines(stack(node))
    assert (machine.gpu, machine.efa) == (gpu, efa)


def test_capacity_block_instance_type_comes_from_the_launch_template() -> None:
    template = {
        "type": "aws:ec2/launchTemplate:LaunchTemplate",
        "name": "nodes",
        "properties": {"instanceType": "p5.48xlarge"},
    }
    assert machines(stack(group(capacityType="CAPACITY_BLOCK"), template))[0].gpus == 8


@pytest.mark.parametrize(
    ("layout", "strategy", "resources"),
    [
        (None, "mixed", {"nvidia.com/gpu"}),
        ("all-1g.5gb", "mixed", {"nvidia.com/mig-1g.5gb"}),
        ("all-1g.5gb", "single", {"nvidia.com/gpu"}),
        ("all-balanced", "mixed", {"nvidia.com/mig-1g.5gb", "nvidia.com/mig-2g.10gb", "nvidia.com/mig-3g.20gb"}),
        ("all-1g.18gb", "mixed", set()),
        ("no-such-layout", "mixed", set()),
    ],
)
def test_layout_and_strategy_set_the_offered_resources(layout: str | None, strategy: str, resources: set[str]) -> None:
    labels = {"nvidia.com/mig.config": layout} if layout else {}
    operator = {
        "type": "kubernetes:helm.sh/v3:Release",
        "name": "gpu-operator",
        "properties": {"chart": "gpu-operator", "values": {"mig": {"strategy": strategy}}},
    }
    assert offered(stack(group(instanceTypes=["p4d.24xlarge"], labels=labels), operator)) == resources


@pytest.mark.parametrize(
    ("chart", "matches"),
    [
        ("gpu-operator", True),
        ("oci://registry.example/charts/gpu-operator", True),
        ("/mirror/charts/gpu-operator-v26.7.0.tgz", True),
        ("gpu-operator-extras", False),
        ("/mirror/charts/gpu-operator-extras-1.0.tgz", False),
    ],
)
def test_chart_is_matched_in_each_kind_of_source(chart: str, matches: bool) -> None:
    release = {"type": "kubernetes:helm.sh/v3:Release", "name": "operator", "properties": {"chart": chart}}
    assert bool(list(charts(stack(release), "gpu-operator"))) is matches


def test_children_of_a_job_are_not_counted_again() -> None:
    job, pod = (resource_of(find("gpu-kind-is-on-the-fleet").bad[at].resources[-1], "prod") for at in (0, 1))
    child = type(pod)(pod.urn, pod.type, pod.name, pod.properties, origin=job.urn)
    assert [resource.label for resource, _ in requests(Stack("prod", (job, child)))] == [job.label]


def test_unknown_reference_counts_as_given_without_a_value() -> None:
    assert given({"kmsKeyId": UNKNOWN}, "kmsKeyId")
    assert not given({"kmsKeyId": ""}, "kmsKeyId")
    assert not given({"ebs": {}}, "ebs", "kmsKeyId")
    with pytest.raises(UnknownError):
        list(statements({"policy": UNKNOWN}, "policy"))


def test_cost_of_an_unknown_node_count_is_undecided() -> None:
    for unknown in ({"desiredSize": UNKNOWN}, UNKNOWN):
        results = list(apply(find("aws-cost-capped"), stack(group(scalingConfig=unknown)), settings(), TODAY))
        assert [type(result) for result in results] == [Undecided]
