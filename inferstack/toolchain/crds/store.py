"""The CRD cache: one JSON file per CRD, in a folder that is complete if it exists.

::

    <cache>/crds/<addon>-<version>-<fingerprint>/<name of the CRD>.json
    <cache>/crds/.work/    locks and unfinished folders; see inferstack.toolchain.binaries.store

The fingerprint covers everything that determines the content of the files, so a changed pin never uses old files.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from inferstack.errors import UserError
from inferstack.project import cache_dir
from inferstack.toolchain.binaries import store
from inferstack.toolchain.crds.extract import Crd, extract
from inferstack.toolchain.crds.modules import Source, download, source_of, sources

Report = Callable[[str], None]

_FORMAT = 1
"""Increment when extract.py produces different output for the same module."""


def crds_dir() -> Path:
    """Return the folder of the CRD cache. It may not exist."""
    return cache_dir() / "crds"


def place_of(source: Source, *, described: bool = False) -> Path:
    """Return the cache folder of an add-on's CRDs, whether it exists or not."""
    decides = json.dumps([_FORMAT, described, source.module, source.sum, source.files])
    fingerprint = hashlib.sha256(decides.encode()).hexdigest()[:8]
    return crds_dir() / f"{source.addon}-{source.version}-{fingerprint}"


def load(
    addon: str,
    names: Collection[str] | None = None,
    *,
    described: bool = False,
    available: Mapping[str, Source] | None = None,
) -> list[Crd]:
    """Return CRDs of an add-on, sorted by name. Downloads the module unless the CRDs are cached.

    Args:
        addon: an entry of ``crds`` in versions.yaml.
        names: names of CRDs such as ``gateways.networking.istio.io`` (default: all of the add-on).
        described: whether to keep the descriptions of schemas.
        available: the sources to choose from (default: those of versions.yaml).

    Raises:
        UserError: the add-on has no source, the source has no such CRD, or the module cannot be downloaded.
    """
    source = source_of(addon, sources() if available is None else available)
    folder = place_of(source, described=described)
    if not folder.is_dir():
        _get(source, folder, _discard, described=described)
    paths = {path.name.removesuffix(".json"): path for path in folder.glob("*.json")}
    requested = sorted(paths if names is None else set(names))
    for name in requested:
        if name not in paths:
            raise UserError(f"{source.module}@{source.version} has no CRD {name}; it has {', '.join(sorted(paths))}.")
    return [json.loads(paths[name].read_bytes()) for name in requested]


def ensure(addons: Iterable[str], report: Report, *, available: Mapping[str, Source] | None = None) -> None:
    """Download the CRDs of add-ons that are not cached. Safe to interrupt and to run concurrently.

    Args:
        addons: entries of ``crds`` in versions.yaml.
        report: receives a line for each add-on whose CRDs are downloaded.
        available: the sources to choose from (default: those of versions.yaml).

    Raises:
        UserError: an add-on has no source, or its module cannot be downloaded.
    """
    available = sources() if available is None else available
    for source in [source_of(addon, available) for addon in addons]:
        folder = place_of(source)
        if not folder.is_dir():
            _get(source, folder, report, described=False)


def clean() -> list[Path]:
    """Remove the CRD cache. Return the removed folders. Go's module cache stays."""
    if not crds_dir().exists():
        return []
    shutil.rmtree(crds_dir())
    return [crds_dir()]


def _get(source: Source, folder: Path, report: Report, *, described: bool) -> None:
    with store.working_on(source.addon, report, crds_dir()) as work:
        if folder.is_dir():
            return  # another process got them meanwhile
        report(f"CRDs of {source.addon}: getting the Go module {source.module}@{source.version}")
        crds = extract(download(source, work), source, described=described)
        fresh = work / "crds"
        with store.writable(crds_dir()):
            fresh.mkdir()
            for name, crd in crds.items():
                (fresh / f"{name}.json").write_text(json.dumps(crd, separators=(",", ":")))
            fresh.rename(folder)


def _discard(_: str) -> None:
    pass
