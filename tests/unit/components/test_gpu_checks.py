"""What the gpu role refuses, each with the full path of the key at fault."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from components.cluster.settings import ClusterSettings, Place
from components.gpu.builders import make_charts
from components.gpu.checks import check_gpu, make_asked, settle
from components.gpu.fleet import GpuGroup, gpu_groups
from components.gpu.settings import GpuSettings
from components.platform.settings import PlatformSettings
from components.settings import load_role
from inferstack.errors import UserError
from inferstack.toolchain.charts import pins

OPERATOR = f"GPU operator {pins()['gpu-operator'].version}"
H200 = GpuGroup("inferstack:cluster.fleet.h200", "H200", {})
A100 = GpuGroup("inferstack:cluster.fleet.a100", "A100-SXM4-40GB", {})
L40S = GpuGroup("inferstack:cluster.aws.gpu.l40s", "L40S", {})
B200 = GpuGroup("inferstack:cluster.fleet.b200", "B200", {})


def shared(resource: str = "nvidia.com/gpu", replicas: object = 4, **more: Any) -> dict[str, Any]:
    """Return settings with one time-slicing configuration, ``four``."""
    return {"timeSlicing": {"configs": {"four": {"resources": {resource: replicas}, **more}}}}


def checked(
    given: dict[str, Any] | None = None, *groups: GpuGroup, kubernetes: str | None = "1.34", is_ours: bool = True
) -> None:
    """Load and check settings as a stack's are."""
    settings = load_role("gpu", GpuSettings, given)
    key = "inferstack:cluster.aws.kubernetesVersion"
    check_gpu(settings, groups, kubernetes=kubernetes, kubernetes_key=key, operator_is_ours=is_ours)


def refusal(given: dict[str, Any], *groups: GpuGroup, kubernetes: str | None = "1.34") -> str:
    """Return the error message for such settings."""
    with pytest.raises(UserError) as caught:
        checked(given, *groups, kubernetes=kubernetes)
    return str(caught.value)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"allocation": "dra"}, "allocation: dra cannot be offered: with it the GPU operator runs neither a MIG"),
        ({"allocation": "plugin"}, "allocation: input should be 'devicePlugin' or 'dra'"),
        ({"driver": {"version": "595.91.7"}}, "driver.version: string should match pattern"),
        ({"driver": {"kernelModuleType": "closed"}}, "driver.kernelModuleType: input should be 'auto', 'open' or"),
        ({"driver": {"upgrade": {"maxUnavailable": "125%"}}}, "driver.upgrade.maxUnavailable: string should match"),
        ({"driver": {"upgrade": {"maxParallelNodes": -1}}}, "driver.upgrade.maxParallelNodes: input should be greater"),
        ({"mig": {"hostServices": ["nvsm"]}}, "mig.hostServices[0]: string should match pattern"),
        ({"mig": {"reboot": "yes"}}, "mig.reboot: input should be a valid boolean"),
        (shared(replicas=1), 'timeSlicing.configs.four.resources["nvidia.com/gpu"]: input should be greater than or'),
        (shared(replicas="4"), 'timeSlicing.configs.four.resources["nvidia.com/gpu"]: input should be a valid int'),
        ({"timeSlicing": {"configs": {"x": {"resources": {}}}}}, "timeSlicing.configs.x.resources: "),
        (shared(renameByDefalt=True), "timeSlicing.configs.four.renameByDefalt: unknown key; did you mean"),
        ({"dcgmExporter": {"groups": ["memory", "memory"]}}, "dcgmExporter.groups: memory is there twice; remove"),
        ({"dcgmExporter": {"groups": ["sm"]}}, "dcgmExporter.groups[0]: input should be 'clocks', 'temperature'"),
        ({"dcgmExporter": {"intervalSeconds": 0}}, "dcgmExporter.intervalSeconds: input should be greater than or"),
        ({"preflight": {"containerRuntime": "2.1.4"}}, "preflight.containerRuntime: string should match pattern"),
    ],
)
def test_a_value_that_cannot_be(given: dict[str, Any], message: str) -> None:
    assert refusal(given).startswith(f"inferstack:gpu.{message}")


@pytest.mark.parametrize(
    ("given", "groups", "message"),
    [
        (
            {"driver": {"version": "580"}},
            (),
            "gpu.driver.version: 580 is a branch, and the operator installs one version,",
        ),
        (
            {"driver": {"enabled": False, "kernelModuleType": "open"}},
            (),
            "gpu.driver.kernelModuleType: is open, and inferstack:gpu.driver.enabled is false: ",
        ),
        ({"driver": {"enabled": False, "rdma": {"enabled": True}}}, (), "gpu.driver.rdma.enabled: the module for it"),
        ({"driver": {"rdma": {"useHostMofed": True}}}, (), "gpu.driver.rdma.useHostMofed: says nothing while "),
        (
            {"cdi": {"nri": True}, "toolkit": {"enabled": False}},
            (),
            "gpu.cdi.nri: needs inferstack:gpu.toolkit.enabled",
        ),
        ({"cdi": {"nri": True, "enabled": False}}, (), "gpu.cdi.nri: needs inferstack:gpu.cdi.enabled, which is false"),
        (
            {"daemonsets": {"tolerations": [{"key": "a", "value": "b"}]}},
            (),
            "gpu.daemonsets.tolerations[0].value: with operator Exists a value does not count",
        ),
        (
            {"daemonsets": {"tolerations": [{"key": "a", "operator": "Equal"}]}},
            (),
            "gpu.daemonsets.tolerations[0].value: operator Equal needs it",
        ),
        (
            {"timeSlicing": {"default": "foor", **shared()["timeSlicing"]}},
            (),
            'gpu.timeSlicing.default: there is no configuration "foor"; did you mean four?',
        ),
        (
            {"timeSlicing": {"default": "x"}},
            (),
            'gpu.timeSlicing.default: there is no configuration "x"; there are none.',
        ),
        (
            shared("nvidia.com/mig-1g.5g"),
            (),
            'gpu.timeSlicing.configs.four.resources["nvidia.com/mig-1g.5g"]: no GPU has such slices; did you mean '
            "nvidia.com/mig-1g.5gb?",
        ),
        (
            shared("nvidia.com/gpus"),
            (),
            'gpu.timeSlicing.configs.four.resources["nvidia.com/gpus"]: the device plugin does not share it; did you',
        ),
        (
            {**shared("nvidia.com/mig-1g.5gb"), "mig": {"strategy": "single"}},
            (),
            'gpu.timeSlicing.configs.four.resources["nvidia.com/mig-1g.5gb"]: inferstack:gpu.mig.strategy is single',
        ),
        (
            shared("nvidia.com/mig-1g.5gb"),
            (H200, L40S),
            'gpu.timeSlicing.configs.four.resources["nvidia.com/mig-1g.5gb"]: none of this stack\'s GPUs (H200, L40S)',
        ),
        (
            shared(),
            (GpuGroup("inferstack:cluster.fleet.a", "H200", {"nvidia.com/device-plugin.config": "for"}),),
            'cluster.fleet.a.labels["nvidia.com/device-plugin.config"]: there is no configuration "for" under',
        ),
    ],
)
def test_values_that_do_not_go_together(given: dict[str, Any], groups: tuple[GpuGroup, ...], message: str) -> None:
    assert refusal(given, *groups).startswith(f"inferstack:{message}")


@pytest.mark.parametrize(
    ("given", "groups", "kubernetes", "message"),
    [
        (
            {"driver": {"version": "535.309.01"}},
            (H200,),
            "1.34",
            "gpu.driver.version: driver 535.309.01 does not fit the H200 of inferstack:cluster.fleet.h200, which takes "
            "550.90.07 or later (NVIDIA MIG User Guide",
        ),
        ({"driver": {"version": "550.90.07"}}, (), "1.34", "gpu.driver.version: nothing is known of driver 550.90.07"),
        (
            {"driver": {"enabled": False, "version": "450"}},
            (A100,),
            "1.34",
            "gpu.driver.version: nothing is known of driv",
        ),
        (
            {},
            (),
            "1.30",
            f"cluster.aws.kubernetesVersion: Kubernetes 1.30 does not fit {OPERATOR}, which takes",
        ),
        (
            {},
            (),
            "1.37",
            f"cluster.aws.kubernetesVersion: Kubernetes 1.37 does not fit {OPERATOR}, which takes",
        ),
        (
            {"preflight": {"containerRuntime": "containerd://1.7.27"}},
            (),
            "1.34",
            f"gpu.preflight.containerRuntime: containerd 1.7.27 does not fit {OPERATOR}, which takes containerd",
        ),
        (
            {"preflight": {"containerRuntime": "docker://28.1.1"}},
            (),
            "1.34",
            f"gpu.preflight.containerRuntime: nothing is known of docker 28.1.1 with {OPERATOR}; ",
        ),
        (
            {"preflight": {"containerRuntime": "containerd://2.0.5"}, "cdi": {"nri": True}},
            (),
            "1.34",
            "gpu.preflight.containerRuntime: containerd 2.0.5 does not fit the plugin of cdi.nri, which takes ",
        ),
        (
            {"driver": {"kernelModuleType": "proprietary"}},
            (B200,),
            "1.34",
            "gpu.driver.kernelModuleType: proprietary does not fit the B200 of inferstack:cluster.fleet.b200, which",
        ),
        (
            {},
            (GpuGroup("inferstack:cluster.fleet.x", "X1", {}),),
            "1.34",
            "cluster.fleet.x: nothing is known of GPU X1 with this release; known to fit: A30, A100-SXM4-40GB, ",
        ),
    ],
)
def test_versions_that_do_not_fit(
    given: dict[str, Any], groups: tuple[GpuGroup, ...], kubernetes: str, message: str
) -> None:
    assert refusal(given, *groups, kubernetes=kubernetes).startswith(f"inferstack:{message}")


def test_all_that_is_wrong_is_told_at_once() -> None:
    wrong = {
        "driver": {"version": "535.309.01"},
        "timeSlicing": {"default": "x"},
        "cdi": {"nri": True, "enabled": False},
    }
    lines = refusal(wrong, H200, kubernetes="1.31").splitlines()
    assert [line.partition(": ")[0] for line in lines] == [
        "inferstack:gpu.cdi.nri",
        "inferstack:gpu.timeSlicing.default",
        "inferstack:cluster.aws.kubernetesVersion",
        "inferstack:gpu.driver.version",
    ]


def test_what_is_unknown_may_be_allowed_and_what_is_wrong_may_not() -> None:
    allowed = {"preflight": {"allowUnknown": True}}
    checked({"driver": {"version": "620.10.01"}, **allowed}, H200)
    assert "does not fit" in refusal({"driver": {"version": "545.29.06"}, **allowed}, H200)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"driver": {"enabled": False}, "toolkit": {"enabled": False}},
        {"driver": {"enabled": False, "version": "580"}},
        {"driver": {"version": "580.173.02", "rdma": {"enabled": True, "useHostMofed": True}}},
        {"preflight": {"containerRuntime": "containerd://2.1.4-k3s1"}, "cdi": {"nri": True}},
        {"preflight": {"containerRuntime": "cri-o://1.34.1"}},
        {"timeSlicing": {"default": "four", **shared()["timeSlicing"]}},
        shared("nvidia.com/mig-1g.5gb"),
        {**shared(), "mig": {"strategy": "single"}},
        {"daemonsets": {"tolerations": [{"key": "a", "operator": "Equal", "value": "b"}, {"key": "c"}]}},
    ],
)
def test_what_goes_together_is_taken(given: dict[str, Any]) -> None:
    checked(given, A100, H200, L40S)
    checked(given, A100, kubernetes=None)


EKS = replace(L40S, image="AL2023_x86_64_NVIDIA")


def test_where_the_image_brings_driver_and_toolkit_the_operator_installs_none() -> None:
    settled = settle(load_role("gpu", GpuSettings, None), [EKS])
    assert (settled.driver.enabled, settled.toolkit.enabled) == (False, False)
    values = make_charts(settled, monitored=True)["gpu-operator"]
    assert (values["driver"], values["toolkit"]) == ({"enabled": False}, {"enabled": False})
    asked = make_asked(settled, [EKS], kubernetes="1.35", kubernetes_key="k", operator_is_ours=True)
    # What the image has is held against its GPUs and images all the same.
    assert (asked.driver, asked.installs_driver) == ("580", False)
    check_gpu(settled, [EKS], kubernetes="1.35", kubernetes_key="k", operator_is_ours=True)


@pytest.mark.parametrize("part", ["driver", "toolkit"])
def test_a_part_that_the_image_brings_is_not_installed_a_second_time(part: str) -> None:
    message, of = refusal({part: {"enabled": True}}, EKS), "inferstack:cluster.aws.gpu.l40s (AL2023_x86_64_NVIDIA)"
    assert message.startswith(f"inferstack:gpu.{part}.enabled: the image of {of} brings the {part}")


def test_elsewhere_the_operator_installs_both_unless_told() -> None:
    for given, installs in ((None, True), ({"driver": {"enabled": False}}, False)):
        settled = settle(load_role("gpu", GpuSettings, given), [H200])
        assert settled.driver.installed is installs
        assert settled.toolkit.installed


def test_an_operator_that_is_there_installs_nothing_of_ours() -> None:
    checked({}, H200, kubernetes="1.30", is_ours=False)


def test_the_groups_of_a_fleet_and_of_node_groups_are_found() -> None:
    label = {"nvidia.com/device-plugin.config": "four"}
    fleet = {"a": {"instanceType": "p5en.48xlarge", "labels": label}, "b": {"instanceType": "m6i.2xlarge"}}
    aws = {"gpu": {"l40s": {"instanceTypes": ["g6e.xlarge"]}}}
    cluster = load_role("cluster", ClusterSettings, {"fleet": fleet, "aws": aws})
    assert gpu_groups(cluster) == [
        GpuGroup("inferstack:cluster.fleet.a", "H200", label),
        GpuGroup("inferstack:cluster.aws.gpu.l40s", "L40S", {}, "AL2023_x86_64_NVIDIA"),
    ]


def test_a_cluster_says_its_version_as_far_as_it_is_ours() -> None:
    cluster = load_role("cluster", ClusterSettings, {"aws": {"kubernetesVersion": "1.33"}})
    assert cluster.kubernetes(Place.AWS) == ("1.33", "inferstack:cluster.aws.kubernetesVersion")
    assert cluster.kubernetes(Place.EXISTING)[0] is None
    version, key = cluster.kubernetes(Place.LOCAL)
    assert version
    assert version.count(".") == 1
    assert key.startswith("versions.yaml")


def test_a_whole_stack_is_checked() -> None:
    fleet = {"h200": {"instanceType": "p5en.48xlarge"}}
    config = {"place": "local", "cluster": {"fleet": fleet}, "gpu": {"driver": {"version": "535.309.01"}}}
    with pytest.raises(UserError, match=r"^inferstack:gpu\.driver\.version: driver 535\.309\.01 does not fit the H200"):
        PlatformSettings.load(config)
