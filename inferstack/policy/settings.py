"""How a stack is held to the rules: levels, configuration, and exceptions with an owner and an end."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StrictBool, StringConstraints, model_validator

from inferstack.errors import hint
from inferstack.policy.model import Data, Level, Option, Rule
from inferstack.policy.registry import rules

_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
}


class PolicyException(Data):
    """Leave for some resources to break one rule, until a day."""

    rule: str
    """Id of the rule."""
    resource: Annotated[str, StringConstraints(min_length=1)]
    """Which: a Kubernetes object as ``Kind namespace/name``, another by its Pulumi name; ``*`` stands for any text."""
    owner: Annotated[str, StringConstraints(min_length=2)]
    """Who answers for it: a team or an address."""
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=10, max_length=500)]
    """Why, a sentence that a reviewer can judge."""
    expires: dt.date
    """Last day on which it holds (UTC), ``2027-01-31``."""

    @model_validator(mode="after")
    def _known(self) -> Self:
        if self.rule not in rules():
            raise ValueError(f'there is no rule "{self.rule}"; {hint(self.rule, rules())}')
        return self

    @property
    def pattern(self) -> str:
        """``resource`` as a regular expression in RE2's syntax, which Python's ``re`` reads alike."""
        return "^" + ".*".join(map(re.escape, self.resource.split("*"))) + "$"

    def holds(self, today: dt.date) -> bool:
        """Tell whether it has not ended."""
        return today <= self.expires

    def covers(self, rule: str, label: str) -> bool:
        """Tell whether it is about this rule and this resource, whatever the day."""
        return rule == self.rule and re.search(self.pattern, label) is not None


class PolicySettings(Data):
    """See ``policies`` in the defaults of the security role."""

    enforcement: Literal[Level.ADVISORY, Level.MANDATORY]
    admission: StrictBool
    levels: dict[str, Level]
    config: dict[str, dict[str, Any]]
    exceptions: tuple[PolicyException, ...]
    max_exception_days: Annotated[int, Field(ge=1, le=3650)]

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for name in (*self.levels, *self.config):
            if name not in rules():
                raise ValueError(f'there is no rule "{name}"; {hint(name, rules())}')
        for name, level in self.levels.items():
            if level is Level.REMEDIATE and rules()[name].remedy is None:
                raise ValueError(f"{name}: it has no safe remedy; its level is mandatory, advisory or disabled")
        for name, given in self.config.items():
            _check(rules()[name], given)
        return self

    @classmethod
    def strict(cls, config: Mapping[str, Mapping[str, Any]] | None = None) -> PolicySettings:
        """Return settings without exceptions, under which every finding counts; ``config`` is by rule."""
        given = {name: dict(values) for name, values in (config or {}).items()}
        return cls(
            enforcement=Level.MANDATORY, admission=True, levels={}, config=given, exceptions=(), max_exception_days=90
        )

    def level(self, rule: Rule) -> Level:
        """Return what a finding of a rule does in this stack."""
        return self.levels.get(rule.id, self.enforcement)

    def config_of(self, rule: Rule) -> dict[str, Any]:
        """Return a rule's configuration: the stack's over the defaults, key by key."""
        return {**rule.defaults, **self.config.get(rule.id, {})}

    def excepted(self, rule: str, label: str, today: dt.date) -> PolicyException | None:
        """Return the exception that holds for a resource today, if there is one."""
        return next((e for e in self.exceptions if e.covers(rule, label) and e.holds(today)), None)

    def expired(self, rule: str, label: str, today: dt.date) -> PolicyException | None:
        """Return the exception that held for a resource and has ended, if there is one."""
        return next((e for e in self.exceptions if e.covers(rule, label) and not e.holds(today)), None)


def _check(rule: Rule, given: Mapping[str, Any]) -> None:
    for key, value in given.items():
        option = rule.config.get(key)
        if option is None:
            raise ValueError(f"{rule.id}.{key}: unknown key; {hint(key, rule.config)}")
        if not _fits_option(option, value):
            raise ValueError(f"{rule.id}.{key}: expected {_told(option)}, got {value!r}")


def _is(value: object, kind: str) -> bool:
    return isinstance(value, _TYPES[kind]) and not (kind in ("integer", "number") and isinstance(value, bool))


def _fits_option(option: Option, value: Any) -> bool:
    if not _is(value, option.type):
        return False
    inner = (option.items or option.additional_properties or {}).get("type")
    if inner and not all(_is(each, inner) for each in (value.values() if option.type == "object" else value)):
        return False
    if option.enum is not None and value not in option.enum:
        return False
    return option.minimum is None or bool(value >= option.minimum)


def _told(option: Option) -> str:
    of = option.items or option.additional_properties or {}
    text = f"{option.type}{' of ' + of['type'] if 'type' in of else ''}"
    if option.enum is not None:
        text = f"one of {', '.join(map(repr, option.enum))}"
    return text if option.minimum is None else f"{text}, {option.minimum:g} or more"
