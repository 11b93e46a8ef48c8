"""The tools of ``versions.yaml`` as types, and their version ranges."""

from __future__ import annotations

import functools
import operator
import platform
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inferstack.errors import UserError
from inferstack.project import project_root
from inferstack.versions import load

Version = tuple[int, int, int]

_COMPARISONS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt, "==": operator.eq}
_ARCHITECTURES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True)
class PathPolicy:
    """When an executable found on PATH is accepted."""

    accept: Mapping[str, str]
    """Binary, or ``any``, to a range such as ``>=1.34.0,<1.35.0``."""
    version_args: Mapping[str, list[str]]
    """Binary, or ``any``, to the arguments that print its version."""
    pattern: str | None
    """Regular expression whose first group is the version. None: no version is printed, and PATH is not searched."""

    def range_of(self, binary: str) -> str:
        """Return the accepted version range of a binary."""
        return self.accept.get(binary, self.accept["any"])

    def args_of(self, binary: str) -> list[str]:
        """Return the arguments that make a binary print its version."""
        return self.version_args.get(binary, self.version_args["any"])


@dataclass(frozen=True)
class Release:
    """One file of an official release, for this machine's platform."""

    url: str
    provides: tuple[str, ...]
    members: Mapping[str, str]
    """Executable to its path in the tar archive; empty if the file itself is the executable."""
    algorithm: str
    digest: str


@dataclass(frozen=True)
class Build:
    """How Go builds a group."""

    module: Path
    """Folder with the ``go.mod``."""
    packages: tuple[str, ...]
    ldflags: str
    disk_gib: float
    tags: str = ""
    """Build tags, joined by commas."""


@dataclass(frozen=True)
class Group:
    """Binaries of one version that are built together."""

    name: str
    version: str
    binaries: tuple[str, ...]
    path: PathPolicy
    releases: tuple[Release, ...]
    build: Build


def parse_version(text: str) -> Version:
    """Return major, minor and patch of a version such as ``v1.34.4``, without any suffix.

    Raises:
        ValueError: the text does not begin with a version.
    """
    match = re.match(r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?", text)
    if match is None:
        raise ValueError(f"{text!r} is not a version")
    major, minor, patch = (int(part or 0) for part in match.groups())
    return major, minor, patch


def accepts(bounds: str, version: str) -> bool:
    """Return whether a version is in a range such as ``>=1.34.0,<1.35.0``, or in one of several joined by ``||``."""
    parsed = parse_version(version)
    results = [_within(parsed, alternative) for alternative in bounds.split("||")]
    return any(results)


def _within(parsed: Version, bounds: str) -> bool:
    matches = True
    for bound in bounds.split(","):
        match = re.fullmatch(r"\s*(>=|<=|==|>|<)\s*(\S+)\s*", bound)
        if match is None:
            raise ValueError(f"{bound!r} is not a comparison")
        matches = matches and _COMPARISONS[match[1]](parsed, parse_version(match[2]))
    return matches


def machine() -> tuple[str, str]:
    """Return this machine's operating system and architecture by Go's names."""
    return platform.system().lower(), _ARCHITECTURES.get(platform.machine().lower(), platform.machine().lower())


def make_group(name: str, entry: Mapping[str, Any], place: tuple[str, str], modules: Path) -> Group:
    """Return one entry of ``tools`` for a platform.

    Args:
        name: the entry's key.
        entry: its content; see ``versions.yaml`` for the shape.
        place: operating system and architecture.
        modules: folder of the Go modules.
    """
    version: str = entry["version"]
    major, minor, _ = parse_version(version)
    build = entry["build"]
    releases = (_make_release(release, version, place) for release in entry["releases"])
    return Group(
        name=name,
        version=version,
        binaries=tuple(entry["binaries"]),
        path=PathPolicy(**entry["path"]),
        releases=tuple(release for release in releases if release is not None),
        build=Build(
            module=modules / build["module"],
            packages=tuple(build["packages"]),
            ldflags=build["ldflags"].format(version=version, major=major, minor=minor),
            disk_gib=build["disk_gib"],
            tags=build.get("tags", ""),
        ),
    )


def _make_release(entry: Mapping[str, Any], version: str, place: tuple[str, str]) -> Release | None:
    """Return a release file, or None if there is no checksum for the platform."""
    os_name, arch = place
    checksum = entry["checksums"].get(f"{os_name}/{arch}")
    if checksum is None:
        return None
    words = {"version": version, "os": os_name, "arch": entry.get("arch", {}).get(arch, arch)}
    algorithm, _, digest = checksum.partition(":")
    return Release(
        url=entry["url"].format(**words),
        provides=tuple(entry["provides"]),
        members={name: member.format(**words) for name, member in entry.get("members", {}).items()},
        algorithm=algorithm,
        digest=digest,
    )


@functools.cache
def groups() -> tuple[Group, ...]:
    """Return the groups of ``versions.yaml`` for this machine."""
    modules = project_root() / "tools"
    return tuple(make_group(name, entry, machine(), modules) for name, entry in load()["tools"].items())


def group_of(binary: str, available: Iterable[Group]) -> Group:
    """Return the group that contains a binary.

    Raises:
        UserError: there is none.
    """
    available = tuple(available)
    for group in available:
        if binary in group.binaries:
            return group
    names = ", ".join(name for group in available for name in group.binaries)
    raise UserError(f'There is no tool "{binary}"; there are {names}.')
