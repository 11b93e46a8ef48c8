"""The table of settings, read from ``table.yaml``."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Literal

from pydantic import Field, StrictInt, model_validator

from inferstack.apimachinery import yamltext
from inferstack.apimachinery.model import CamelModel, StrictModel

Value = int | str


class Allowed(StrictModel):
    """The allowed values of a setting."""

    min: StrictInt | None = None
    max: StrictInt | None = None
    values: tuple[StrictInt | str, ...] = ()

    def holds(self, value: Value) -> bool:
        """Return whether a value is allowed."""
        if self.values:
            return value in self.values
        return isinstance(value, int) and (self.min or 0) <= value <= (self.max or 0)

    def __str__(self) -> str:
        return ", ".join(map(str, self.values)) if self.values else f"a whole number from {self.min} to {self.max}"


class Row(CamelModel):
    """One setting; see the head of table.yaml."""

    key: str
    kind: Literal["sysctl", "sysfs", "hold", "irq", "advice"]
    path: str | None = None
    value: StrictInt | str | None = None
    unit: str | None = None
    allowed: Allowed | None = None
    scope: Literal["node", "namespace"]
    why: str = Field(min_length=20)
    cost: str | None = None
    source: str = Field(min_length=10)
    kernel: str | None = None
    option: str | None = None
    looks_for: str | None = None

    @model_validator(mode="after")
    def _whole(self) -> Row:
        settable = self.kind in ("sysctl", "sysfs", "hold")
        if settable and (self.value is None or self.unit is None or self.allowed is None):
            raise ValueError(f"{self.key}: a value that can be set needs a value, a unit and what else is allowed")
        if self.kind != "advice" and (self.cost is None or self.kernel is None):
            raise ValueError(f"{self.key}: what is written needs its cost and the first kernel that has it")
        if self.kind in ("sysfs", "hold") and self.path is None:
            raise ValueError(f"{self.key}: needs a path")
        return self

    @property
    def file(self) -> str:
        """Path from the root."""
        return self.path or f"proc/sys/{self.key.replace('.', '/')}"

    @property
    def settable(self) -> bool:
        """Whether a stack may set it."""
        return self.allowed is not None


@functools.cache
def load() -> dict[str, Row]:
    """Return all rows by key, in file order."""
    content = yamltext.parse((Path(__file__).parent / "table.yaml").read_text())
    rows = [Row.model_validate(row) for row in content]
    by_key = {row.key: row for row in rows}
    assert len(by_key) == len(rows)  # noqa: S101  # our own file, checked by a test
    return by_key
