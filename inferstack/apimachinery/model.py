"""Bases of all pydantic models: immutable, and strict about unknown keys."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class StrictModel(BaseModel):
    """An immutable model that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CamelModel(StrictModel):
    """A `StrictModel` whose keys are in camelCase, as in the Kubernetes API."""

    model_config = ConfigDict(alias_generator=to_camel)
