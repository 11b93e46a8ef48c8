"""The catalogue: against the reference tables where they are at hand, and its own checks."""

from __future__ import annotations

import copy
import dataclasses
import importlib.resources
import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from inferstack.mig import catalogue
from inferstack.mig.catalogue import Gpu, Profile
from inferstack.mig.consistency import max_instances
from inferstack.mig.errors import CatalogueError
from tests import reference

BOARDS = {
    "A30": "A30-24GB",
    "A100-SXM4-40GB": "A100-40GB",
    "A100-SXM4-80GB": "A100-80GB",
    "H100-80GB-HBM3": "H100-80GB",
    "H100-NVL": "H100-NVL-94GB",
    "H100-96GB": "H100-96GB/GH200-96GB/H20",
    "GH200-96GB": "H100-96GB/GH200-96GB/H20",
    "GH200-144GB": "GH200-144GB",
    "H200": "H200-141GB",
    "B200": "B200-180GB",
    "GB200": "GB200-186GB",
    "B300": "B300",
    "RTX-PRO-6000": "RTX-PRO-6000-96GB",
}
OTHER_MEMORY = {("B200", "1g.23gb"), ("B200", "1g.23gb+me")} | {
    (board, name) for board in ("A30", "RTX-PRO-6000") for name in catalogue.gpu(board).profiles
}
"""Rows of which the reference has what another driver printed, or, of the A30, a mock's rounding."""


@pytest.fixture(scope="module")
def content() -> Any:
    return yaml.safe_load((importlib.resources.files("inferstack.mig") / "catalogue.yaml").read_text())


@pytest.mark.reference
@pytest.mark.parametrize(("name", "gpu_model"), BOARDS.items())
def test_agrees_with_the_reference_tables(name: str, gpu_model: str) -> None:
    rows = yaml.safe_load(reference.file("data", "mig_profiles.yaml").read_text())["gpus"]
    table = next(entry for entry in rows if entry["gpu"] == gpu_model)
    model = catalogue.gpu(name)
    assert set(model.pci_device_ids) <= set(table["pci_ids"])
    assert (model.memory_slices, model.compute_slices) == (table["axis"], table["compute_axis"])
    assert list(model.profiles) == [row["profile"] for row in table["profiles"]]
    for row in table["profiles"]:
        profile = model.profile(row["profile"])
        assert (
            profile.gi_id,
            profile.compute_slices,
            profile.memory_slices,
            list(profile.starts),
            profile.max_count,
        ) == (
            row["gi_profile_id"],
            row["compute_slices"],
            row["placements"]["size"],
            row["placements"]["starts"],
            row["max_instances"],
        )
        if row["sm_count"] is not None:
            assert profile.multiprocessors == row["sm_count"]
        if (
            row["memory_mb"] is not None and (name, profile.name) not in OTHER_MEMORY
        ):  # the reference rounds GiB to hundredths, and took 4g from 3g unseen
            assert abs(profile.memory_mib - row["memory_mb"]) <= 256


def test_catalogue_has_every_listed_gpu() -> None:
    assert list(catalogue.load().gpus) == list(BOARDS)


def test_profile_names() -> None:
    names = catalogue.profile_names()
    assert names[:4] == ("1g.5gb", "1g.5gb+me", "1g.6gb", "1g.6gb+me")
    assert [name for name in names if name.startswith("1g.24gb")] == [
        "1g.24gb",
        "1g.24gb+me",
        "1g.24gb+gfx",
        "1g.24gb+me.all",
        "1g.24gb-me",
    ]
    assert names[-1] == "7g.269gb"
    assert len(names) == len(set(names)) == 69


def test_rows_from_driver_output_are_confirmed() -> None:
    unseen = {
        model.name: sorted({field for row in model.profiles.values() for field in row.unseen})
        for model in catalogue.load().gpus.values()
    }
    assert [name for name, fields in unseen.items() if not fields] == [
        "A30",
        "A100-SXM4-40GB",
        "A100-SXM4-80GB",
        "H100-80GB-HBM3",
        "H100-NVL",
        "H200",
        "RTX-PRO-6000",
    ]
    assert unseen["GH200-96GB"] == ["starts"]
    assert all("starts" in fields for fields in unseen.values() if fields)


# `nvidia-smi mig -lgip` and `-lgipp` of the cards of the catalogue's sources: id, name, instances, GiB, SM, CE, DEC,
# ENC, JPEG, OFA; starts and size.
H100_READ = """
19 1g.10gb    7 9.75  16  1 1 0 1 0 {0,1,2,3,4,5,6}:1
20 1g.10gb+me 1 9.75  16  1 1 0 1 1 {0,1,2,3,4,5,6}:1
15 1g.20gb    4 19.62 26  1 1 0 1 0 {0,2,4,6}:2
14 2g.20gb    3 19.62 32  2 2 0 2 0 {0,2,4}:2
 9 3g.40gb    2 39.50 60  3 3 0 3 0 {0,4}:4
 5 4g.40gb    1 39.50 64  4 4 0 4 0 {0}:4
 0 7g.80gb    1 79.25 132 8 7 0 7 1 {0}:8
"""
H200_READ = """
19 1g.18gb    7 16.00  16  1 1 0 1 0 {0,1,2,3,4,5,6}:1
20 1g.18gb+me 1 16.00  16  1 1 0 1 1 {0,1,2,3,4,5,6}:1
15 1g.35gb    4 32.50  26  1 1 0 1 0 {0,2,4,6}:2
14 2g.35gb    3 32.50  32  2 2 0 2 0 {0,2,4}:2
 9 3g.71gb    2 69.75  60  3 3 0 3 0 {0,4}:4
 5 4g.71gb    1 69.75  64  4 4 0 4 0 {0}:4
 0 7g.141gb   1 140.00 132 8 7 0 7 1 {0}:8
"""


@pytest.mark.parametrize(("name", "read"), [("H100-80GB-HBM3", H100_READ), ("H200", H200_READ)])
def test_rows_match_driver_output(name: str, read: str) -> None:
    printed = [
        [
            row.gi_id,
            row.name,
            row.max_count,
            math.floor(row.memory_mib / 1024 * 100) / 100,  # nvidia-smi cuts 19.625 to 19.62
            row.multiprocessors,
            *(row.engines[kind] for kind in ("copy", "decoder", "encoder", "jpeg", "ofa")),
            f"{{{','.join(map(str, row.starts))}}}:{row.memory_slices}",
        ]
        for row in catalogue.gpu(name).profiles.values()
    ]
    rows = [line.split() for line in read.strip().splitlines()]
    assert printed == [[int(i), n, int(k), float(gib), *map(int, rest), at] for i, n, k, gib, *rest, at in rows]


def test_instance_types_name_known_gpus() -> None:
    assert catalogue.instance_type("p4d.24xlarge").gpu == "A100-SXM4-40GB"
    assert catalogue.instance_type("p5en.48xlarge").efa == 16
    assert catalogue.instance_type("m6i.2xlarge").gpus == 0


def test_unknown_names_suggest_similar_ones() -> None:
    with pytest.raises(CatalogueError, match=r"unknown GPU 'A100-SXM4-40G': known are A100-SXM4-40GB"):
        catalogue.gpu("A100-SXM4-40G")
    with pytest.raises(CatalogueError, match=r"unknown GPU 'gh200': known are GH200-96GB, GH200-144GB$"):
        catalogue.gpu("gh200")
    with pytest.raises(CatalogueError, match=r"unknown GPU 'V100': known are A100-SXM4-40GB, A100-SXM4-80GB"):
        catalogue.gpu("V100")
    with pytest.raises(CatalogueError, match=r"unknown GPU '': known are A100-SXM4-40GB, A100-SXM4-80GB, A30, B200"):
        catalogue.gpu("")
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


def _all(gpu: str, slices: int, mib: int) -> Callable[[Any], None]:
    """Return a change of the memory of all profiles with that many slices."""

    def change(content: Any) -> None:
        for row in content["gpus"][gpu]["profiles"].values():
            if row["memory_slices"] == slices:
                row["memory_mib"] = mib

    return change


def _renamed(content: Any) -> None:
    """Give the halves of an H200 a name and a memory below those of its quarters."""
    profiles = content["gpus"]["H200"]["profiles"]
    for name in ("3g.71gb", "4g.71gb"):
        profiles[f"{name[:3]}30gb"] = {**profiles.pop(name), "memory_mib": 30000}


_ROW = {
    "gi_id": 99,
    "compute_slices": 7,
    "memory_slices": 4,
    "starts": [0],
    "max_count": 1,
    "memory_mib": 24000,
    "multiprocessors": 1,
    "engines": {"copy": 0, "decoder": 0, "encoder": 0, "jpeg": 0, "ofa": 0},
    "source": "listing-a30",
    "confirmed": True,
}
_P = ("gpus", "H200", "profiles", "1g.18gb")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_set("version", value=2), r"catalogue.version: 2 is not 1"),
        (_set("gpuz", value={}), r"catalogue: unknown field gpuz"),
        (lambda c: c.pop("sources"), r"catalogue: lacks sources"),
        (_set("gpus", "H200", value=[]), r"gpus.H200: not a mapping"),
        (
            _set("instance_types", "m6i.2xlarge", "source", value="hearsay"),
            r"m6i.2xlarge.source: 'hearsay' is not under",
        ),
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
        (_set(*_P, "max_count", value=6), r"1g.18gb.max_count: 6 is not the 7 that starts and engines allow"),
        (_set("gpus", "H200", "profiles", "2g.35gb", "starts", value=[0, 1, 4]), r"2g.35gb.max_count: 3 is not the 2"),
        (
            _set("gpus", "H200", "profiles", "1g.18gb+me", "max_count", value=2),
            r"1g.18gb\+me.max_count: 2 is not the 1",
        ),
        (_set(*_P, "gi_id", value=20), r"H200.profiles: 1g.18gb and 1g.18gb\+me have the same gi_id, 20"),
        (_set(*_P, "memory_mib", value=16385), r"1g.18gb\+me.memory_mib: 16384 for 1 memory slices, of which 1g.18gb"),
        (_all("H200", 1, 9000), r"1g.18gb.memory_mib: 9000 is far from the 18 GB of the name"),
        (_all("H200", 1, 18433), r"1g.18gb.memory_mib: 18433 is far from the 18 GB of the name"),
        (_all("H200", 4, 72000), r"3g.71gb.memory_mib: 2 instances exceed the GPU's 143771"),
        (_renamed, r"H200.profiles: memory_mib does not rise with the memory slices"),
        (lambda c: c["gpus"]["H200"]["profiles"].pop("7g.141gb"), r"H200.profiles: none takes the whole GPU"),
        (_set("gpus", "A30", "compute_slices", value=3), r"A30.profiles: none takes the whole GPU"),
        (_set("gpus", "A30", "profiles", "7g.24gb", value=_ROW), r"7g.24gb.compute_slices: 7 exceeds the GPU's 4"),
        (
            _set("gpus", "B200", "product", value="NVIDIA-H200"),
            r"gpus: H200 and B200 have the same product, NVIDIA-H200",
        ),
        (
            _set("gpus", "B200", "pci_device_ids", value=["0x233510DE"]),
            r"gpus: H200 and B200 have the same PCI device id, 0x233510DE",
        ),
        (_set("sources", "hearsay", value="a friend"), r"sources.hearsay: unused"),
        (_set(*_P, "unseen", value=["starts"]), r"1g.18gb.unseen: \['starts'\] contradicts confirmed: True"),
        (_set(*_P, "confirmed", value=False), r"1g.18gb.unseen: \[\] contradicts confirmed: False"),
        (_set("gpus", "B300", "profiles", "1g.34gb", "unseen", value=["x"]), r"1g.34gb.unseen: x is no field"),
        (_set("gpus", "A30", "profiles", "1g.6gb+mex", value=_ROW), r"1g.6gb\+mex: the name is not of the form 1g.5gb"),
        (_set("instance_types", "m6i.2xlarge", "gpu", value="H300"), r"m6i.2xlarge.gpu: 'H300' is not under gpus"),
        (_set("instance_types", "p5.48xlarge", "gpus", value=0), r"p5.48xlarge.gpus: 0 contradicts gpu"),
        (_set("instance_types", "p5.48xlarge", "memory", value="2T"), r"p5.48xlarge.memory: '2T' is not a quantity"),
        (_set("instance_types", "p5.48xlarge", "unconfirmed", value=["x"]), r"unconfirmed: x is no field"),
    ],
)
def test_invalid_catalogue_raises_error_with_key_path(
    content: Any, change: Callable[[Any], None], message: str
) -> None:
    changed = copy.deepcopy(content)
    change(changed)
    with pytest.raises(CatalogueError, match=message):
        catalogue.parse(changed)


def _by_trying_all(gpu: Gpu, profile: Profile) -> int:
    """Return the most instances of a profile, out of every set of starts: slow and obviously right."""
    fitting = 0
    for starts in itertools.chain.from_iterable(
        itertools.combinations(profile.starts, count) for count in range(1, len(profile.starts) + 1)
    ):
        units = [unit for start in starts for unit in range(start, start + profile.memory_slices)]
        enough = profile.compute_slices * len(starts) <= gpu.compute_slices
        shared = all(need * len(starts) <= gpu.engines[kind] for kind, need in profile.engines.items())
        if len(units) == len(set(units)) and enough and shared:
            fitting = max(fitting, len(starts))
    return fitting


@given(
    st.sampled_from([(gpu, row) for gpu in catalogue.load().gpus.values() for row in gpu.profiles.values()]),
    st.sets(st.integers(0, 11), min_size=1, max_size=7),
    st.integers(1, 6),
)
def test_bound_of_a_count_is_exact(case: tuple[Gpu, Profile], starts: set[int], slices: int) -> None:
    gpu, profile = case
    assert max_instances(gpu, profile) == _by_trying_all(gpu, profile) == profile.max_count
    other = dataclasses.replace(profile, starts=tuple(sorted(starts)), memory_slices=slices)
    assert max_instances(gpu, other) == _by_trying_all(gpu, other)


_NUMBERS = ("gi_id", "compute_slices", "memory_slices", "max_count", "memory_mib", "multiprocessors")


@st.composite
def _changes(draw: st.DrawFn) -> tuple[str, str, str, Any]:
    gpu = draw(st.sampled_from(list(catalogue.load().gpus.values())))
    row = draw(st.sampled_from(list(gpu.profiles.values())))
    field = draw(st.sampled_from([*_NUMBERS, "starts"]))
    near: st.SearchStrategy[Any] = st.lists(st.integers(-1, 13), max_size=8)
    if field != "starts":
        now = getattr(row, field)
        near = st.integers(now - 3, now + 3) | st.integers(now // 2, now * 2) | st.just("1")
    return gpu.name, row.name, field, draw(near)


@settings(max_examples=300, deadline=None)
@given(change=_changes())
def test_changed_catalogue_is_legal_or_refused(content: Any, change: tuple[str, str, str, Any]) -> None:
    gpu_model, name, field, value = change
    entry = copy.deepcopy(content["gpus"][gpu_model])
    entry["profiles"][name][field] = value
    used = {row["source"] for row in entry["profiles"].values()}
    small = {
        **content,
        "gpus": {gpu_model: entry},
        "instance_types": {},
        "sources": {key: text for key, text in content["sources"].items() if key in used},
    }
    try:
        gpu = catalogue.parse(small).gpus[gpu_model]
    except CatalogueError:
        return
    rows = list(gpu.profiles.values())
    assert len({row.gi_id for row in rows}) == len(rows)
    for row in rows:
        assert row.starts[0] >= 0
        assert row.starts[-1] + row.memory_slices <= gpu.memory_slices
        assert row.max_count == _by_trying_all(gpu, row)
        assert row.max_count * row.memory_mib <= gpu.memory_mib
    for a, b in itertools.combinations(rows, 2):
        assert (a.memory_slices < b.memory_slices) == (a.memory_mib < b.memory_mib)
