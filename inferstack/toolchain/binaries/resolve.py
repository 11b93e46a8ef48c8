"""Where each tool comes from: PATH, the cache, an official release, a build; in this order."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from inferstack.errors import UserError
from inferstack.toolchain.binaries import build, onpath, store
from inferstack.toolchain.binaries import release as releases
from inferstack.toolchain.binaries.catalogue import Group, Release, group_of, groups

_SOURCES = ("path", "release", "build")

Report = Callable[[str], None]


@dataclass(frozen=True)
class Found:
    """A tool and where it comes from."""

    name: str
    version: str
    """Of what was found; of what is wanted where nothing was."""
    origin: str
    """``path``, ``release``, ``build``, ``cache`` (kept, of an unknown hand) or ``missing``."""
    path: Path | None
    note: str = ""
    """Why an executable on PATH was passed over."""


def ensure(names: Iterable[str], *, report: Report, known: Sequence[Group] | None = None) -> dict[str, Path]:
    """Return the executables of some tools, getting those that are not there yet.

    Fast where all are there: some calls of ``stat``. Safe to interrupt and to run many times at once.

    Args:
        names: binaries, as versions.yaml lists them.
        report: takes a line for a person now and then.
        known: the groups to choose from; those of versions.yaml where left out.

    Raises:
        UserError: a tool is unknown or cannot be had; the sentence tells why.
    """
    known = groups() if known is None else known
    names = list(dict.fromkeys(names))
    found = {name: _locate(name, known) for name in names}
    missing = [name for name, path in found.items() if path is None]
    if missing:
        _get(missing, known, report)
        found |= {name: store.place_of(name, group_of(name, known).version) for name in missing}
    return {name: path for name, path in found.items() if path is not None}


def locate(name: str) -> Path | None:
    """Return the executable of a tool where it is on PATH or kept in the cache; nothing is fetched or built."""
    return _locate(name, groups())


def inspect(names: Iterable[str] | None = None, *, known: Sequence[Group] | None = None) -> list[Found]:
    """Tell where tools come from, all of them where no names are given; nothing is fetched or built."""
    known = groups() if known is None else known
    names = [binary for group in known for binary in group.binaries] if names is None else names
    return [_inspect(group_of(name, known), name) for name in names]


def _inspect(group: Group, name: str) -> Found:
    seen = onpath.find(group, name) if "path" in sources() else None
    if seen and onpath.good_enough(group, name):
        return Found(name, seen[1], "path", seen[0])
    note = f"{seen[0]} is {seen[1]}, wanted {group.path.range_of(name)}" if seen else ""
    if store.is_kept(name, group.version):
        origin = store.origin_of(name, group.version)
        return Found(name, group.version, origin, store.place_of(name, group.version), note)
    return Found(name, group.version, "missing", None, note)


def sources() -> tuple[str, ...]:
    """Return where tools may come from: all, or those named by INFERSTACK_TOOLS_FROM (such as ``release,build``).

    Raises:
        UserError: the variable names another source.
    """
    text = os.environ.get("INFERSTACK_TOOLS_FROM")
    if text is None:
        return _SOURCES
    chosen = [word.strip() for word in text.split(",") if word.strip()]
    for word in chosen:
        if word not in _SOURCES:
            raise UserError(f'INFERSTACK_TOOLS_FROM names "{word}": choose from {", ".join(_SOURCES)}.')
    return tuple(source for source in _SOURCES if source in chosen)


def _locate(name: str, known: Sequence[Group]) -> Path | None:
    group = group_of(name, known)
    if "path" in sources() and (found := onpath.good_enough(group, name)):
        return found[0]
    return store.place_of(name, group.version) if store.is_kept(name, group.version) else None


def _get(missing: Sequence[str], known: Sequence[Group], report: Report) -> None:
    """Download or build what is missing, one group after the other: a build takes all cores by itself."""
    began = time.monotonic()
    wanted = {group.name: group for group in (group_of(name, known) for name in missing)}
    pending = [(group, [name for name in missing if name in group.binaries]) for group in wanted.values()]
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
    """Return by group the smallest release file that brings all that is missing and whose host serves it."""
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
            f"{names} is neither on PATH in an accepted version nor to be downloaded, and INFERSTACK_TOOLS_FROM "
            "leaves out build: add build to it, or install the tools."
        )
    build.check_go(to_build)
    build.require_space(to_build)


def _get_group(group: Group, names: Sequence[str], offer: Release | None, report: Report) -> None:
    with store.working_on(group.name, report) as folder:
        if all(store.is_kept(name, group.version) for name in names):
            return  # by the process that was waited for
        made = None
        if offer is not None:
            try:
                made, origin = releases.fetch(group, offer, folder, report), "release"
            except releases.UnavailableError as error:
                report(f"{group.name}: not downloaded ({error})")
                _check_build([group])
        if made is None:
            made, origin = build.build(group, folder, report), "build"
        _verify(group, made)
        store.install(group, made, origin)


def _verify(group: Group, folder: Path) -> None:
    """Check that each fresh executable runs and tells the version that was wanted, if it tells one."""
    for path in sorted(folder.iterdir()):
        if path.name not in group.binaries:
            continue
        path.chmod(0o755)
        if group.path.pattern is None:
            if not onpath.runs(path, group.path, path.name):
                raise UserError(
                    f'The fresh {path.name} does not run: correct the entry "{group.name}" in versions.yaml.'
                )
            continue
        told = onpath.ask(path, group.path, path.name)
        if told is None or told.removeprefix("v") != group.version.removeprefix("v"):
            raise UserError(
                f"The fresh {path.name} tells {told or 'no version'} instead of {group.version}: correct the entry "
                f'"{group.name}" in versions.yaml.'
            )


def clean() -> list[Path]:
    """Remove the kept tools and the build cache; return what was removed."""
    removed = [folder for folder in (store.tools_dir(), store.build_dir()) if folder.exists()]
    for folder in removed:
        shutil.rmtree(folder)
    return removed
