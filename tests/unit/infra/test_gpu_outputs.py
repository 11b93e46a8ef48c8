"""What the host tests read out of the answers of NVIDIA's tools.

The answers of the H100 were taken on one (driver 580.159.04), its UUID replaced; those with MIG devices are in the form
of the MIG user guide.
"""

from __future__ import annotations

from collections import Counter

import pytest

from inferstack.mig.layout import make_mig_parted_config
from inferstack.mig.mig_parted import Layout, dump_config, parse_config
from tests.infra import nvidia

WHOLE = "GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-00000000-1111-2222-3333-444444444444)\n"
CUT = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a77)
  MIG 3g.20gb     Device  0: (UUID: MIG-c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f)
  MIG 1g.5gb      Device  1: (UUID: MIG-cba663e8-9bed-5b25-b243-5985ef7c9beb)
  MIG 1g.5gb+me   Device  2: (UUID: MIG-1e3a3a3c-1d1d-5b25-b243-5985ef7c9beb)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-5d5ba0d6-d33d-2b2c-524d-9e3d8d2b8a78)
"""
QUERY = "0, NVIDIA H100 80GB HBM3, 580.159.04, Disabled, Disabled\n"
MODULE = """\
NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.159.04  Release Build  (nixbld@)
GCC version:  gcc version 15.3.0 (GCC)
"""
CLOSED = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.309.01  Fri Mar  6 01:02:03 UTC 2026\n"


def layout(name: str) -> Layout:
    return parse_config(dump_config(make_mig_parted_config()))[name]


def a100(*, mig: bool, pending: bool | None = None, count: int = 1) -> list[nvidia.Gpu]:
    after = mig if pending is None else pending
    return [nvidia.Gpu(index, "NVIDIA A100-SXM4-40GB", "580.159.04", mig, after) for index in range(count)]


def test_a_gpu_as_the_driver_sees_it() -> None:
    (gpu,) = nvidia.read_gpus(QUERY)
    assert gpu == nvidia.Gpu(0, "NVIDIA H100 80GB HBM3", "580.159.04", mig=False, pending=False)
    assert gpu.model
    assert gpu.model.name == "H100-80GB-HBM3"


def test_mig_mode_on_pending_and_unknown() -> None:
    text = "0, NVIDIA A100-SXM4-40GB, 580.159.04, Enabled, Enabled\n1, NVIDIA L40S, 580.159.04, [N/A], [N/A]\n"
    cut, plain = nvidia.read_gpus(text)
    assert (cut.mig, cut.pending, plain.mig, plain.pending) == (True, True, False, False)
    assert plain.model is None


def test_mig_devices_are_counted_by_gpu_and_profile() -> None:
    assert nvidia.read_instances(WHOLE) == {0: Counter()}
    assert nvidia.read_instances(CUT) == {0: Counter({"3g.20gb": 1, "1g.5gb": 1, "1g.5gb+me": 1}), 1: Counter()}


@pytest.mark.parametrize("text", ["No devices found.", f"{WHOLE}something else", f"  MIG 1g.5gb\n{WHOLE}"])
def test_an_answer_of_another_form_is_not_taken_for_no_devices(text: str) -> None:
    with pytest.raises(ValueError, match="is no line of nvidia-smi -L"):
        nvidia.read_instances(text)


def test_the_version_and_kind_of_the_kernel_module() -> None:
    assert nvidia.read_module(MODULE) == nvidia.Module("580.159.04", open=True)
    assert nvidia.read_module(CLOSED) == nvidia.Module("535.309.01", open=False)
    with pytest.raises(ValueError, match="names no version"):
        nvidia.read_module("NVRM version: none\n")


@pytest.mark.parametrize(
    ("gpus", "instances", "name", "differences"),
    [
        (a100(mig=False), {0: Counter()}, "all-disabled", []),
        (a100(mig=True), {0: Counter({"1g.5gb": 7})}, "all-1g.5gb", []),
        (
            a100(mig=True),
            {0: Counter({"1g.5gb": 6})},
            "all-1g.5gb",
            ["GPU 0: has 6 x 1g.5gb, the layout wants 7 x 1g.5gb"],
        ),
        (a100(mig=True), {}, "all-1g.5gb", ["GPU 0: has MIG on and no instance, the layout wants 7 x 1g.5gb"]),
        (a100(mig=False), {}, "all-1g.5gb", ["GPU 0: has MIG off, the layout wants 7 x 1g.5gb"]),
        (
            a100(mig=False, pending=True),
            {},
            "all-disabled",
            ["GPU 0: MIG mode changes with the next reset only"],
        ),
        (
            a100(mig=True, count=2),
            {0: Counter({"1g.5gb": 7}), 1: Counter({"7g.40gb": 1})},
            "all-1g.5gb",
            ["GPU 1: has 1 x 7g.40gb, the layout wants 7 x 1g.5gb"],
        ),
        (
            [nvidia.Gpu(0, "NVIDIA L40S", "580.159.04", mig=False, pending=False)],
            {},
            "all-1g.5gb",
            ["cannot be planned for: NVIDIA L40S"],
        ),
    ],
)
def test_gpus_are_held_against_a_layout(
    gpus: list[nvidia.Gpu], instances: dict[int, Counter[str]], name: str, differences: list[str]
) -> None:
    assert list(nvidia.unlike_layout(gpus, instances, layout(name))) == differences
