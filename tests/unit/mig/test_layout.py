"""From layouts to resources and labels."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from inferstack.mig import catalogue
from inferstack.mig.errors import LayoutError
from inferstack.mig.gpu_operator import gfd_labels, operator_labels
from inferstack.mig.layout import (
    AdvertisedResources,
    GpuState,
    Strategy,
    advertised_resources,
    apply_layout,
    dump_states,
    load_states,
    mig_disabled,
)
from inferstack.mig.mig_parted import Rule

A100 = catalogue.gpu("A100-SXM4-40GB")


def cut(**profiles: int) -> GpuState:
    """``cut(_1g_5gb=7)``."""
    names = {key[1:].replace("_", ".").replace(".me", "+me"): count for key, count in profiles.items()}
    return GpuState(True, MappingProxyType(names))


WHOLE = GpuState()
EMPTY = GpuState(True)


def test_entries_act_in_order_and_leave_others_alone() -> None:
    layout = (
        Rule(True, None, (), {"1g.5gb": 7}),
        Rule(False, (1,)),
        Rule(True, (2, 9), (), {"3g.20gb": 2, "1g.5gb": 0}),
    )
    assert apply_layout(layout, A100, mig_disabled(3)) == (cut(_1g_5gb=7), WHOLE, cut(_3g_20gb=2))
    only_first = (Rule(True, (0,), (), {"7g.40gb": 1}),)
    assert apply_layout(only_first, A100, (WHOLE, cut(_1g_5gb=7))) == (cut(_7g_40gb=1), cut(_1g_5gb=7))


def test_layout_for_other_gpus_is_an_error() -> None:
    with pytest.raises(LayoutError, match=r"no entry of the layout matches 8 x A100-SXM4-40GB"):
        apply_layout((Rule(False, None, ("0x233010DE",)),), A100, mig_disabled(8))
    with pytest.raises(LayoutError, match=r"no MIG profile '1g.18gb'"):
        apply_layout((Rule(True, None, (), {"1g.18gb": 1}),), A100, mig_disabled(8))


@pytest.mark.parametrize(
    ("strategy", "states", "resources"),
    [
        ("none", mig_disabled(8), {"nvidia.com/gpu": 8}),
        ("single", mig_disabled(8), {"nvidia.com/gpu": 8}),
        ("mixed", mig_disabled(8), {"nvidia.com/gpu": 8}),
        ("none", (cut(_1g_5gb=7),) * 2, {"nvidia.com/gpu": 2}),
        ("single", (cut(_1g_5gb=7),) * 2, {"nvidia.com/gpu": 14}),
        ("mixed", (cut(_1g_5gb=7),) * 2, {"nvidia.com/mig-1g.5gb": 14}),
        ("mixed", (WHOLE, cut(_1g_5gb_me=1)), {"nvidia.com/gpu": 1, "nvidia.com/mig-1g.5gb.me": 1}),
        (
            "mixed",
            (cut(_1g_5gb=2, _2g_10gb=1, _3g_20gb=1),) * 8,
            {"nvidia.com/mig-1g.5gb": 16, "nvidia.com/mig-2g.10gb": 8, "nvidia.com/mig-3g.20gb": 8},
        ),
        ("none", (EMPTY, WHOLE), {"nvidia.com/gpu": 2}),
    ],
)
def test_resources(strategy: Strategy, states: tuple[GpuState, ...], resources: dict[str, int]) -> None:
    assert advertised_resources(A100, states, strategy) == AdvertisedResources(resources, resources)


@pytest.mark.parametrize(
    ("strategy", "states", "problem"),
    [
        ("single", (WHOLE, cut(_1g_5gb=7)), "same migEnabled value"),
        ("single", (cut(_3g_20gb=2), cut(_1g_5gb=7)), "more than one MIG device type"),
        ("single", (cut(_3g_20gb=1, _1g_5gb=1),), "more than one MIG device type"),
        ("single", (EMPTY,), "no MIG device"),
        ("mixed", (EMPTY, WHOLE), "no MIG device"),
    ],
)
def test_inconsistent_mig_state_advertises_nothing(
    strategy: Strategy, states: tuple[GpuState, ...], problem: str
) -> None:
    advertised = advertised_resources(A100, states, strategy)
    assert (advertised.capacity, advertised.allocatable) == ({}, {})
    assert problem in (advertised.problem or "")


def test_lost_gpus_reduce_allocatable_only() -> None:
    advertised = advertised_resources(A100, (WHOLE, cut(_1g_5gb=7), cut(_1g_5gb=7)), "mixed", lost={0, 2})
    assert advertised.capacity == {"nvidia.com/gpu": 1, "nvidia.com/mig-1g.5gb": 14}
    assert advertised.allocatable == {"nvidia.com/gpu": 0, "nvidia.com/mig-1g.5gb": 7}


def test_mig_states_round_trip() -> None:
    states = (WHOLE, EMPTY, cut(_1g_5gb=2, _3g_20gb=1))
    assert dump_states(states) == '[null,{},{"1g.5gb":2,"3g.20gb":1}]'
    assert load_states(dump_states(states)) == states
    for text in ("", "{}x", "[1]", '[{"1g.5gb":"x"}]'):
        with pytest.raises(LayoutError, match="is not a list of GPU states"):
            load_states(text)


def _labels(states: tuple[GpuState, ...], strategy: Strategy) -> dict[str, str]:
    labels = gfd_labels(catalogue.load(), A100, states, strategy, machine="p4d.24xlarge")
    shown = ("nvidia.com/gpu.", "nvidia.com/mig")
    hidden = ("engines", "compute", "family", "machine", "mode", "sharing")
    return {k: v for k, v in labels.items() if k.startswith(shown) and not any(part in k for part in hidden)}


_FULL = {
    "nvidia.com/gpu.count": "8",
    "nvidia.com/gpu.memory": "40960",
    "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB",
    "nvidia.com/gpu.replicas": "1",
    "nvidia.com/mig.capable": "true",
}
_INVALID = {
    "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB-MIG-INVALID",
    "nvidia.com/gpu.count": "0",
    "nvidia.com/gpu.memory": "0",
    "nvidia.com/gpu.replicas": "0",
}


@pytest.mark.parametrize(
    ("strategy", "states", "expected"),
    [
        ("none", mig_disabled(8), _FULL),
        ("none", (cut(_1g_5gb=7),) * 8, {**_FULL, "nvidia.com/gpu.replicas": "0"}),
        ("single", mig_disabled(8), {**_FULL, "nvidia.com/mig.strategy": "single"}),
        (
            "single",
            (cut(_1g_5gb=7),) * 8,
            {
                **_FULL,
                "nvidia.com/mig.strategy": "single",
                "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb",
                "nvidia.com/gpu.count": "56",
                "nvidia.com/gpu.memory": "4864",
                "nvidia.com/gpu.multiprocessors": "14",
                "nvidia.com/gpu.slices.ci": "1",
                "nvidia.com/gpu.slices.gi": "1",
            },
        ),
        (
            "single",
            (cut(_1g_5gb=7),) * 7 + (WHOLE,),
            {**_FULL, **_INVALID, "nvidia.com/mig.strategy": "single"},
        ),
        (
            "mixed",
            (cut(_3g_20gb=2),) * 2 + (WHOLE,) * 6,
            {
                **_FULL,
                "nvidia.com/mig.strategy": "mixed",
                "nvidia.com/mig-3g.20gb.count": "4",
                "nvidia.com/mig-3g.20gb.memory": "19968",
                "nvidia.com/mig-3g.20gb.multiprocessors": "42",
                "nvidia.com/mig-3g.20gb.product": "NVIDIA-A100-SXM4-40GB-MIG-3g.20gb",
                "nvidia.com/mig-3g.20gb.replicas": "1",
                "nvidia.com/mig-3g.20gb.slices.ci": "3",
                "nvidia.com/mig-3g.20gb.slices.gi": "3",
            },
        ),
    ],
)
def test_feature_discovery_labels(strategy: Strategy, states: tuple[GpuState, ...], expected: dict[str, str]) -> None:
    assert _labels(states, strategy) == expected


def test_labels_that_do_not_depend_on_the_layout() -> None:
    labels = gfd_labels(catalogue.load(), A100, mig_disabled(8), "single", machine="p4d.24xlarge")
    assert labels["nvidia.com/gpu.machine"] == "p4d.24xlarge"
    assert labels["nvidia.com/gpu.compute.major"] == "8"
    assert labels["nvidia.com/gpu.family"] == "ampere"
    assert labels["nvidia.com/cuda.driver-version.full"] == ".".join(
        labels[f"nvidia.com/cuda.driver.{part}"] for part in ("major", "minor", "rev")
    )


def test_mig_manager_pauses_the_gpus_clients() -> None:
    paused = {key for key, value in operator_labels(paused=True).items() if value == "paused-for-mig-change"}
    assert paused == {
        f"nvidia.com/gpu.deploy.{name}" for name in ("dcgm", "dcgm-exporter", "device-plugin", "gpu-feature-discovery")
    }
    assert "nvidia.com/gpu.deploy.mig-manager" not in operator_labels(paused=False, mig_manager=False)
