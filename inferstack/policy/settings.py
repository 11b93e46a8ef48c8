"""A stack's settings of the rules: levels, configuration, and exceptions with an owner and a last day."""

from __future__ import annotations

import datetime as dt
import enum
import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StrictInt, StringConstraints, ValidationError
from pydantic_core import InitErrorDetails, PydanticCustomError

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
# YAML reads a day without quotes as a timestamp, which Pulumi formats.
_DAY = re.compile(r"(\d{4}-\d{2}-\d{2})(?: 00:00:00 \+0000 UTC)?")

_NAME = r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"


def _rule(value: str) -> str:
    if value not in rules():
        raise ValueError(f'there is no rule "{value}"; {hint(value, rules())}')
    return value


def _day(value: object) -> object:
    if isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        return value
    match = _DAY.fullmatch(value) if isinstance(value, str) else None
    try:
        return dt.date.fromisoformat(match[1] if match else "")
    except ValueError:
        raise ValueError(f"expected a day such as 2027-01-31, got {value!r}") from None


def _namespace(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(_NAME, value):
        raise ValueError(f"expected the name of a namespace, got {json.dumps(value, default=str)}")
    return value


def _account(value: object) -> str:
    if not isinstance(value, str) or not re.fullmatch(f"{_NAME}/{_NAME}", value):
        raise ValueError(f"expected a service account as namespace/name, got {json.dumps(value, default=str)}")
    return value


def _raise(errors_by_path: Mapping[tuple[str, ...], str]) -> None:
    """Raise all errors at once, each with its path below the current value."""
    if errors_by_path:
        errors = [
            InitErrorDetails(
                type=PydanticCustomError("value_error", "{message}", {"message": message}), loc=path, input=None
            )
            for path, message in errors_by_path.items()
        ]
        raise ValidationError.from_exception_data("rules", errors)


def _check_levels(given: dict[str, Level]) -> dict[str, Level]:
    unsupported = [name for name, level in given.items() if level is Level.REMEDIATE and rules()[name].remedy is None]
    _raise({(name,): "the rule has no safe remedy; use mandatory, advisory or disabled" for name in unsupported})
    return given


def _check_config(given: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    errors: dict[tuple[str, ...], str] = {}
    for name, values in given.items():
        options = rules()[name].config
        for key, value in values.items():
            if key not in options:
                errors[name, key] = f"unknown key; {hint(key, options)}"
            elif not _fits_option(options[key], value):
                errors[name, key] = f"expected {_describe(options[key])}, got {json.dumps(value, default=str)}"
    _raise(errors)
    return given


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


def _describe(option: Option) -> str:
    of = option.items or option.additional_properties or {}
    text = f"{option.type}{' of ' + of['type'] if 'type' in of else ''}"
    if option.enum is not None:
        text = f"one of {', '.join(map(repr, option.enum))}"
    return text if option.minimum is None else f"{text}, {option.minimum:g} or more"


class Admission(enum.StrEnum):
    """Where the API server enforces the rules."""

    NONE = "none"
    TENANTS = "tenants"
    """In tenants' namespaces."""
    CLUSTER = "cluster"
    """In tenants' namespaces; rules with scope ``all`` in all other namespaces too."""


Namespace = Annotated[str, BeforeValidator(_namespace)]
"""Name of a namespace."""
Account = Annotated[str, BeforeValidator(_account)]
"""A service account as ``namespace/name``."""
RuleId = Annotated[str, AfterValidator(_rule)]
"""Id of an existing rule."""


class PolicyException(Data):
    """An exception from one rule for some resources, until a day."""

    rule: RuleId
    """Id of the rule."""
    resource: Annotated[str, StringConstraints(min_length=1)]
    """A Kubernetes object as ``Kind namespace/name``, another resource by its Pulumi name; ``*`` matches any text."""
    owner: Annotated[str, StringConstraints(min_length=2)]
    """The responsible team or email address."""
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=10, max_length=500)]
    """The reason, as a sentence for the reviewer."""
    expires: Annotated[dt.date, BeforeValidator(_day)]
    """Last day (UTC), such as ``2027-01-31``."""

    @property
    def pattern(self) -> str:
        """``resource`` as a regular expression, for RE2 and for Python's ``re``."""
        return "^" + ".*".join(map(re.escape, self.resource.split("*"))) + "$"

    def holds(self, today: dt.date) -> bool:
        """Return whether the exception has not expired."""
        return today <= self.expires

    def covers(self, rule: str, label: str) -> bool:
        """Return whether the exception is for a rule and a resource, expired or not."""
        return rule == self.rule and re.search(self.pattern, label) is not None


class PolicySettings(Data):
    """``policies`` of the security role; its defaults describe the keys."""

    enforcement: Literal[Level.ADVISORY, Level.MANDATORY]
    admission: Admission
    exempt_namespaces: tuple[Namespace, ...]
    exempt_accounts: tuple[Account, ...]
    levels: Annotated[dict[RuleId, Level], AfterValidator(_check_levels)]
    config: Annotated[dict[RuleId, dict[str, Any]], AfterValidator(_check_config)]
    exceptions: tuple[PolicyException, ...]
    max_exception_days: Annotated[StrictInt, Field(ge=1, le=3650)]

    @classmethod
    def strict(cls, config: Mapping[str, Mapping[str, Any]] | None = None) -> PolicySettings:
        """Return settings with every rule mandatory and without exceptions; ``config`` is by rule."""
        given = {name: dict(values) for name, values in (config or {}).items()}
        return cls(
            enforcement=Level.MANDATORY,
            admission=Admission.CLUSTER,
            exempt_namespaces=(),
            exempt_accounts=(),
            levels={},
            config=given,
            exceptions=(),
            max_exception_days=90,
        )

    def level(self, rule: Rule) -> Level:
        """Return the enforcement level of a rule in this stack."""
        return self.levels.get(rule.id, self.enforcement)

    def config_of(self, rule: Rule) -> dict[str, Any]:
        """Return a rule's configuration: the stack's keys over the defaults."""
        return {**rule.defaults, **self.config.get(rule.id, {})}

    def excepted(self, rule: str, label: str, today: dt.date) -> PolicyException | None:
        """Return the exception that is valid for a resource today, if any."""
        return next((e for e in self.exceptions if e.covers(rule, label) and e.holds(today)), None)

    def expired(self, rule: str, label: str, today: dt.date) -> PolicyException | None:
        """Return the expired exception for a resource, if any."""
        return next((e for e in self.exceptions if e.covers(rule, label) and not e.holds(today)), None)
