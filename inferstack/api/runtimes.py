"""The runtimes, servers of models: ``runtimes.yaml``, validated."""

from __future__ import annotations

import functools
import importlib.resources
import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from inferstack.api import InferenceJobSpec, MetricType, RuntimeName
from inferstack.apimachinery import yamltext
from inferstack.apimachinery.model import StrictModel
from inferstack.versions import load as load_versions


class Runtime(StrictModel):
    """A server; the head of ``runtimes.yaml`` describes the fields."""

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


class ModelRule(StrictModel):
    """The runtime of the models that match a pattern."""

    pattern: re.Pattern[str]
    runtime: RuntimeName
    args: tuple[str, ...]


class Table(StrictModel):
    """The whole file."""

    models: tuple[ModelRule, ...]
    runtimes: dict[RuntimeName, Runtime]

    def choose(self, spec: InferenceJobSpec) -> Runtime:
        """Return the runtime of a job, with the arguments that its model needs."""
        rule = next(rule for rule in self.models if rule.pattern.fullmatch(spec.model))
        chosen = self.runtimes[spec.runtime or rule.runtime]
        if chosen.name is not rule.runtime:
            return chosen
        return chosen.model_copy(update={"args": (*chosen.args, *rule.args)})


@functools.cache
def load() -> Table:
    """Return the table of this package, with the images of ``versions.yaml``."""
    text = (importlib.resources.files("inferstack.api") / "runtimes.yaml").read_text()
    return parse(yamltext.parse(text), load_versions()["images"])


def parse(content: Mapping[str, object], images: Mapping[str, str]) -> Table:
    """Validate a parsed ``runtimes.yaml``; the last pattern must match every model.

    Raises:
        pydantic.ValidationError: the content is invalid.
        KeyError: ``versions.yaml`` lacks an image.
    """
    runtimes = content["runtimes"]
    assert isinstance(runtimes, dict)  # noqa: S101  # our own file, checked by a test
    named = {name: {**entry, "name": name, "image": images[entry["image"]]} for name, entry in runtimes.items()}
    rules = content["models"]
    assert isinstance(rules, list)  # noqa: S101
    compiled = [{**rule, "pattern": re.compile(rule["pattern"], re.IGNORECASE)} for rule in rules]
    return Table.model_validate({"models": compiled, "runtimes": named})


def make_adapter_rules() -> list[dict[str, Any]]:
    """Return prometheus-adapter's rules: one for each metric that a HorizontalPodAutoscaler of a job may ask for."""
    names = {name for runtime in load().runtimes.values() for name in runtime.metrics.values()}
    return [
        {
            "seriesQuery": f'{name}{{namespace!="",pod!=""}}',
            "resources": {"overrides": {"namespace": {"resource": "namespace"}, "pod": {"resource": "pod"}}},
            "name": {"as": name},
            "metricsQuery": "sum(<<.Series>>{<<.LabelMatchers>>}) by (<<.GroupBy>>)",
        }
        for name in sorted(names)
    ]
