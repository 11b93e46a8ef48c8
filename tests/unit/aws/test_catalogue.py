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
    instance_types: dict[str, Any] = json.loads(gzip.decompress(path.read_bytes()))
    return instance_types


@pytest.fixture
def content() -> Any:
    """The parsed file."""
    return yaml.safe_load((importlib.resources.files("inferstack.aws") / "catalogue.yaml").read_text())


@pytest.mark.parametrize("name", catalogue.load().instance_types)
def test_instance_type_matches_ec2(name: str, described: dict[str, Any]) -> None:
    instance, row = catalogue.instance_type(name), described[name]
    network = row["NetworkInfo"]
    gpus = row.get("GpuInfo", {}).get("Gpus", [])
    disks = row.get("InstanceStorageInfo", {}).get("Disks", [])
    assert (instance.vcpus, instance.memory_mib) == (row["VCpuInfo"]["DefaultVCpus"], row["MemoryInfo"]["SizeInMiB"])
    assert instance.gpus == sum(part["Count"] for part in gpus)
    assert all(part["Name"] in (instance.gpu or "") for part in gpus)
    assert instance.network_cards == network["MaximumNetworkCards"]
    assert {part["MaximumNetworkInterfaces"] for part in network["NetworkCards"]} == {instance.interfaces_per_card}
    assert instance.efa == network.get("EfaInfo", {}).get("MaximumEfaInterfaces", 0)
    assert (instance.disks, {instance.disk_gb} - {0}) == (
        sum(part["Count"] for part in disks),
        {part["SizeInGB"] for part in disks},
    )
    assert instance.capacity_blocks == ("capacity-block" in row["SupportedUsageClasses"])


@pytest.mark.parametrize("name", sorted(catalogue.load().instance_types.keys() & mig.load().instance_types.keys()))
def test_instance_type_matches_rehearsal_catalogue(name: str) -> None:
    instance, simulated = catalogue.instance_type(name), mig.instance_type(name)
    assert (instance.vcpus, instance.gpu, instance.gpus, instance.efa) == (
        simulated.cpu,
        simulated.gpu,
        simulated.gpus,
        simulated.efa,
    )
    assert f"{instance.memory_mib // 1024}Gi" == simulated.memory


def test_efa_instance_has_two_interfaces_per_card() -> None:
    # Card 0 takes two: the node's own and an EFA-only one.
    assert all(
        instance.interfaces_per_card >= 2 for instance in catalogue.load().instance_types.values() if instance.efa
    )


def test_all_instance_types_are_confirmed() -> None:
    loaded = catalogue.load()
    assert all(row.confirmed for row in [*loaded.instance_types.values(), *loaded.releases.values()])


def test_releases_reach_end_of_support_in_order() -> None:
    releases = list(catalogue.load().releases.values())
    assert [release.standard for release in releases] == sorted(release.standard for release in releases)
    # EKS: twelve months of extended support follow.
    assert all(release.extended == release.standard.replace(year=release.standard.year + 1) for release in releases)


def test_unknown_instance_type_error_suggests_similar_names() -> None:
    with pytest.raises(UserError, match=r"unknown instance type 'p5.48xlrge': known are p5.48xlarge"):
        catalogue.instance_type("p5.48xlrge")


@pytest.mark.parametrize(
    ("change", "message"),
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
def test_invalid_catalogue_row_raises_error(content: Any, change: dict[str, Any], message: str) -> None:
    spoilt = copy.deepcopy(content)
    spoilt["instanceTypes"]["p5.48xlarge"] |= change
    with pytest.raises(ValueError, match=message):
        catalogue.parse(spoilt)
