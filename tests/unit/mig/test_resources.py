"""The codec between MIG profiles and extended resources, on every resource that the CRD allows."""

from __future__ import annotations

import re

import pytest

from inferstack.api import constants
from inferstack.mig import catalogue
from inferstack.mig.resources import (
    GPU_RESOURCE,
    escape_profile,
    is_gpu,
    is_mig,
    mig_resource,
    profile_of,
    unescape_profile,
)

MIG_RESOURCES = [resource for resource in constants.GPU_RESOURCES if resource != GPU_RESOURCE]


@pytest.mark.parametrize("resource", MIG_RESOURCES)
def test_every_mig_resource_of_the_crd_is_decoded_to_a_profile_of_the_catalogue(resource: str) -> None:
    profile = profile_of(resource)
    assert profile in catalogue.profile_names()
    assert mig_resource(profile) == resource
    assert is_mig(resource)
    assert is_gpu(resource)
    assert re.fullmatch(constants.DEVICE_PATTERN, resource)


def test_no_two_profiles_share_a_resource() -> None:
    names = catalogue.profile_names()
    assert sorted(map(mig_resource, names)) == sorted(MIG_RESOURCES)
    assert len({mig_resource(name) for name in names}) == len(names) == 69


@pytest.mark.parametrize(
    ("resource", "profile"),
    [
        ("nvidia.com/gpu", "whole"),
        ("nvidia.com/mig-1g.5gb", "1g.5gb"),
        ("nvidia.com/mig-1g.5gb.me", "1g.5gb+me"),
        ("nvidia.com/mig-7g.141gb", "7g.141gb"),
        ("nvidia.com/mig-1g.24gb.me.all", "1g.24gb+me.all"),
        ("nvidia.com/mig-2g.48gb.gfx", "2g.48gb+gfx"),
        ("nvidia.com/mig-4g.96gb-me", "4g.96gb-me"),
    ],
)
def test_profile_of(resource: str, profile: str) -> None:
    assert profile_of(resource) == profile


def test_compute_instances_keep_their_prefix() -> None:
    assert unescape_profile(escape_profile("1c.3g.20gb+me")) == "1c.3g.20gb+me"


@pytest.mark.parametrize("resource", ["cpu", "nvidia.com/gpu.shared", "vpc.amazonaws.com/efa", "nvidia.com/gpu-x"])
def test_other_resources_are_no_gpus(resource: str) -> None:
    assert not is_gpu(resource)
