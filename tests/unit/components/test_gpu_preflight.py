"""The table of what fits together, and how a request is held against it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.gpu import compatibility
from components.gpu.checks import make_asked
from components.gpu.preflight import Asked, Finding, State, at_least, examine, refusals
from components.gpu.settings import GpuSettings
from components.settings import load_role
from inferstack.api import runtimes
from inferstack.aws import catalogue as aws_catalogue
from inferstack.mig import catalogue
from inferstack.toolchain.charts import pins

TABLE = compatibility.load()
FILE = Path(compatibility.__file__).with_suffix(".yaml")


def asked(**over: Any) -> Asked:
    """Return what the defaults ask for, on one H200 node."""
    settings = load_role("gpu", GpuSettings, None)
    request = make_asked(settings, [], kubernetes="1.34", kubernetes_key="k", operator_is_ours=True)
    return replace(request, **{"gpus": {"fleet.h200": "H200"}, "runtime": "containerd://2.1.4", **over})


def finding_of(part: str, **over: Any) -> Finding:
    """Return the one check about ``part``."""
    (result,) = [finding for finding in examine(asked(**over), TABLE) if part in finding.part or part in finding.asked]
    return result


def test_the_defaults_fit_all_that_is_pinned() -> None:
    findings = examine(asked(), TABLE)
    assert {finding.state for finding in findings} == {State.OK}
    assert refusals(findings, allow_unknown=False) == []


def test_the_table_knows_what_this_release_pins_and_describes() -> None:
    assert pins()["gpu-operator"].version in TABLE.operators
    used = {runtime.image for runtime in runtimes.load().runtimes.values()}
    assert {row.reference for row in TABLE.images.values()} == used
    gpu_models = {machine.gpu for machine in aws_catalogue.load().instance_types.values() if machine.gpu}
    assert {*catalogue.load().gpus, *gpu_models} <= TABLE.gpus.keys()


def test_the_default_driver_is_one_that_the_operator_was_tested_with() -> None:
    for operator in TABLE.operators.values():
        assert operator.default_driver in operator.drivers.values()
        for branch, version in operator.drivers.items():
            assert version.startswith(f"{branch}.")
            assert branch in TABLE.branches


def test_the_simulated_driver_runs_all_simulated_gpus() -> None:
    simulated = catalogue.load().driver_version
    for gpu in catalogue.load().gpus:
        assert at_least(simulated, TABLE.gpus[gpu].driver), gpu


@pytest.mark.parametrize(
    ("version", "least", "fits"),
    [
        ("580.82.07", "580.82.07", True),
        ("580.82.06", "580.82.07", False),
        ("580.159.04", "580.82.07", True),
        ("595.58.03", "580.82.07", True),
        ("575.64.05", "580.82.07", False),
        ("595", "580.82.07", True),
        ("570", "580.82.07", False),
        # A branch alone does not tell.
        ("580", "580.82.07", None),
        ("580.82", "580.82.07", None),
        ("580.82.07", "580", True),
    ],
)
def test_versions_are_compared_by_their_numbers(version: str, least: str, fits: bool | None) -> None:
    assert at_least(version, least) is fits


@pytest.mark.parametrize(
    ("part", "over", "state"),
    [
        ("the H200", {"driver": "535.309.01"}, State.WRONG),
        ("the H200", {"driver": "550"}, State.UNKNOWN),
        ("the H200", {"driver": None, "installs_driver": False}, State.UNSTATED),
        ("CUDA 12.8 of docker.io", {"driver": "515.105.01"}, State.WRONG),
        ("CUDA 12.8 of docker.io", {"driver": "525"}, State.OK),
        ("CUDA 12.8 of docker.io", {"driver": None, "installs_driver": False}, State.UNSTATED),
        ("the image x", {"images": {"vllm": "x"}}, State.UNKNOWN),
        ("the image y", {"images": {"other": "y"}}, State.UNKNOWN),
        ("GPU X1", {"gpus": {"fleet.x": "X1"}}, State.UNKNOWN),
        ("Kubernetes", {"kubernetes": None}, State.UNSTATED),
        ("Kubernetes", {"kubernetes": "1.32"}, State.WRONG),
        ("Kubernetes", {"kubernetes": "1.36"}, State.OK),
        ("a container runtime", {"runtime": None}, State.UNSTATED),
        ("containerd 1.7.29", {"runtime": "containerd://1.7.29"}, State.WRONG),
        # Newer than the table is not wrong for that.
        ("containerd 2.4.0", {"runtime": "containerd://2.4.0"}, State.UNKNOWN),
        ("containerd 2.3.7-rc.1", {"runtime": "containerd://2.3.7-rc.1"}, State.OK),
        ("cri-o 1.30.2", {"runtime": "cri-o://1.30.2"}, State.OK),
        ("the plugin of cdi.nri", {"nri": True, "runtime": "cri-o://1.34.1"}, State.UNKNOWN),
        ("GPU operator v0", {"operator": "v0"}, State.UNKNOWN),
        ("the GPU operator", {"operator": None}, State.UNSTATED),
    ],
)
def test_a_request_is_held_against_the_table(part: str, over: dict[str, Any], state: State) -> None:
    assert finding_of(part, **over).state is state


def test_proprietary_modules_are_refused_where_the_gpu_does_not_know_them() -> None:
    mixed = {"fleet.a": "A100-SXM4-40GB", "fleet.b": "B200"}
    wrong = [finding for finding in examine(asked(gpus=mixed, proprietary=True), TABLE) if finding.state is State.WRONG]
    assert [(finding.key, finding.part) for finding in wrong] == [
        ("inferstack:gpu.driver.kernelModuleType", "the B200 of fleet.b")
    ]


def test_what_nobody_has_said_stops_nothing() -> None:
    silent = asked(driver=None, installs_driver=False, kubernetes=None, runtime=None, operator=None)
    findings = examine(silent, TABLE)
    assert {finding.state for finding in findings} == {State.UNSTATED}
    assert refusals(findings, allow_unknown=False) == []


def test_a_refusal_says_the_key_what_fits_and_who_says_so() -> None:
    wrong = finding_of("the H200", driver="535.309.01")
    assert wrong.sentence == (
        "inferstack:gpu.driver.version: driver 535.309.01 does not fit the H200 of fleet.h200, which takes 550.90.07 "
        f"or later ({TABLE.sources['mig-guide']})."
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("gpus", "H200", "source"), "not under sources: hearsay"),
        (("gpus", "H200", "driver"), "should match pattern"),
        (("images", "vllm", "cuda"), "should match pattern"),
        (("branches", "580", "oldest"), "Extra inputs are not permitted"),
    ],
)
def test_a_row_that_is_wrong_is_noticed(change: tuple[str, str, str], message: str) -> None:
    content = yaml.safe_load(FILE.read_text())
    part, row, field = change
    content[part][row][field] = "hearsay"
    with pytest.raises(ValueError, match=message):
        compatibility.parse(yaml.safe_dump(content))
