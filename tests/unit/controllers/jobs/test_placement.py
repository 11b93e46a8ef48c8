"""Where a job's replicas lie in the network, and which networks their pods are attached to."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from inferstack.api.labels import (
    HASH,
)
from inferstack.apimachinery.labels import JOB
from inferstack.apimachinery.objects import Object
from inferstack.controllers.jobs.plan import Plan

Plans = Callable[..., Plan]
LEVELS = ["example.com/leaf", "example.com/block", "example.com/spine"]


def template(plan: Plan) -> Object:
    result: Object = plan.children(None)[0]["spec"]["template"]
    return result


def spread(plan: Plan) -> list[str]:
    return [constraint["topologyKey"] for constraint in template(plan)["spec"]["topologySpreadConstraints"]]


def test_replicas_are_spread_over_the_nodes_by_themselves(plan_of: Plans) -> None:
    plan = plan_of()
    assert spread(plan) == ["kubernetes.io/hostname"]
    assert "affinity" not in template(plan)["spec"]


@pytest.mark.parametrize("prefer", [{}, {"prefer": "Spread"}])
def test_a_spread_job_is_spread_over_the_switches_of_each_level_too(plan_of: Plans, prefer: Object) -> None:
    plan = plan_of(placement={"levels": LEVELS, **prefer})
    assert spread(plan) == ["kubernetes.io/hostname", *LEVELS]
    assert {each["whenUnsatisfiable"] for each in template(plan)["spec"]["topologySpreadConstraints"]} == {
        "ScheduleAnyway"
    }
    assert "affinity" not in template(plan)["spec"]


def test_replicas_of_a_packed_job_pull_each_other_below_the_nearest_switch(plan_of: Plans) -> None:
    plan = plan_of(placement={"levels": LEVELS, "prefer": "Pack"})
    assert spread(plan) == ["kubernetes.io/hostname"]
    assert template(plan)["spec"]["affinity"] == {
        "podAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": weight,
                    "podAffinityTerm": {"topologyKey": level, "labelSelector": {"matchLabels": {JOB: "bert"}}},
                }
                for weight, level in zip((100, 50, 25), LEVELS, strict=True)
            ]
        }
    }


def test_the_pull_of_a_level_is_more_than_that_of_all_above_it_together(plan_of: Plans) -> None:
    levels = [f"level-{index}" for index in range(7)]
    plan = plan_of(placement={"levels": levels, "prefer": "Pack"})
    terms = template(plan)["spec"]["affinity"]["podAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    weights = [term["weight"] for term in terms]
    assert all(weight >= sum(weights[index + 1 :]) for index, weight in enumerate(weights))
    assert all(1 <= weight <= 100 for weight in weights)


def test_a_job_without_networks_says_nothing_of_them(plan_of: Plans) -> None:
    assert "annotations" not in template(plan_of())["metadata"]


def test_the_networks_of_a_job_are_told_to_multus(plan_of: Plans) -> None:
    result = template(plan_of(networks=["rdma-a", "rdma-b"]))
    assert result["metadata"]["annotations"] == {"k8s.v1.cni.cncf.io/networks": "rdma-a,rdma-b"}


def test_a_change_of_the_place_changes_the_hash(plan_of: Plans) -> None:
    hashes = {
        plan_of(**spec).children(None)[0]["metadata"]["annotations"][HASH]
        for spec in ({}, {"placement": {"levels": LEVELS}}, {"networks": ["rdma"]})
    }
    assert len(hashes) == 3
