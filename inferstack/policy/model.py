"""A rule as data."""

from __future__ import annotations

import enum
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from inferstack.apimachinery.model import CamelModel
from inferstack.policy.kinds import KINDS, WORKLOADS


class Data(CamelModel):
    """Base of all that rules and their settings are made of: immutable, unknown keys refused, keys in camelCase."""

    model_config = ConfigDict(populate_by_name=True, use_attribute_docstrings=True)


class Severity(enum.StrEnum):
    """What is at stake."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Level(enum.StrEnum):
    """What a finding does."""

    DISABLED = "disabled"
    ADVISORY = "advisory"
    """It is shown."""
    MANDATORY = "mandatory"
    """It stops the preview, the update and the request to the API server."""
    REMEDIATE = "remediate"
    """The program's input is mended; for rules with a remedy."""


class Framework(Data):
    """Where a rule comes from."""

    name: Literal[
        "CIS Kubernetes",
        "CIS EKS",
        "CIS AWS",
        "NSA/CISA",
        "Pod Security Standards",
        "AWS FSBP",
        "Kubernetes",
        "NVIDIA",
        "Istio",
        "Inferstack",
    ]
    """Inferstack: a fact of this platform that no outside framework names."""
    control: str
    """Number or name of the control there."""


class Cel(Data):
    """A check of one Kubernetes object in CEL, evaluated by the policy pack and by the API server alike.

    What is here must be in both dialects: macros (``has``, ``all``, ``exists``, ``filter``, ``map``), operators,
    ``size``, ``matches``, ``startsWith``, ``endsWith``, ``contains``, ``in``; no ``?.``, ``quantity``, ``split`` or
    ``join``. ``&&`` and ``||`` are to be guarded from the left.
    """

    kinds: tuple[str, ...]
    """Names out of `KINDS`; ``workloads`` for all that hold pods."""
    scope: Literal["tenants", "all"] = "all"
    """tenants: objects in tenants' namespaces only."""
    where: str = "true"
    """Which of the objects are meant."""
    variables: dict[str, str] = Field(default_factory=dict)
    """More of them, in order, beside `VARIABLES` and the configuration's own."""
    each: str | None = None
    """A list; the expression then holds for each ``item`` of it."""
    item: str = "has(item.name) ? item.name : '(unnamed)'"
    """What an item is called in messages."""
    expression: str
    """True where the object is as it should be."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        if unknown := set(self.kinds) - set(KINDS) - {"workloads"}:
            raise ValueError(f"unknown kinds: {', '.join(sorted(unknown))}")
        return self

    @property
    def served(self) -> tuple[str, ...]:
        """Names of the kinds, each once."""
        named = [each for kind in self.kinds for each in (WORKLOADS if kind == "workloads" else (kind,))]
        return tuple(dict.fromkeys(named))


class Check(Data):
    """A check in Python: ``module.function`` below `inferstack.policy.checks`."""

    function: str
    types: tuple[str, ...] = ()
    """Tokens of the resources it looks at, one by one; empty: it is given the stack as a whole."""


class Option(Data):
    """One key of a rule's configuration, as JSON schema has it."""

    type: Literal["string", "integer", "number", "boolean", "array", "object"]
    default: Any
    description: str
    """Meaning and unit, and why this default."""
    items: dict[str, Any] | None = None
    additional_properties: dict[str, Any] | None = None
    enum: tuple[Any, ...] | None = None
    minimum: float | None = None


class Example(Data):
    """Resources that are right or wrong by a rule; tests feed them to both gates, pages show the first of each."""

    title: str
    """What is right or wrong with it."""
    resources: tuple[dict[str, Any], ...] = Field(min_length=1)
    """Kubernetes manifests, or ``{type, name, properties, protect}`` of others."""
    config: dict[str, Any] = Field(default_factory=dict)
    """Of the rule, where the default is not meant."""
    stack: str = "prod"
    settings: dict[str, Any] = Field(default_factory=dict)
    """The stack's own values by role, where a rule looks at them."""


class Rule(Data):
    """One rule."""

    id: str = Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)+$")
    title: str
    """What holds, as a sentence."""
    category: Literal["gpu", "pods", "supply", "tenancy", "mesh", "network", "delivery", "storage", "aws", "platform"]
    severity: Severity
    frameworks: tuple[Framework, ...] = Field(min_length=1)
    why: str
    """What happens where it does not hold."""
    fix: str
    """What to do; the message of a finding ends with it."""
    config: dict[str, Option] = Field(default_factory=dict)
    cel: Cel | None = None
    check: Check | None = None
    remedy: Literal["labels", "tags"] | None = None
    """What `Level.REMEDIATE` mends; the configuration's ``required`` says which and with what value."""
    good: tuple[Example, ...] = Field(min_length=1)
    bad: tuple[Example, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _one_check(self) -> Self:
        if (self.cel is None) == (self.check is None):
            raise ValueError("has cel or check, one of them")
        return self

    @model_validator(mode="after")
    def _known_keys(self) -> Self:
        for example in (*self.good, *self.bad):
            if unknown := example.config.keys() - self.config.keys():
                raise ValueError(f"the example “{example.title}” configures what there is not: {', '.join(unknown)}")
        return self

    @property
    def defaults(self) -> dict[str, Any]:
        """The configuration where a stack says nothing."""
        return {key: option.default for key, option in self.config.items()}

    @property
    def of_stack(self) -> bool:
        """Whether it looks at the stack as a whole."""
        return self.check is not None and not self.check.types
