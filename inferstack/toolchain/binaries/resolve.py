"""Resolution of tools: from PATH, the cache, an official release or a build, in this order."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from inferstack.errors import UserError
from inferstack.toolchain.binaries import build, path_lookup, store
from inferstack.toolchain.binaries import release as releases
from inferstack.toolchain.binaries.catalogue import Group, Release, group_of, groups

_SOURCES = ("path", "release", "build")

Report = Callable[[str], None]


@dataclass(frozen=True)
class Tool:
    """A tool and its origin."""

    name: str
    version: str
    """The version found; if the tool is missing, the pinned one."""
    origin: str
    """``path``, ``release``, ``build``, ``cache`` (in the cache, origin unknown) or ``missing``."""
    path: Path | None
    note: str = ""
    """Why an executable on PATH was not accepted."""


def ensure(names: Iterable[str], *, report: Report, available: Sequence[Group] | None = None) -> dict[str, Path]:
    """Return the executables of tools by name, downloading or building missing ones.

    A few ``stat`` calls if none is missing. Safe to interrupt and to run concurrently.

    Args:
        names: binaries listed in versions.yaml.
        report: receives progress lines.
        available: the groups to choose from (default: those of versions.yaml).

    Raises:
        UserError: a tool is unknown or unavailable; the message gives the reason.
    """
    available = groups() if available is None else available
    names = list(dict.fromkeys(names))
    paths = {name: _locate(name, available) for name in names}
    missing = [name for name, path in paths.items() if path is None]
    if missing:
        _get(missing, available, report)
        paths |= {name: store.place_of(name, group_of(name, available).version) for name in missing}
    return {name: path for name, path in paths.items() if path is not None}


def locate(name: str) -> Path | None:
    """Return the executable of a tool if it is on PATH or in the cache. Downloads and builds nothing."""
    return _locate(name, groups())


def inspect(names: Iterable[str] | None = None, *, available: Sequence[Group] | None = None) -> list[Tool]:
    """Return tools with their origin (default: all tools). Downloads and builds nothing."""
    available = groups() if available is None else available
    names = [binary for group in available for binary in group.binaries] if names is None else names
    return [_inspect(group_of(name, available), name) for name in names]


def _inspect(group: Group, name: str) -> Tool:
    on_path = path_lookup.find(group, name) if "path" in sources() else None
    if on_path and path_lookup.good_enough(group, name):
        return Tool(name, on_path[1], "path", on_path[0])
    note = f"{on_path[0]} is {on_path[1]}, wanted {group.path.range_of(name)}" if on_path else ""
    if store.is_kept(name, group.version):
        origin = store.origin_of(name, group.version)
        return Tool(name, group.version, origin, store.place_of(name, group.version), note)
    return Tool(name, group.version, "missing", None, note)


def sources() -> tuple[str, ...]:
    """Return the allowed sources: those in INFERSTACK_TOOLS_FROM, such as ``release,build`` (default: all).

    Raises:
        UserError: the variable contains an unknown source.
    """
    text = os.environ.get("INFERSTACK_TOOLS_FROM")
    if text is None:
        return _SOURCES
    chosen = [word.strip() for word in text.split(",") if word.strip()]
    for word in chosen:
        if word not in _SOURCES:
            raise UserError(f'INFERSTACK_TOOLS_FROM: unknown source "{word}", choose from {", ".join(_SOURCES)}.')
    return tuple(source for source in _SOURCES if source in chosen)


def _locate(name: str, available: Sequence[Group]) -> Path | None:
    group = group_of(name, available)
    if "path" in sources() and (paths := path_lookup.good_enough(group, name)):
        return paths[0]
    return store.place_of(name, group.version) if store.is_kept(name, group.version) else None


def _get(missing: Sequence[str], available: Sequence[Group], report: Report) -> None:
    """Download or build missing tools, one group after the other, because a build uses all cores."""
    began = time.monotonic()
    missing_groups = {group.name: group for group in (group_of(name, available) for name in missing)}
    pending = [(group, [name for name in missing if name in group.binaries]) for group in missing_groups.values()]
    report(f"getting {', '.join(missing)}")
    offers = _offers(pending)
    to_build = [group for group, _ in pending if group.name not in offers]
    if to_build:
        _check_build(to_build)
    with store.building(build.drop_cache):
        for group, names in pending:
            _get_group(group, names, offers.get(group.name), report)
    report(f"tools are complete ({time.monotonic() - began:.0f} s)")


def _offers(pending: Sequence[tuple[Group, list[str]]]) -> dict[str, Release]:
    """Return by group the smallest available release file that contains all missing binaries of the group."""
    if "release" not in sources():
        return {}
    # versions.yaml lists the smaller files first.
    candidates = {
        group.name: [offer for offer in group.releases if set(names) <= set(offer.provides)] for group, names in pending
    }
    served = releases.reachable(offer for offers in candidates.values() for offer in offers)
    return {
        name: next(offer for offer in offers if offer in served)
        for name, offers in candidates.items()
        if any(offer in served for offer in offers)
    }


def _check_build(to_build: Sequence[Group]) -> None:
    names = ", ".join(group.name for group in to_build)
    if "build" not in sources():
        raise UserError(
            f"{names} is neither on PATH in an accepted version nor downloadable, and INFERSTACK_TOOLS_FROM "
            "excludes build: add build to it, or install the tools."
        )
    build.check_go(to_build)
    build.require_space(to_build)


def _get_group(group: Group, names: Sequence[str], offer: Release | None, report: Report) -> None:
    with store.working_on(group.name, report) as folder:
        if all(store.is_kept(name, group.version) for name in names):
            return  # another process got them meanwhile
        built = None
        if offer is not None:
            try:
                built, origin = releases.fetch(group, offer, folder, report), "release"
            except releases.UnavailableError as error:
                report(f"{group.name}: not downloaded ({error})")
                _check_build([group])
        if built is None:
            built, origin = build.build(group, folder, report), "build"
        _verify(group, built)
        store.install(group, built, origin)


def _verify(group: Group, folder: Path) -> None:
    """Check that each new executable runs and, if it prints a version, prints the pinned one."""
    for path in sorted(folder.iterdir()):
        if path.name not in group.binaries:
            continue
        path.chmod(0o755)
        if group.path.pattern is None:
            if not path_lookup.runs(path, group.path, path.name):
                raise UserError(f'The new {path.name} does not run: correct the entry "{group.name}" in versions.yaml.')
            continue
        reported = path_lookup.ask(path, group.path, path.name)
        if reported is None or reported.removeprefix("v") != group.version.removeprefix("v"):
            raise UserError(
                f"The new {path.name} reports {reported or 'no version'} instead of {group.version}: correct the entry "
                f'"{group.name}" in versions.yaml.'
            )


def clean() -> list[Path]:
    """Remove the cached tools and the build cache. Return the removed folders."""
    removed = [folder for folder in (store.tools_dir(), store.build_dir()) if folder.exists()]
    for folder in removed:
        shutil.rmtree(folder)
    return removed
