"""Time-slicing: the device plugin's file read and written, and what it makes of resources and labels."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferstack.mig import catalogue
from inferstack.mig.errors import ConfigError
from inferstack.mig.gpu_operator import gfd_labels
from inferstack.mig.layout import GpuState, mig_disabled
from inferstack.mig.sharing import Sharing, dump, parse, share, share_labels

GPU = "nvidia.com/gpu"
SLICE = "nvidia.com/mig-1g.5gb"
A100 = catalogue.gpu("A100-SXM4-40GB")
RESOURCES = st.sampled_from([GPU, *(profile.resource for profile in A100.profiles.values())])
CUT = GpuState(True, {"1g.5gb": 7})


@given(
    st.builds(
        Sharing,
        st.dictionaries(RESOURCES, st.integers(1, 64), min_size=1),
        rename=st.booleans(),
        fail_more_than_one=st.booleans(),
    )
)
def test_sharing_config_round_trip(sharing: Sharing) -> None:
    assert parse(dump(sharing, "mixed")) == sharing


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "no YAML: "),
        ("[]", "not a mapping"),
        ("version: v2", "version: 'v2' is not 'v1'"),
        ("sharing: [a]", "sharing: not a mapping"),
        ("sharing: {timeSlicing: {renameByDefault: true}}", "sharing.timeSlicing.resources: needs a list of at least"),
        ("sharing: {timeSlicing: {resources: []}}", "sharing.timeSlicing.resources: needs a list of at least one"),
        ("sharing: {timeSlicing: {resources: [{replicas: 2}]}}", "sharing.timeSlicing.resources[0].name: no resource"),
        (
            "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: 0}]}}",
            "sharing.timeSlicing.resources[0].replicas: 0 is not a number from 1",
        ),
        (
            "sharing: {timeSlicing: {resources: [{name: nvidia.com/gpu, replicas: true}]}}",
            "sharing.timeSlicing.resources[0].replicas: True is not a number from 1",
        ),
    ],
)
def test_invalid_sharing_config_is_refused(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("text", ["", "version: v1", "flags: {migStrategy: none}", "sharing: {}"])
def test_file_without_time_slicing_shares_nothing(text: str) -> None:
    assert parse(text) == Sharing()


@pytest.mark.parametrize(
    ("sharing", "advertised"),
    [
        (Sharing(), {GPU: 8, SLICE: 14}),
        (Sharing({GPU: 4}), {GPU: 32, SLICE: 14}),
        (Sharing({GPU: 4, SLICE: 2}), {GPU: 32, SLICE: 28}),
        (Sharing({GPU: 4}, rename=True), {f"{GPU}.shared": 32, SLICE: 14}),
        (Sharing({"nvidia.com/mig-2g.10gb": 2}), {GPU: 8, SLICE: 14}),
    ],
)
def test_device_is_offered_as_often_as_it_has_replicas(sharing: Sharing, advertised: dict[str, int]) -> None:
    assert share({GPU: 8, SLICE: 14}, sharing) == advertised


def labels(*states: GpuState, strategy: str = "mixed") -> dict[str, str]:
    """Return what GPU feature discovery writes without sharing."""
    return gfd_labels(catalogue.load(), A100, states, strategy, machine="p4d.24xlarge")  # type: ignore[arg-type]


def test_product_of_a_shared_gpu_says_so_and_a_renamed_one_does_not() -> None:
    plain = labels(*mig_disabled(8))
    shared = share_labels(plain, Sharing({GPU: 4}))
    changed = {key: value for key, value in shared.items() if plain.get(key) != value}
    assert changed == {
        "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-40GB-SHARED",
        "nvidia.com/gpu.replicas": "4",
        "nvidia.com/gpu.sharing-strategy": "time-slicing",
    }
    renamed = share_labels(plain, Sharing({GPU: 4}, rename=True))
    assert renamed["nvidia.com/gpu.product"] == plain["nvidia.com/gpu.product"]
    assert renamed["nvidia.com/gpu.replicas"] == "4"


def test_labels_distinguish_shared_slices_from_whole_gpus() -> None:
    shared = share_labels(labels(CUT, *mig_disabled(1)), Sharing({SLICE: 2}))
    assert shared["nvidia.com/mig-1g.5gb.product"] == "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb-SHARED"
    assert shared["nvidia.com/mig-1g.5gb.replicas"] == "2"
    assert shared["nvidia.com/gpu.product"] == "NVIDIA-A100-SXM4-40GB"
    assert shared["nvidia.com/gpu.replicas"] == "1"


def test_under_single_a_slice_carries_both_marks() -> None:
    shared = share_labels(labels(CUT, CUT, strategy="single"), Sharing({GPU: 2}))
    assert shared["nvidia.com/gpu.product"] == "NVIDIA-A100-SXM4-40GB-MIG-1g.5gb-SHARED"


@pytest.mark.parametrize("sharing", [Sharing(), Sharing({GPU: 1}), Sharing({SLICE: 2})])
def test_unshared_resources_keep_labels(sharing: Sharing) -> None:
    plain = labels(*mig_disabled(8))
    assert share_labels(plain, sharing) == plain


def test_gpus_that_are_all_cut_are_not_shared_as_whole_ones() -> None:
    plain = labels(CUT, CUT)
    assert plain["nvidia.com/gpu.replicas"] == "0"
    assert share_labels(plain, Sharing({GPU: 4})) == plain
