"""The catalogue: against the reference tables where they are at hand, and its own checks."""

from __future__ import annotations

import copy
import importlib.resources
from collections.abc import Callable
from typing import Any

import pytest
import yaml

from inferstack.mig import catalogue
from inferstack.mig.errors import CatalogueError
from inferstack.project import project_root

REFERENCE = project_root().parent / "shared" / "reference" / "data"
BOARDS = {
    "A100-SXM4-40GB": "A100-40GB",
    "A100-SXM4-80GB": "A100-80GB",
    "H100-80GB-HBM3": "H100-80GB",
    "H200": "H200-141GB",
}


@pytest.fixture
def content() -> Any:
    return yaml.safe_load((importlib.resources.files("inferstack.mig") / "catalogue.yaml").read_text())


@pytest.mark.parametrize(("name", "board"), BOARDS.items())
def test_agrees_with_the_reference_tables(name: str, board: str) -> None:
    path = REFERENCE / "mig_profiles.yaml"
    if not path.exists():
        pytest.skip("the reference tables are not beside this checkout")
    reference = next(entry for entry in yaml.safe_load(path.read_text())["gpus"] if entry["gpu"] == board)
    model = catalogue.gpu(name)
    assert set(model.pci_device_ids) <= set(reference["pci_ids"])
    assert (model.memory_slices, model.compute_slices) == (reference["axis"], reference["compute_axis"])
    assert list(model.profiles) == [row["profile"] for row in reference["profiles"]]
    for row in reference["profiles"]:
        ours = model.profile(row["profile"])
        assert (ours.gi_id, ours.compute_slices, ours.memory_slices, list(ours.starts), ours.max_count) == (
            row["gi_profile_id"],
            row["compute_slices"],
            row["placements"]["size"],
            row["placements"]["starts"],
            row["max_instances"],
        )
        if row["sm_count"] is not None:
            assert ours.multiprocessors == row["sm_count"]
        if row["memory_mb"] is not None:  # the reference rounds GiB to hundredths, and took 4g from 3g unseen
            assert abs(ours.memory_mib - row["memory_mb"]) <= 256


def test_profiles_name_their_memory() -> None:
    # The name rounds the memory of the slices up to the board's marketing size; it is never far off.
    for model in catalogue.load().gpus.values():
        for profile in model.profiles.values():
            named = int(profile.name.partition(".")[2].partition("gb")[0])
            assert 0.85 <= profile.memory_mib / 1024 / named <= 1.0


def test_profile_names() -> None:
    names = catalogue.profile_names()
    assert names[:4] == ("1g.5gb", "1g.5gb+me", "1g.10gb", "1g.10gb+me")
    assert names[-1] == "7g.141gb"
    assert len(names) == len(set(names)) == 20


def test_all_rows_are_confirmed() -> None:
    rows = [profile for model in catalogue.load().gpus.values() for profile in model.profiles.values()]
    assert all(row.confirmed for row in rows)


def test_instance_types_name_known_gpus() -> None:
    assert catalogue.instance_type("p4d.24xlarge").gpu == "A100-SXM4-40GB"
    assert catalogue.instance_type("p5en.48xlarge").efa == 16
    assert catalogue.instance_type("m6i.2xlarge").gpus == 0


def test_unknown_names_tell_near_ones() -> None:
    with pytest.raises(CatalogueError, match=r"unknown GPU 'A100-SXM4-40G': known are A100-SXM4-40GB"):
        catalogue.gpu("A100-SXM4-40G")
    with pytest.raises(CatalogueError, match=r"unknown instance type 'p5.24xlarge': .*p5\.48xlarge"):
        catalogue.instance_type("p5.24xlarge")
    with pytest.raises(CatalogueError, match=r"H200 has no MIG profile '1g.5gb': it has 1g.18gb"):
        catalogue.gpu("H200").profile("1g.5gb")


def _set(*path: str, value: Any) -> Callable[[Any], None]:
    def change(content: Any) -> None:
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return change


_P = ("gpus", "H200", "profiles", "1g.18gb")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("version", value=2), r"catalogue.version: 2 is not 1"),
        (_set("gpuz", value={}), r"catalogue: unknown field gpuz"),
        (lambda c: c.pop("sources"), r"catalogue: lacks sources"),
        (
            _set(*_P, "starts", value=[0, 1, 2, 3, 4, 5, 8]),
            r"1g.18gb.starts: an instance would end beyond the axis of 8",
        ),
        (_set(*_P, "starts", value=[2, 0]), r"1g.18gb.starts: \[2, 0\] is not a rising list"),
        (_set(*_P, "max_count", value=9), r"1g.18gb.max_count: 9 is not a whole number from 1 to 7"),
        (_set(*_P, "compute_slices", value=2), r"1g.18gb.compute_slices: 2 contradicts the name"),
        (_set(*_P, "memory_mib", value=999999), r"1g.18gb.memory_mib: 999999 exceeds the GPU's 143771"),
        (_set(*_P, "source", value="hearsay"), r"1g.18gb.source: 'hearsay' is not under sources"),
        (_set(*_P, "confirmed", value="yes"), r"1g.18gb.confirmed: 'yes' is not true or false"),
        (_set(*_P, "engines", "ofa", value=-1), r"engines.ofa: -1 is not a whole number"),
        (_set("gpus", "H200", "profiles", "small", value={}), r"profiles.small: lacks compute_slices"),
        (_set("gpus", "H200", "pci_device_ids", value=["0x1"]), r"pci_device_ids: '0x1' is not 0xDDDD10DE"),
        (_set("instance_types", "m6i.2xlarge", "gpu", value="H300"), r"m6i.2xlarge.gpu: 'H300' is not under gpus"),
        (_set("instance_types", "p5.48xlarge", "gpus", value=0), r"p5.48xlarge.gpus: 0 contradicts gpu"),
        (_set("instance_types", "p5.48xlarge", "memory", value="2T"), r"p5.48xlarge.memory: '2T' is not a quantity"),
        (_set("instance_types", "p5.48xlarge", "unconfirmed", value=["x"]), r"unconfirmed: x is no field"),
    ],
)
def test_refuses_a_wrong_catalogue(content: Any, change: Callable[[Any], None], message: str) -> None:
    changed = copy.deepcopy(content)
    change(changed)
    with pytest.raises(CatalogueError, match=message):
        catalogue.parse(changed)
