"""The gpu role in a run of the whole program: its objects in each mode, their order, and what is refused before any."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml

from components.gpu.builders import make_charts
from components.gpu.settings import GpuSettings
from components.settings import load_role
from inferstack.mig.sharing import Sharing, parse
from tests.program.conftest import stack_config

if TYPE_CHECKING:
    from tests.program.conftest import Machine, Recording, Registered

SHARING: dict[str, Any] = {
    "timeSlicing": {"default": "four", "configs": {"four": {"resources": {"nvidia.com/gpu": 4}}}},
    "mig": {"hostServices": ["nvsm.service"]},
}


@pytest.fixture(scope="module")
def shared(machine: Machine) -> Recording:
    """The stack local with shared GPUs."""
    return machine.run("local", gpu=SHARING)


@pytest.fixture(scope="module")
def shared_elsewhere(machine: Machine) -> Recording:
    """The stack existing, whose operator is somebody else's, with shared GPUs."""
    return machine.run("existing", gpu=SHARING)


def config_maps(recording: Recording) -> dict[str, Registered]:
    """Return the role's ConfigMaps by their name for Pulumi."""
    role = recording.component("gpu", "Gpu")
    return {resource.name: resource for resource in recording.children(role) if resource.type.endswith(":ConfigMap")}


def policy(recording: Recording) -> Registered:
    """Return the one ClusterPolicy, or the patch of it."""
    (result,) = [resource for resource in recording.objects() if "ClusterPolicy" in resource.type]
    return result


def test_metrics_are_chosen_without_being_asked_for(local: Recording) -> None:
    maps = config_maps(local)
    assert maps.keys() == {"mig-layouts", "dcgm-counters"}
    text = maps["dcgm-counters"].inputs["data"]["dcgm-metrics.csv"]
    assert "DCGM_FI_PROF_SM_ACTIVE, gauge," in text
    name = policy(local).inputs["spec"]["dcgmExporter"]["config"]["name"]
    assert name == maps["dcgm-counters"].inputs["metadata"]["name"]


def test_rehearsed_policy_agrees_with_chart_values(local: Recording) -> None:
    spec = policy(local).inputs["spec"]
    given = yaml.safe_load(stack_config("local")["inferstack:gpu"])
    values = make_charts(load_role("gpu", GpuSettings, given), monitored=True)["gpu-operator"]
    for part in ("mig", "toolkit", "gfd", "daemonsets", "validator"):
        assert spec[part] == values[part]
    assert spec["driver"]["kernelModuleType"] == values["driver"]["kernelModuleType"]


def test_shared_gpus_have_a_config_map_that_the_policy_names(shared: Recording) -> None:
    maps = config_maps(shared)
    assert maps.keys() == {"mig-layouts", "dcgm-counters", "time-slicing", "mig-host-services"}
    config_map = maps["time-slicing"].inputs
    assert parse(config_map["data"]["four"]) == Sharing({"nvidia.com/gpu": 4}, fail_more_than_one=True)
    config = policy(shared).inputs["spec"]["devicePlugin"]["config"]
    assert config == {"name": config_map["metadata"]["name"], "default": "four"}


def test_config_maps_come_before_the_operator_that_waits_for_them(shared: Recording) -> None:
    operator = next(resource for resource in shared.resources.values() if resource.type == "inferstack:addon:Addon")
    assert operator.name
    (marker,) = [resource for resource in shared.objects() if resource.name == "gpu-operator-marker"]
    for resource in config_maps(shared).values():
        assert resource.urn in shared.before(marker), resource.name
        assert resource.urn in shared.before(policy(shared)), resource.name


def test_patch_of_present_policy_owns_only_mig_and_sharing(shared_elsewhere: Recording) -> None:
    patch = policy(shared_elsewhere)
    assert patch.type == "kubernetes:nvidia.com/v1:ClusterPolicyPatch"
    assert patch.inputs["spec"].keys() == {"mig", "migManager", "devicePlugin"}
    # What is measured there is its owner's.
    assert config_maps(shared_elsewhere).keys() == {"mig-layouts", "time-slicing", "mig-host-services"}


def test_jobs_wait_until_gpus_are_shared(shared: Recording) -> None:
    jobs = shared.kind("InferenceJob")
    assert jobs
    for job in jobs:
        assert {policy(shared).urn, config_maps(shared)["time-slicing"].urn} <= shared.before(job)


def test_monitoring_switches_the_scraping_of_gpus(machine: Machine, local: Recording) -> None:
    given = yaml.safe_load(stack_config("local").get("inferstack:monitoring", "{}"))
    expected = given.get("enabled", True)
    assert policy(local).inputs["spec"]["dcgmExporter"]["serviceMonitor"]["enabled"] is expected
    dark = machine.run("local", monitoring={"enabled": False}, autoscaling={"enabled": False})
    assert policy(dark).inputs["spec"]["dcgmExporter"]["serviceMonitor"]["enabled"] is False


@pytest.mark.parametrize(
    ("gpu", "message"),
    [
        (
            {"driver": {"version": "535.309.01"}},
            "inferstack:gpu.driver.version: driver 535.309.01 does not fit the H200",
        ),
        ({"driver": {"version": "620.10.01"}}, "inferstack:gpu.driver.version: nothing is known of driver 620.10.01"),
        ({"allocation": "dra"}, "inferstack:gpu.allocation: dra cannot be offered"),
        ({"timeSlicing": {"default": "x"}}, "inferstack:gpu.timeSlicing.default: there is no configuration"),
        (
            {"preflight": {"containerRuntime": "containerd://1.6.39"}},
            "inferstack:gpu.preflight.containerRuntime: containerd 1.6.39 does not fit GPU operator",
        ),
    ],
)
def test_gpu_settings_that_do_not_fit_are_refused_before_registration(
    machine: Machine, gpu: dict[str, Any], message: str
) -> None:
    assert message in machine.refusal("local", gpu=gpu)
