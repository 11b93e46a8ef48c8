"""Which server serves a model: ``runtimes.yaml``, read once and checked."""

from __future__ import annotations

import functools
import importlib.resources
import re
from collections.abc import Mapping
from typing import Annotated

import yaml
from pydantic import BaseModel, ConfigDict, Field

from inferstack.api import InferenceJobSpec, MetricType, RuntimeName
from inferstack.versions import load as load_versions


class Runtime(BaseModel):
    """One server, as the head of ``runtimes.yaml`` explains."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: RuntimeName
    image: str
    """Full reference."""
    args: tuple[str, ...]
    cached: tuple[str, ...] = ()
    port: Annotated[int, Field(ge=1024, le=65535)]
    metrics_port: Annotated[int, Field(ge=1024, le=65535)] | None
    health: str
    ready: str
    start_seconds: Annotated[int, Field(ge=10, le=7200)]
    shared_memory: str | None
    resources: dict[str, str]
    metrics: dict[MetricType, str]


class ModelRule(BaseModel):
    """Models by pattern, and their server."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pattern: re.Pattern[str]
    runtime: RuntimeName
    args: tuple[str, ...]


class Table(BaseModel):
    """The whole file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: tuple[ModelRule, ...]
    runtimes: dict[RuntimeName, Runtime]

    def choose(self, spec: InferenceJobSpec) -> Runtime:
        """Return the runtime of a job with the arguments that its model needs."""
        rule = next(rule for rule in self.models if rule.pattern.fullmatch(spec.model))
        chosen = self.runtimes[spec.runtime or rule.runtime]
        if chosen.name is not rule.runtime:
            return chosen
        return chosen.model_copy(update={"args": (*chosen.args, *rule.args)})


@functools.cache
def load() -> Table:
    """Return the table of this package, images filled in from ``versions.yaml``."""
    text = (importlib.resources.files("inferstack.api") / "runtimes.yaml").read_text()
    return parse(yaml.safe_load(text), load_versions()["images"])


def parse(content: Mapping[str, object], images: Mapping[str, str]) -> Table:
    """Check a parsed ``runtimes.yaml``; the last pattern must match every model.

    Raises:
        pydantic.ValidationError: naming what is wrong.
        KeyError: an image that ``versions.yaml`` does not have.
    """
    runtimes = content["runtimes"]
    assert isinstance(runtimes, dict)  # noqa: S101  # our own file, checked by a test
    named = {name: {**entry, "name": name, "image": images[entry["image"]]} for name, entry in runtimes.items()}
    rules = content["models"]
    assert isinstance(rules, list)  # noqa: S101
    compiled = [{**rule, "pattern": re.compile(rule["pattern"], re.IGNORECASE)} for rule in rules]
    return Table.model_validate({"models": compiled, "runtimes": named})
