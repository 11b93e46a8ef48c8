"""All places that name a version agree."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest

from inferstack.project import project_root
from inferstack.toolchain.binaries import build
from inferstack.toolchain.binaries.catalogue import Group, accepts, groups, make_group, parse_version
from inferstack.versions import load

ROOT = project_root()
LOCKS = sorted((ROOT / "requirements").glob("*.lock"))
PLATFORMS = [("linux", "amd64"), ("linux", "arm64"), ("darwin", "arm64")]


def locked(path: Path) -> dict[str, str]:
    """Return package -> version of a lock."""
    return dict(re.findall(r"^([a-z0-9._-]+)==(\S+)", path.read_text(), re.MULTILINE))


@pytest.mark.parametrize("group", groups(), ids=lambda group: group.name)
def test_go_mod_pins_the_version_and_the_packages_of_versions_yaml(group: Group) -> None:
    text = (group.build.module / "go.mod").read_text()
    tools = re.findall(r"^tool (\S+)$|^\t(\S+/cmd/\S+)$", text, re.MULTILINE)
    assert (
        tuple(single or several for single, several in tools if not (single or several).startswith("("))
        == group.build.packages
    )
    required = dict(re.findall(r"^\s+(\S+) (v\S+)(?: // indirect)?$", text, re.MULTILINE))
    for package in group.build.packages:
        module = max((name for name in required if f"{package}/".startswith(f"{name}/")), key=len)
        assert required[module] == group.version
    assert (group.build.module / "go.sum").exists()
    assert parse_version(build.required_go(group))[0] == 1


@pytest.mark.parametrize("place", PLATFORMS, ids="-".join)
@pytest.mark.parametrize("name", load()["tools"])
def test_entry_is_complete_and_takes_its_own_version(name: str, place: tuple[str, str]) -> None:
    entry = load()["tools"][name]
    group = make_group(name, entry, place, ROOT / "tools")
    assert len(group.build.packages) == len(group.binaries)
    assert set(group.path.accept) | set(group.path.version_args) <= {"any", *group.binaries}
    for binary in group.binaries:
        assert accepts(group.path.range_of(binary), group.version)
    for release in group.releases:
        assert release.url.startswith("https://")
        assert set(release.provides) <= set(group.binaries)
        assert not release.members or set(release.provides) <= set(release.members)
        assert len(release.digest) == {"sha256": 64, "sha512": 128}[release.algorithm]
        assert set(release.digest) <= set(string.hexdigits.lower())
    literal = f"{entry['releases']}{entry['build']}"
    assert group.version.removeprefix("v") not in literal, "a version is written out where {version} belongs"


def test_names_of_tools_are_unique() -> None:
    names = [binary for group in groups() for binary in group.binaries]
    assert len(names) == len(set(names))


def test_engine_its_python_packages_and_plugins_agree() -> None:
    run, versions = locked(ROOT / "requirements" / "run.lock"), load()
    assert versions["plugins"] == {"language-python": run["pulumi"], "resource-kubernetes": run["pulumi-kubernetes"]}
    assert versions["tools"]["pulumi"]["version"] == f"v{run['pulumi']}"


def test_locks_agree() -> None:
    operator, run, test = (locked(ROOT / "requirements" / f"{name}.lock") for name in ("operator", "run", "test"))
    assert operator.items() <= run.items() <= test.items()


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_lock_has_hashes_for_all_packages_and_no_address(lock: Path) -> None:
    text = lock.read_text()
    entries = [entry for entry in re.split(r"\n(?=[a-z0-9])", text) if entry.strip()]
    # A package has two entries where Pythons need different versions.
    assert [entry for entry in entries if not re.match(r"[a-z0-9._-]+==\S", entry)] == []
    assert [entry.splitlines()[0] for entry in entries if "--hash=sha256:" not in entry] == []
    assert re.findall(r"://|^-", text, re.MULTILINE) == []


@pytest.mark.parametrize("name", ["run", "operator", "test", "bench"])
def test_lock_has_what_its_input_asks_for(name: str) -> None:
    required = re.findall(r"^([A-Za-z0-9._-]+)", (ROOT / "requirements" / f"{name}.in").read_text(), re.MULTILINE)
    names = {word.lower().replace("_", "-") for word in required if not word.startswith("-")}
    assert names <= set(locked(ROOT / "requirements" / f"{name}.lock"))


def test_charts_have_a_version_and_a_repository() -> None:
    for name, chart in load()["charts"].items():
        assert set(chart) == {"chart", "version", "repo"}, name
        assert re.fullmatch(r"v?\d+\.\d+\.\d+", chart["version"]), name
        assert chart["repo"].startswith(("https://", "oci://")), name
