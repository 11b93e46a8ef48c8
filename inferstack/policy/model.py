"""The model of a rule file."""

from __future__ import annotations

import enum
from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from inferstack.apimachinery.model import CamelModel
from inferstack.policy.kinds import KINDS, WORKLOADS


class Data(CamelModel):
    """Base of rules and their settings: immutable, keys in camelCase, unknown keys rejected."""

    model_config = ConfigDict(populate_by_name=True)


class Severity(enum.StrEnum):
    """Severity of a violation."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"


class Level(enum.StrEnum):
    """Enforcement level of a rule."""

    DISABLED = "disabled"
    ADVISORY = "advisory"
    """A violation is reported."""
    MANDATORY = "mandatory"
    """A violation fails the preview, the update and the request to the API server."""
    REMEDIATE = "remediate"
    """The resource's inputs are changed; for rules with a remedy."""


class Framework(Data):
    """A control that a rule implements."""

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
    """Inferstack: a requirement of this platform that no other framework has."""
    control: str
    """Number or name of the control."""


class Cel(Data):
    """A check of one Kubernetes object in CEL, evaluated by the policy pack and by the API server alike.

    Use only what both dialects have: macros (``has``, ``all``, ``exists``, ``filter``, ``map``), operators,
    ``size``, ``matches``, ``startsWith``, ``endsWith``, ``contains``, ``in``; no ``?.``, ``quantity``, ``split`` or
    ``join``. Guard ``&&`` and ``||`` from the left.
    """

    kinds: tuple[str, ...]
    """Names in `KINDS`; ``workloads`` for all kinds with pods."""
    scope: Literal["tenants", "all"] = "all"
    """tenants: objects in tenants' namespaces only."""
    where: str = "true"
    """Condition for an object to be in scope."""
    variables: dict[str, str] = Field(default_factory=dict)
    """Variables in addition to `VARIABLES` and the configuration, in order."""
    each: str | None = None
    """A list; the expression is evaluated for each ``item``."""
    item: str = "has(item.name) ? item.name : '(unnamed)'"
    """Name of an item in messages."""
    expression: str
    """True if the object complies."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        if unknown := set(self.kinds) - set(KINDS) - {"workloads"}:
            raise ValueError(f"unknown kinds: {', '.join(sorted(unknown))}")
        return self

    @property
    def served(self) -> tuple[str, ...]:
        """Names of the kinds, without duplicates."""
        names = [name for kind in self.kinds for name in (WORKLOADS if kind == "workloads" else (kind,))]
        return tuple(dict.fromkeys(names))


class Check(Data):
    """A check in Python: ``module.function`` below `inferstack.policy.checks`."""

    function: str
    types: tuple[str, ...] = ()
    """Type tokens of the resources to check one by one; empty: the check gets the stack as a whole."""


class Option(Data):
    """One key of a rule's configuration, as in JSON schema."""

    type: Literal["string", "integer", "number", "boolean", "array", "object"]
    default: Any
    description: str
    """Meaning, unit and reason for the default."""
    items: dict[str, Any] | None = None
    additional_properties: dict[str, Any] | None = None
    enum: tuple[Any, ...] | None = None
    minimum: float | None = None


class Example(Data):
    """Resources that comply with a rule or violate it; used by tests and on the rule's page."""

    title: str
    """Title, such as ``a privileged container``."""
    resources: tuple[dict[str, Any], ...] = Field(min_length=1)
    """Kubernetes manifests, or ``{type, name, properties, protect}`` of other resources."""
    config: dict[str, Any] = Field(default_factory=dict)
    """Configuration of the rule, over the defaults."""
    stack: str = "prod"
    settings: dict[str, Any] = Field(default_factory=dict)
    """The stack's own values by role."""


class Rule(Data):
    """One rule."""

    id: str = Field(pattern=r"^[a-z][a-z0-9]*(-[a-z0-9]+)+$")
    title: str
    """The requirement, as a sentence."""
    category: Literal["gpu", "pods", "supply", "tenancy", "mesh", "network", "delivery", "storage", "aws", "platform"]
    severity: Severity
    frameworks: tuple[Framework, ...] = Field(min_length=1)
    why: str
    """Rationale: the consequence of a violation."""
    fix: str
    """How to fix a violation; the end of each message."""
    config: dict[str, Option] = Field(default_factory=dict)
    cel: Cel | None = None
    check: Check | None = None
    remedy: Literal["labels", "tags"] | None = None
    """What `Level.REMEDIATE` adds: the keys and values of ``required`` in the configuration."""
    good: tuple[Example, ...] = Field(min_length=1)
    bad: tuple[Example, ...] = Field(min_length=2)

    @model_validator(mode="after")
    def _one_check(self) -> Self:
        if (self.cel is None) == (self.check is None):
            raise ValueError("must have either cel or check")
        return self

    @model_validator(mode="after")
    def _known_keys(self) -> Self:
        for example in (*self.good, *self.bad):
            if unknown := example.config.keys() - self.config.keys():
                raise ValueError(f"example “{example.title}”: unknown configuration keys: {', '.join(unknown)}")
        return self

    @property
    def defaults(self) -> dict[str, Any]:
        """The default configuration."""
        return {key: option.default for key, option in self.config.items()}

    @property
    def of_stack(self) -> bool:
        """Whether it checks the stack as a whole."""
        return self.check is not None and not self.check.types
