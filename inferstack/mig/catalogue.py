"""The GPU models and EC2 instance types of ``catalogue.yaml``, validated.

The header of the file explains each field. A GPU model is named after its product (``A100-SXM4-40GB``), an instance
type as in EC2.
"""

from __future__ import annotations

import difflib
import functools
import importlib.resources
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

import yaml

from inferstack.mig.consistency import check_catalogue, check_gpu
from inferstack.mig.errors import CatalogueError
from inferstack.mig.resources import mig_resource

_PROFILE_NAME = re.compile(r"(?P<g>[1-7])g\.(?P<gb>\d+)gb(?P<suffix>\+me|\+gfx|\+me\.all|-me)?")
_SUFFIXES = (None, "+me", "+gfx", "+me.all", "-me")
_Entry = TypeVar("_Entry")
_ENGINES = ("copy", "decoder", "encoder", "jpeg", "ofa")


@dataclass(frozen=True)
class Profile:
    """One GPU instance profile of one GPU model."""

    name: str
    """As in the driver: ``1g.5gb`` or ``1g.5gb+me``; on the RTX PRO 6000 also ``+gfx``, ``+me.all``, ``-me``."""
    gi_id: int
    compute_slices: int
    memory_slices: int
    starts: tuple[int, ...]
    """Units of the memory axis at which an instance may begin."""
    max_count: int
    memory_mib: int
    multiprocessors: int
    engines: Mapping[str, int]
    """copy, decoder, encoder, jpeg, ofa."""
    source: str
    confirmed: bool
    """Whether a source confirms the whole row."""
    unseen: tuple[str, ...] = ()
    """Unconfirmed fields; their values are by analogy."""

    @property
    def gigabytes(self) -> int:
        """The memory in the name, in the vendor's rounded gigabytes."""
        return int(self.name.partition(".")[2].partition("gb")[0])

    @property
    def media_extensions(self) -> bool:
        """Whether the instance takes the GPU's optical-flow engine: ``+me`` and ``+me.all``."""
        return "+me" in self.name

    @property
    def resource(self) -> str:
        """The extended resource under the MIG strategy ``mixed``."""
        return mig_resource(self.name)


@dataclass(frozen=True)
class Gpu:
    """One GPU model."""

    name: str
    product: str
    family: str
    compute_capability: tuple[int, int]
    memory_mib: int
    pci_device_ids: tuple[str, ...]
    compute_slices: int
    memory_slices: int
    profiles: Mapping[str, Profile]
    """By name, smallest first, as the driver lists them."""

    @functools.cached_property
    def engines(self) -> Mapping[str, int]:
        """The engines (copy, decoder, encoder, jpeg, ofa) that instances divide: those of the largest profile."""
        return {kind: max(entry.engines[kind] for entry in self.profiles.values()) for kind in _ENGINES}

    def profile(self, name: str) -> Profile:
        """Return a profile.

        Raises:
            CatalogueError: this GPU has no such profile; the message lists its profiles.
        """
        try:
            return self.profiles[name]
        except KeyError:
            profiles = ", ".join(self.profiles)
            raise CatalogueError(f"{self.name} has no MIG profile {name!r}: it has {profiles}") from None


@dataclass(frozen=True)
class InstanceType:
    """Hardware of one EC2 instance type."""

    name: str
    cpu: int
    memory: str
    """Kubernetes quantity."""
    gpu: str | None
    """Name of the `Gpu`; None on a CPU-only machine."""
    gpus: int
    pods: int
    efa: int
    """EFA interfaces (resource vpc.amazonaws.com/efa)."""
    max_enis: int | None
    source: str
    unconfirmed: tuple[str, ...]


@dataclass(frozen=True)
class Catalogue:
    """All that ``catalogue.yaml`` holds."""

    gpus: Mapping[str, Gpu]
    instance_types: Mapping[str, InstanceType]
    sources: Mapping[str, str]
    driver_version: str
    cuda_version: str


@functools.cache
def load() -> Catalogue:
    """Return the validated catalogue of this package."""
    text = (importlib.resources.files("inferstack.mig") / "catalogue.yaml").read_text()
    return parse(yaml.load(text, getattr(yaml, "CSafeLoader", yaml.SafeLoader)))  # noqa: S506  # both are safe


def gpu(name: str) -> Gpu:
    """Return a GPU model by name.

    Raises:
        CatalogueError: there is none; the message suggests similar names.
    """
    return _named("GPU", name, load().gpus)


def instance_type(name: str) -> InstanceType:
    """Return an instance type by its EC2 name.

    Raises:
        CatalogueError: there is none; the message suggests similar names.
    """
    return _named("instance type", name, load().instance_types)


def profile_names() -> tuple[str, ...]:
    """Return the names of all MIG profiles, sorted by compute slices, memory and suffix, without suffix first."""
    names = {name for gpu in load().gpus.values() for name in gpu.profiles}
    return tuple(sorted(names, key=_profile_order))


def _profile_order(name: str) -> tuple[int, int, int]:
    match = _PROFILE_NAME.fullmatch(name)
    assert match  # noqa: S101  # the catalogue was checked
    return int(match["g"]), int(match["gb"]), _SUFFIXES.index(match["suffix"])


def _named(what: str, name: str, entries: Mapping[str, _Entry]) -> _Entry:
    try:
        return entries[name]
    except KeyError:
        part = [entry for entry in entries if name and name.lower() in entry.lower()]
        suggestions = part or difflib.get_close_matches(name, entries, n=3) or sorted(entries)
        raise CatalogueError(f"unknown {what} {name!r}: known are {', '.join(suggestions)}") from None


def parse(content: Any) -> Catalogue:
    """Check a parsed ``catalogue.yaml`` and return it as objects.

    Raises:
        CatalogueError: a field is missing, unknown or contradicts another; the message begins with its path.
    """
    top = _fields("catalogue", content, ("version", "sources", "driver", "gpus", "instance_types"))
    if top["version"] != 1:
        raise CatalogueError(f"catalogue.version: {top['version']!r} is not 1")
    gpus = {name: _gpu(name, entry, top["sources"]) for name, entry in top["gpus"].items()}
    types = {name: _instance_type(name, entry, gpus, top["sources"]) for name, entry in top["instance_types"].items()}
    driver = _fields("driver", top["driver"], ("version", "cuda"))
    catalogue = Catalogue(
        gpus=MappingProxyType(gpus),
        instance_types=MappingProxyType(types),
        sources=MappingProxyType(dict(top["sources"])),
        driver_version=str(driver["version"]),
        cuda_version=str(driver["cuda"]),
    )
    check_catalogue(catalogue)
    return catalogue


def _fields(path: str, entry: Any, names: Iterable[str], optional: Iterable[str] = ()) -> dict[str, Any]:
    expected = set(names)
    if not isinstance(entry, dict):
        raise CatalogueError(f"{path}: not a mapping")
    if missing := sorted(expected - entry.keys()):
        raise CatalogueError(f"{path}: lacks {', '.join(missing)}")
    if extra := sorted(str(key) for key in entry.keys() - expected - set(optional)):
        raise CatalogueError(f"{path}: unknown field {', '.join(extra)}")
    return entry


def _count(path: str, value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise CatalogueError(f"{path}: {value!r} is not a whole number from {low} to {high}")
    return value


def _gpu(name: str, entry: Any, sources: Mapping[str, str]) -> Gpu:
    path = f"gpus.{name}"
    names = ("product", "family", "compute_capability", "memory_mib", "pci_device_ids", "compute_slices")
    entry = _fields(path, entry, (*names, "memory_slices", "profiles"))
    for device in entry["pci_device_ids"]:
        if not re.fullmatch(r"0x[0-9A-F]{4}10DE", str(device)):
            raise CatalogueError(f"{path}.pci_device_ids: {device!r} is not 0xDDDD10DE")
    major, _, minor = str(entry["compute_capability"]).partition(".")
    profiles = {key: _profile(f"{path}.profiles.{key}", key, row, sources) for key, row in entry["profiles"].items()}
    gpu = Gpu(
        name=name,
        product=entry["product"],
        family=entry["family"],
        compute_capability=(int(major), int(minor)),
        memory_mib=_count(f"{path}.memory_mib", entry["memory_mib"], 1, 10**7),
        pci_device_ids=tuple(entry["pci_device_ids"]),
        compute_slices=_count(f"{path}.compute_slices", entry["compute_slices"], 1, 7),
        memory_slices=_count(f"{path}.memory_slices", entry["memory_slices"], 1, 64),
        profiles=MappingProxyType(profiles),
    )
    check_gpu(path, gpu)
    return gpu


def _profile(path: str, name: str, entry: Any, sources: Mapping[str, str]) -> Profile:
    names = ("gi_id", "compute_slices", "memory_slices", "starts", "max_count", "memory_mib", "multiprocessors")
    entry = _fields(path, entry, (*names, "engines", "source", "confirmed"), optional=("unseen",))
    match = _PROFILE_NAME.fullmatch(name)
    if not match:
        raise CatalogueError(f"{path}: the name is not of the form 1g.5gb, 1g.5gb+me, +gfx, +me.all or -me")
    if entry["compute_slices"] != int(match["g"]):
        raise CatalogueError(f"{path}.compute_slices: {entry['compute_slices']!r} contradicts the name")
    starts = tuple(_count(f"{path}.starts", start, 0, 63) for start in entry["starts"])
    if not starts or list(starts) != sorted(set(starts)):
        raise CatalogueError(f"{path}.starts: {list(starts)} is not a rising list")
    if entry["source"] not in sources:
        raise CatalogueError(f"{path}.source: {entry['source']!r} is not under sources")
    if not isinstance(entry["confirmed"], bool):
        raise CatalogueError(f"{path}.confirmed: {entry['confirmed']!r} is not true or false")
    unseen = tuple(entry.get("unseen", ()))
    if entry["confirmed"] == bool(unseen):
        raise CatalogueError(f"{path}.unseen: {list(unseen)} contradicts confirmed: {entry['confirmed']}")
    if unknown := sorted(set(unseen) - {*names, "engines"}):
        raise CatalogueError(f"{path}.unseen: {', '.join(unknown)} is no field")
    engines = _fields(f"{path}.engines", entry["engines"], _ENGINES)
    return Profile(
        name=name,
        gi_id=_count(f"{path}.gi_id", entry["gi_id"], 0, 255),
        compute_slices=entry["compute_slices"],
        memory_slices=_count(f"{path}.memory_slices", entry["memory_slices"], 1, 64),
        starts=starts,
        max_count=_count(f"{path}.max_count", entry["max_count"], 1, len(starts)),
        memory_mib=_count(f"{path}.memory_mib", entry["memory_mib"], 1, 10**7),
        multiprocessors=_count(f"{path}.multiprocessors", entry["multiprocessors"], 1, 1024),
        engines=MappingProxyType({key: _count(f"{path}.engines.{key}", engines[key], 0, 64) for key in _ENGINES}),
        source=entry["source"],
        confirmed=entry["confirmed"],
        unseen=unseen,
    )


def _instance_type(name: str, entry: Any, gpus: Mapping[str, Gpu], sources: Mapping[str, str]) -> InstanceType:
    path = f"instance_types.{name}"
    names = ("cpu", "memory", "gpu", "gpus", "pods", "efa", "max_enis", "source", "unconfirmed")
    entry = _fields(path, entry, names)
    if entry["gpu"] is not None and entry["gpu"] not in gpus:
        raise CatalogueError(f"{path}.gpu: {entry['gpu']!r} is not under gpus")
    if bool(entry["gpus"]) != (entry["gpu"] is not None):
        raise CatalogueError(f"{path}.gpus: {entry['gpus']!r} contradicts gpu: {entry['gpu']!r}")
    if entry["source"] not in sources:
        raise CatalogueError(f"{path}.source: {entry['source']!r} is not under sources")
    if not re.fullmatch(r"\d+(Gi|Mi)", str(entry["memory"])):
        raise CatalogueError(f"{path}.memory: {entry['memory']!r} is not a quantity such as 32Gi")
    if unknown := sorted(set(entry["unconfirmed"]) - set(names)):
        raise CatalogueError(f"{path}.unconfirmed: {', '.join(unknown)} is no field")
    enis = entry["max_enis"]
    return InstanceType(
        name=name,
        cpu=_count(f"{path}.cpu", entry["cpu"], 1, 4096),
        memory=entry["memory"],
        gpu=entry["gpu"],
        gpus=_count(f"{path}.gpus", entry["gpus"], 0, 64),
        pods=_count(f"{path}.pods", entry["pods"], 1, 10000),
        efa=_count(f"{path}.efa", entry["efa"], 0, 256),
        max_enis=None if enis is None else _count(f"{path}.max_enis", enis, 1, 256),
        source=entry["source"],
        unconfirmed=tuple(entry["unconfirmed"]),
    )
