"""The instance types and Kubernetes releases of ``catalogue.yaml``; the file's head explains each field."""

from __future__ import annotations

import datetime
import difflib
import functools
import importlib.resources
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from pydantic import ConfigDict, Field, model_validator

from inferstack.apimachinery import yamltext
from inferstack.apimachinery.model import CamelModel, StrictModel
from inferstack.errors import UserError
from inferstack.mig import catalogue as mig

Family = Literal["standard", "G", "P"]
_Kind = TypeVar("_Kind", bound="_Row")


class _Row(CamelModel):
    model_config = ConfigDict(populate_by_name=True)

    source: str
    confirmed: bool
    """Whether the row was verified against its source."""


class InstanceType(_Row):
    """Hardware of one EC2 instance type."""

    name: str
    family: Family
    vcpus: int = Field(ge=1)
    memory_mib: int = Field(ge=512)
    gpu: str | None
    gpus: int = Field(ge=0)
    network_cards: int = Field(ge=1)
    interfaces_per_card: int = Field(ge=1)
    efa: int = Field(ge=0)
    disks: int = Field(ge=0)
    disk_gb: int = Field(ge=0)
    capacity_blocks: bool

    @model_validator(mode="after")
    def _consistent(self) -> InstanceType:
        if bool(self.gpus) != (self.gpu is not None) or bool(self.disks) != bool(self.disk_gb):
            raise ValueError(f"{self.name}: a number and what it counts contradict each other")
        if self.efa > self.network_cards:
            raise ValueError(f"{self.name}: {self.efa} EFA interfaces on {self.network_cards} cards")
        return self


class Release(_Row):
    """A Kubernetes minor version on EKS."""

    version: str
    standard: datetime.date
    """Last day of standard support."""
    extended: datetime.date
    """Last day of extended support."""


class Catalogue(StrictModel):
    """All that ``catalogue.yaml`` holds."""

    instance_types: dict[str, InstanceType]
    releases: dict[str, Release]
    """By version, oldest first."""
    sources: dict[str, str]


@functools.cache
def load() -> Catalogue:
    """Return the checked catalogue of this package."""
    return parse(yamltext.parse((importlib.resources.files("inferstack.aws") / "catalogue.yaml").read_text()))


def parse(content: Mapping[str, Any]) -> Catalogue:
    """Check the content of a catalogue.

    Raises:
        ValueError: a row lacks a field, has one too many, or contradicts itself; the message names the row.
    """
    types = {name: _row(InstanceType, name=name, row=row) for name, row in content["instanceTypes"].items()}
    releases = {version: _row(Release, version=version, row=row) for version, row in content["releases"].items()}
    for row in (*types.values(), *releases.values()):
        if row.source not in content["sources"]:
            raise ValueError(f"{row}: the source {row.source} is not under sources")
    gpu_models = {*mig.load().gpus, *content["withoutMig"]}
    for entry in types.values():
        if entry.gpu is not None and entry.gpu not in gpu_models:
            raise ValueError(f"{entry.name}: the GPU {entry.gpu} is neither in the MIG catalogue nor under withoutMig")
    return Catalogue(instance_types=types, releases=releases, sources=content["sources"])


def _row(model: type[_Kind], *, row: Mapping[str, Any], **key: str) -> _Kind:
    return model.model_validate({**row, **key})


def instance_type(name: str) -> InstanceType:
    """Return an instance type.

    Raises:
        UserError: the catalogue has no such type; the message suggests similar ones.
    """
    gpu_models = load().instance_types
    if name not in gpu_models:
        suggestions = difflib.get_close_matches(name, gpu_models, n=3) or sorted(gpu_models)
        raise UserError(f"unknown instance type {name!r}: known are {', '.join(suggestions)}")
    return gpu_models[name]
