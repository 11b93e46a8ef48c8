"""Time-slicing on simulated nodes: the configuration of a node, its resources and the status of the policy."""

from __future__ import annotations

import json
from typing import Any

import pytest

from inferstack.mig.layout import load_states, mig_disabled
from inferstack.mig.sharing import Sharing, dump
from rehearsal.hardware import Faults, Hardware, parse_hardware
from rehearsal.simulators.nodes import device_plugin, discovery
from rehearsal.simulators.nodes.cluster_policy import make_status
from rehearsal.simulators.nodes.controller import plan
from rehearsal.simulators.nodes.policy import Policy, parse_policy

GPU = "nvidia.com/gpu"
CONFIG = "nvidia.com/device-plugin.config"
MAPS = {
    "sharing": {
        "data": {
            "four": dump(Sharing({GPU: 4}), "mixed"),
            "renamed": dump(Sharing({GPU: 2}, rename=True), "mixed"),
            "slices": dump(Sharing({"nvidia.com/mig-1g.5gb": 3}), "mixed"),
        }
    }
}


def policy(default: str = "", maps: dict[str, Any] | None = None, *, name: str = "sharing") -> Policy:
    config = {"name": name, "default": default}
    spec = {"mig": {"strategy": "mixed"}, "devicePlugin": {"enabled": True, "config": config}}
    return parse_policy({"spec": spec}, MAPS if maps is None else maps)


def hardware() -> Hardware:
    return parse_hardware(
        json.dumps(
            {
                "instanceType": "p4d.24xlarge",
                "cpu": "96",
                "memory": "1Ti",
                "pods": 110,
                "gpu": "A100-SXM4-40GB",
                "gpus": 2,
            }
        )
    )


def node(label: str = "", capacity: dict[str, str] | None = None) -> dict[str, Any]:
    labels = {CONFIG: label} if label else {}
    return {
        "metadata": {"name": "n", "uid": "u", "labels": labels},
        "status": {"capacity": capacity or {}, "allocatable": capacity or {}},
    }


@pytest.mark.parametrize(
    ("default", "label", "replicas"),
    [
        ("", "", {}),
        ("", "four", {GPU: 4}),
        ("four", "", {GPU: 4}),
        ("four", "slices", {"nvidia.com/mig-1g.5gb": 3}),
    ],
)
def test_node_label_takes_precedence_over_default(default: str, label: str, replicas: dict[str, int]) -> None:
    sharing = policy(default).sharing_of(label)
    assert sharing is not None
    assert sharing.replicas == replicas


def test_label_is_ignored_without_config_map_in_policy() -> None:
    assert policy(name="").sharing_of("four") == Sharing()


@pytest.mark.parametrize(("default", "label"), [("", "five"), ("five", "")])
def test_missing_configuration_stops_device_plugin(default: str, label: str) -> None:
    assert policy(default).sharing_of(label) is None


@pytest.mark.parametrize(
    ("label", "states", "lost", "capacity", "allocatable"),
    [
        ("four", "[null,null]", 0, {GPU: "8"}, {GPU: "8"}),
        ("four", "[null,null]", 1, {GPU: "8"}, {GPU: "4"}),
        ("renamed", "[null,null]", 0, {f"{GPU}.shared": "4"}, {f"{GPU}.shared": "4"}),
        (
            "slices",
            '[{"1g.5gb":7},null]',
            0,
            {GPU: "1", "nvidia.com/mig-1g.5gb": "21"},
            {GPU: "1", "nvidia.com/mig-1g.5gb": "21"},
        ),
        ("five", "[null,null]", 0, {}, {}),
    ],
)
def test_shared_resources_of_node(
    label: str, states: str, lost: int, capacity: dict[str, str], allocatable: dict[str, str]
) -> None:
    desired = device_plugin.desired(
        node(label), hardware(), policy(), load_states(states), pending=False, faults=Faults(lost_gpus=lost)
    )
    assert (desired.capacity, desired.allocatable) == (capacity, allocatable)


def test_unregistered_resource_stays_with_zero() -> None:
    before = {GPU: "2", "cpu": "96"}
    renamed = device_plugin.desired(
        node("renamed", before), hardware(), policy(), mig_disabled(2), pending=False, faults=Faults()
    )
    assert renamed.capacity == {GPU: "0", f"{GPU}.shared": "4"}
    none = device_plugin.desired(
        node("five", before), hardware(), policy(), mig_disabled(2), pending=False, faults=Faults()
    )
    assert none.capacity == none.allocatable == {GPU: "0"}
    gone = device_plugin.desired(
        node("", {f"{GPU}.shared": "4"}), hardware(), None, mig_disabled(2), pending=False, faults=Faults()
    )
    assert gone.capacity == {f"{GPU}.shared": None}


def test_shared_gpus_are_not_allocatable_while_mig_is_pending() -> None:
    desired = device_plugin.desired(node("four"), hardware(), policy(), mig_disabled(2), pending=True, faults=Faults())
    assert (desired.capacity, desired.allocatable) == ({GPU: "8"}, {GPU: "0"})


def test_product_label_follows_sharing_configuration() -> None:
    def product(config: str) -> str:
        return discovery.desired(hardware(), policy(), mig_disabled(2), pending=False, config=config).labels[
            f"{GPU}.product"
        ]

    assert product("four") == "NVIDIA-A100-SXM4-40GB-SHARED"
    assert product("") == product("renamed") == product("five") == "NVIDIA-A100-SXM4-40GB"


def test_node_plan_applies_sharing_in_one_step() -> None:
    node_plan = plan(node("four"), hardware(), policy(), elapsed=None, mig_seconds=1.0)
    assert node_plan.desired.allocatable[GPU] == "8"
    assert node_plan.desired.labels[f"{GPU}.replicas"] == "4"
    assert CONFIG not in node_plan.desired.labels


# --- the operator's status


def test_missing_config_map_makes_policy_not_ready() -> None:
    status = make_status("cluster-policy", policy(maps={}), 3)
    assert status["state"] == "notReady"
    ready, error = status["conditions"]
    assert ready["message"] == "device-plugin: ConfigMap gpu-operator/sharing does not exist"
    assert (error["status"], error["reason"]) == ("True", "DevicePluginConfiguration")


def test_unreadable_configuration_stops_only_its_nodes() -> None:
    broken = {"sharing": {"data": {"bad": "version: v2", "four": dump(Sharing({GPU: 4}), "mixed")}}}
    broken_policy = policy(maps=broken)
    assert broken_policy.sharing_of("bad") is None
    assert broken_policy.sharing_of("four") == Sharing({GPU: 4})
    status = make_status("cluster-policy", broken_policy, 1)
    assert status["state"] == "ready"
    assert status["conditions"][1]["message"] == "ConfigMap gpu-operator/sharing, bad: version: 'v2' is not 'v1'"


def test_policy_with_all_config_maps_is_ready() -> None:
    ready, error = make_status("cluster-policy", policy("four"), 1)["conditions"]
    assert (ready["status"], error["status"], error["message"]) == ("True", "False", "")
