"""The CRDs in the cache folder: one JSON file for each, in a folder that is complete as soon as it is there.

::

    <cache>/crds/<addon>-<version>-<fingerprint>/<CRD's name>.json
    <cache>/crds/.work/    locks and unfinished folders; see inferstack.toolchain.binaries.store

The fingerprint is that of all that decides the files' content, so a changed pin never meets old files.
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
from inferstack.toolchain.crds.catalogue import Source, source_of, sources
from inferstack.toolchain.crds.download import download
from inferstack.toolchain.crds.extract import Crd, extract

Report = Callable[[str], None]

_FORMAT = 1
"""Count it up when extract.py makes something else of the same module."""


def crds_dir() -> Path:
    """Return the folder of all kept CRDs; it may not exist yet."""
    return cache_dir() / "crds"


def place_of(source: Source, *, described: bool = False) -> Path:
    """Return the folder in which an add-on's CRDs are kept, whether it is there or not."""
    decides = json.dumps([_FORMAT, described, source.module, source.sum, source.files])
    fingerprint = hashlib.sha256(decides.encode()).hexdigest()[:8]
    return crds_dir() / f"{source.addon}-{source.version}-{fingerprint}"


def load(
    addon: str,
    names: Collection[str] | None = None,
    *,
    described: bool = False,
    known: Mapping[str, Source] | None = None,
) -> list[Crd]:
    """Return CRDs of an add-on, ordered by name. Milliseconds where they are kept; downloads the module otherwise.

    Args:
        addon: an entry of ``crds`` in versions.yaml.
        names: of the CRDs, such as ``gateways.networking.istio.io``; all of the add-on's where left out.
        described: keep the descriptions of schemas.
        known: the sources to choose from; those of versions.yaml where left out.

    Raises:
        UserError: the add-on has no source or the source no such CRD, or the module cannot be had.
    """
    source = source_of(addon, sources() if known is None else known)
    folder = place_of(source, described=described)
    if not folder.is_dir():
        _get(source, folder, _say_nothing, described=described)
    there = {path.name.removesuffix(".json"): path for path in folder.glob("*.json")}
    wanted = sorted(there if names is None else set(names))
    for name in wanted:
        if name not in there:
            raise UserError(f"{source.module}@{source.version} has no CRD {name}; it has {', '.join(sorted(there))}.")
    return [json.loads(there[name].read_bytes()) for name in wanted]


def ensure(addons: Iterable[str], report: Report, *, known: Mapping[str, Source] | None = None) -> None:
    """Have the CRDs of add-ons in the cache. Safe to interrupt and to run many times at once.

    Args:
        addons: entries of ``crds`` in versions.yaml.
        report: takes a line for each add-on whose CRDs are not there yet.
        known: the sources to choose from; those of versions.yaml where left out.

    Raises:
        UserError: an add-on has no source, or its module cannot be had.
    """
    known = sources() if known is None else known
    for source in [source_of(addon, known) for addon in addons]:
        folder = place_of(source)
        if not folder.is_dir():
            _get(source, folder, report, described=False)


def clean() -> list[Path]:
    """Remove all kept CRDs; return what was removed. Downloaded modules are Go's own and stay."""
    if not crds_dir().exists():
        return []
    shutil.rmtree(crds_dir())
    return [crds_dir()]


def _get(source: Source, folder: Path, report: Report, *, described: bool) -> None:
    with store.working_on(source.addon, report, crds_dir()) as work:
        if folder.is_dir():
            return  # by the process that was waited for
        report(f"CRDs of {source.addon}: getting the Go module {source.module}@{source.version}")
        found = extract(download(source, work), source, described=described)
        fresh = work / "crds"
        with store.writable(crds_dir()):
            fresh.mkdir()
            for name, crd in found.items():
                (fresh / f"{name}.json").write_text(json.dumps(crd, separators=(",", ":")))
            fresh.rename(folder)


def _say_nothing(_: str) -> None:
    pass
