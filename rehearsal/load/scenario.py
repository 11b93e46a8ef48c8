"""Load scenarios: for each job, the arrival process, request sizes and server speed; YAML, validated with key paths."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import ConfigDict, Field, ValidationError, model_validator

from inferstack.apimachinery.model import CamelModel
from inferstack.errors import UserError

_MAX_RATE = 2000.0
"""Requests per second of one job: the limit of what one core simulates."""
Rate = Annotated[float, Field(ge=0, le=_MAX_RATE)]
Seconds = Annotated[float, Field(ge=0, le=10_000_000)]
Positive = Annotated[float, Field(gt=0, le=10_000_000)]


class Strict(CamelModel):
    """Base of scenario models: camelCase keys, unknown keys are errors."""

    model_config = ConfigDict(populate_by_name=True)


class Constant(Strict):
    """A constant rate."""

    type: Literal["constant"]
    rate: Rate
    """Requests per second."""


class Step(Strict):
    """A rate that changes at one time, and changes back at `untilSeconds`, if set."""

    type: Literal["step"]
    before: Rate
    after: Rate
    at_seconds: Seconds
    until_seconds: Seconds | None = None


class Diurnal(Strict):
    """A sine wave between two rates, which starts at the lower one."""

    type: Literal["diurnal"]
    low: Rate
    high: Rate
    period_seconds: Positive = 86_400


class FlashCrowd(Strict):
    """A base rate that climbs to a peak, holds it, and decays exponentially back to the base."""

    type: Literal["flashCrowd"]
    base: Rate
    peak: Rate
    at_seconds: Seconds
    climb_seconds: Positive = 5
    hold_seconds: Seconds = 30
    half_life_seconds: Positive = 60


class Trace(Strict):
    """The requests of a CSV file with the columns timestamp, input tokens and output tokens."""

    type: Literal["trace"]
    file: Path
    """Absolute, or relative to the scenario's folder."""
    speed: Positive = 1
    """Seconds of the trace per second."""


Arrivals = Annotated[Constant | Step | Diurnal | FlashCrowd | Trace, Field(discriminator="type")]


class Tokens(Strict):
    """Log-normal distribution of the number of tokens."""

    mean: Annotated[float, Field(ge=1, le=1_000_000)]
    spread: Annotated[float, Field(ge=0, le=3)] = 0.5
    """Standard deviation of the logarithm; 0 for a constant length."""


class ServerModel(Strict):
    """Speed of one replica. The defaults approximate a 7 B model on an A100; measure your own."""

    max_running: Annotated[int, Field(ge=1, le=10_000)] = 64
    """Maximum batch size (vLLM: --max-num-seqs)."""
    prefill_tokens_per_second: Positive = 12_000
    """Prefill speed; prompts are processed one after the other."""
    token_seconds: Positive = 0.012
    """Time per output token with one running request."""
    token_seconds_per_request: Seconds = 0.0003
    """Added time per output token for each further running request."""
    kv_cache_tokens: Annotated[int, Field(ge=1)] = 400_000
    """Capacity of the KV cache; a request that does not fit waits."""
    cold_start_seconds: Seconds = 0
    """Time to load the model: from the pod's Ready condition to the first accepted request."""


class JobLoad(Strict):
    """The load of one InferenceJob."""

    job: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?/[a-z]([-a-z0-9]*[a-z0-9])?$")]
    """namespace/name."""
    arrivals: Arrivals
    prompt: Tokens = Tokens(mean=250)
    """Prompt tokens; ignored for a trace."""
    output: Tokens = Tokens(mean=150)
    """Output tokens; ignored for embedding servers and for a trace."""
    server: ServerModel = ServerModel()
    timeout_seconds: Positive = 120
    """Time in the queue after which a client times out."""
    routing: Literal["leastRequest", "random"] = "leastRequest"
    """Load-balancing policy of the mesh."""


class Scenario(Strict):
    """The jobs under load; all others are idle."""

    jobs: Annotated[tuple[JobLoad, ...], Field(min_length=1, max_length=500)]

    @model_validator(mode="after")
    def _once(self) -> Self:
        names: set[str] = set()
        for load in self.jobs:
            if load.job in names:
                raise ValueError(f"jobs: duplicate job {load.job}")
            names.add(load.job)
        return self


def read(path: Path) -> Scenario:
    """Read a scenario; make paths of traces absolute and check that the files exist.

    Raises:
        UserError: the file cannot be read, or a key or value is invalid.
    """
    try:
        content = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UserError(f"The scenario {path} cannot be read: {error.strerror}.") from error
    except yaml.YAMLError as error:
        raise UserError(f"The scenario {path} is not valid YAML: {error}") from error
    if not isinstance(content, Mapping):
        raise UserError(f"The scenario {path} is not a mapping; it begins with `jobs:`.")
    scenario = parse(content, str(path))
    jobs: list[JobLoad] = []
    for index, load in enumerate(scenario.jobs):
        arrivals = load.arrivals
        if isinstance(arrivals, Trace):
            file = (path.parent / arrivals.file).resolve()
            if not file.is_file():
                raise UserError(f"{path}: jobs[{index}].arrivals.file: no such file: {file}.")
            arrivals = arrivals.model_copy(update={"file": file})
        jobs.append(load.model_copy(update={"arrivals": arrivals}))
    return scenario.model_copy(update={"jobs": tuple(jobs)})


def parse(content: Mapping[str, Any], name: str) -> Scenario:
    """Validate a parsed scenario.

    Args:
        content: content of the file.
        name: prefix of each error line.

    Raises:
        UserError: a key or value is invalid; one line each.
    """
    try:
        return Scenario.model_validate(content)
    except ValidationError as error:
        lines = [f"{name}: {_key(detail['loc'])}{_message(detail)}" for detail in error.errors()]
        raise UserError("\n".join(lines)) from error


def _key(location: tuple[str | int, ...]) -> str:
    path = ""
    for index, part in enumerate(location):
        # pydantic inserts the discriminator value between `arrivals` and its key.
        if index and location[index - 1] == "arrivals":
            continue
        path += f"[{part}]" if isinstance(part, int) else f".{part}"
    return f"{path.removeprefix('.')}: " if path else ""


def _message(detail: Any) -> str:
    if detail["type"] == "extra_forbidden":
        return "unknown key; `inferstack load schema` lists all keys."
    if detail["type"] == "missing":
        return "is required."
    message = detail["msg"].removeprefix("Value error, ")
    return message if detail["type"] == "value_error" else f"{message}, got {detail['input']!r}."
