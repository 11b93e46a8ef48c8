"""The compatibility matrix, read from ``compatibility.yaml``, whose header explains each field."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints, model_validator

from inferstack.apimachinery import yamltext
from inferstack.apimachinery.model import CamelModel

Minor = Annotated[str, StringConstraints(pattern=r"^\d+\.\d+$")]
FullDriver = Annotated[str, StringConstraints(pattern=r"^\d{3}\.\d{2,3}\.\d{2}$")]


class _Model(CamelModel):
    model_config = ConfigDict(populate_by_name=True)


class _Row(_Model):
    source: str


class Range(_Model):
    """An inclusive range of minor versions."""

    first: Minor = Field(alias="from")
    last: Minor = Field(alias="to")

    def __str__(self) -> str:
        return f"{self.first} to {self.last}"


class Operator(_Row):
    """A version of the GPU operator."""

    default_driver: FullDriver
    drivers: dict[str, FullDriver]
    kubernetes: Range
    runtimes: dict[str, Range | None]
    nri: dict[str, Range]
    nri_source: str


class GpuRow(_Row):
    """A GPU model."""

    driver: FullDriver
    open_modules: bool
    confirmed: bool
    """Whether the source states the row as such."""


class Branch(_Row):
    """A driver branch."""

    kind: str
    end: Annotated[str, StringConstraints(pattern=r"^\d{4}-\d{2}$")]


class Cuda(_Row):
    """A major version of CUDA."""

    branch: int


class Image(_Row):
    """A container image with CUDA."""

    reference: str
    cuda: Minor


class NodeImage(_Row):
    """A node image that contains driver and container toolkit."""

    driver: Annotated[str, StringConstraints(pattern=r"^\d{3}$")]


class Table(_Model):
    """The whole matrix."""

    version: int
    sources: dict[str, str]
    operators: dict[str, Operator]
    gpus: dict[str, GpuRow]
    branches: dict[str, Branch]
    cuda: dict[str, Cuda]
    images: dict[str, Image]
    node_images: dict[str, NodeImage]

    @model_validator(mode="after")
    def _sourced(self) -> Table:
        tables = (self.operators, self.gpus, self.branches, self.cuda, self.images, self.node_images)
        named = {row.source for table in tables for row in table.values()}
        named |= {row.nri_source for row in self.operators.values()}
        if unknown := sorted(named - self.sources.keys()):
            raise ValueError(f"not under sources: {', '.join(unknown)}")
        return self


@functools.cache
def load() -> Table:
    """Return the validated matrix of this package."""
    return parse((Path(__file__).parent / "compatibility.yaml").read_text())


def parse(text: str) -> Table:
    """Check the text of a table.

    Raises:
        ValueError: a row lacks a field, has an unknown one or lacks a source; the message names the row.
    """
    return Table.model_validate(yamltext.parse(text))
