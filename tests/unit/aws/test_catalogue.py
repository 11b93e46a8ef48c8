"""Instance types and releases: against what EC2 says of itself, and the catalogue's own checks."""

from __future__ import annotations

import copy
import gzip
import importlib.resources
import json
from pathlib import Path
from typing import Any

import moto
import pytest
import yaml

from inferstack.aws import catalogue
from inferstack.errors import UserError
from inferstack.mig import catalogue as mig


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    """EC2's answers to DescribeInstanceTypes, as moto carries them."""
    path = Path(moto.__file__).parent / "ec2" / "resources" / "instance_types.json.gz"
    found: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
    return found


@pytest.fixture
def content() -> Any:
    """The parsed file."""
    return yaml.safe_load((importlib.resources.files("inferstack.aws") / "catalogue.yaml").read_text())


@pytest.mark.parametrize("name", catalogue.load().instance_types)
def test_a_row_says_what_ec2_says(name: str, described: dict[str, Any]) -> None:
    ours, row = catalogue.instance_type(name), described[name]
    network = row["NetworkInfo"]
    gpus = row.get("GpuInfo", {}).get("Gpus", [])
    disks = row.get("InstanceStorageInfo", {}).get("Disks", [])
    assert (ours.vcpus, ours.memory_mib) == (row["VCpuInfo"]["DefaultVCpus"], row["MemoryInfo"]["SizeInMiB"])
    assert ours.gpus == sum(one["Count"] for one in gpus)
    assert all(one["Name"] in (ours.gpu or "") for one in gpus)
    assert ours.network_cards == network["MaximumNetworkCards"]
    assert {one["MaximumNetworkInterfaces"] for one in network["NetworkCards"]} == {ours.interfaces_per_card}
    assert ours.efa == network.get("EfaInfo", {}).get("MaximumEfaInterfaces", 0)
    assert (ours.disks, {ours.disk_gb} - {0}) == (
        sum(one["Count"] for one in disks),
        {one["SizeInGB"] for one in disks},
    )
    assert ours.capacity_blocks == ("capacity-block" in row["SupportedUsageClasses"])


@pytest.mark.parametrize("name", sorted(catalogue.load().instance_types.keys() & mig.load().instance_types.keys()))
def test_it_agrees_with_the_catalogue_of_the_rehearsal(name: str) -> None:
    ours, theirs = catalogue.instance_type(name), mig.instance_type(name)
    assert (ours.vcpus, ours.gpu, ours.gpus, ours.efa) == (theirs.cpu, theirs.gpu, theirs.gpus, theirs.efa)
    assert f"{ours.memory_mib // 1024}Gi" == theirs.memory


def test_an_efa_fits_beside_the_ordinary_interface() -> None:
    # Card 0 takes two: the node's own and an EFA-only one.
    assert all(one.interfaces_per_card >= 2 for one in catalogue.load().instance_types.values() if one.efa)


def test_all_rows_are_confirmed() -> None:
    loaded = catalogue.load()
    assert all(row.confirmed for row in [*loaded.instance_types.values(), *loaded.releases.values()])


def test_releases_end_in_their_order() -> None:
    releases = list(catalogue.load().releases.values())
    assert [one.standard for one in releases] == sorted(one.standard for one in releases)
    # EKS: twelve months of extended support follow.
    assert all(one.extended == one.standard.replace(year=one.standard.year + 1) for one in releases)


def test_an_unknown_type_is_told_with_near_ones() -> None:
    with pytest.raises(UserError, match=r"unknown instance type 'p5.48xlrge': known are p5.48xlarge"):
        catalogue.instance_type("p5.48xlrge")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"gpus": 0}, "contradict each other"),
        ({"diskGb": 0}, "contradict each other"),
        ({"efa": 33}, "33 EFA interfaces on 32 cards"),
        ({"gpu": "H300"}, "H300 is neither"),
        ({"source": "hearsay"}, "hearsay is not under sources"),
        ({"family": "X"}, "family"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_row_that_cannot_be_is_refused(content: Any, change: dict[str, Any], said: str) -> None:
    spoilt = copy.deepcopy(content)
    spoilt["instanceTypes"]["p5.48xlarge"] |= change
    with pytest.raises(ValueError, match=said):
        catalogue.parse(spoilt)
