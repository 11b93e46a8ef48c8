"""Evaluates the CEL of a rule on one object, with the same expressions as the API server."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

import cel

from inferstack.apimachinery.objects import Object
from inferstack.policy.kinds import VARIABLES
from inferstack.policy.model import Cel, Rule
from inferstack.policy.resource import UNKNOWN, Resource, UnknownError, has_unknown

_REFERENCE = re.compile(r"\bvariables\.(\w+)")
# Any string that no rule compares with.
_UNKNOWN_TEXT = "\0unknown"


class CelError(Exception):
    """An expression could not be evaluated; the API server rejects the object in that case."""


def needed(check: Cel, config: Mapping[str, Any]) -> dict[str, str]:
    """Return the expressions of all variables that a check uses, in order of their dependencies.

    Keys of the configuration are not among them: they are values.
    """
    expressions = {**VARIABLES, **check.variables}
    used: dict[str, str] = {}

    def visit(text: str) -> None:
        for name in _REFERENCE.findall(text):
            if name not in used and name not in config:
                visit(expressions[name])
                used[name] = expressions[name]

    for text in (check.where, check.each or "", check.expression, check.item):
        visit(text)
    return used


def verdict_text(check: Cel) -> str:
    """Return the expression that is true if an object complies or is out of scope."""
    inner = f"({check.each}).all(item, {check.expression})" if check.each else check.expression
    return inner if check.where == "true" else f"!({check.where}) || ({inner})"


def offenders_text(check: Cel) -> str:
    """Return the expression of the names of items that violate a check with ``each``."""
    return f"({check.each}).filter(item, !({check.expression})).map(item, {check.item})"


def violation(rule: Rule, resource: Resource, config: Mapping[str, Any]) -> str | None:
    """Return the message of a rule in CEL for an object, or None if the object complies.

    Args:
        rule: with ``cel``.
        resource: of a kind and scope of the rule.
        config: the rule's configuration.

    Raises:
        UnknownError: the result depends on a value that a preview does not know.
    """
    check = rule.cel
    assert check is not None  # noqa: S101  # by the caller
    manifest = resource.manifest
    assert manifest is not None  # noqa: S101  # by the caller
    unknown = has_unknown(manifest)
    try:
        context = _context(check, _plain(manifest) if unknown else manifest, config)
        if _execute(verdict_text(check), context) is True:
            return None
        names = _execute(offenders_text(check), context) if check.each else []
    except CelError as error:
        names = [str(error)]
    if unknown:
        raise UnknownError
    return f"{', '.join(map(str, names))}: {rule.fix}" if names else rule.fix


def _context(check: Cel, manifest: Object, config: Mapping[str, Any]) -> cel.Context:
    values = dict(config)
    context = cel.Context(variables={"object": manifest, "variables": values})
    for name, text in needed(check, config).items():
        values[name] = _execute(text, context)
        context.add_variable("variables", values)
    return context


def prepare(rule: Rule, config: Mapping[str, Any]) -> None:
    """Compile the expressions of a rule, so that its first evaluation is as fast as others."""
    if rule.cel is not None:
        for text in (verdict_text(rule.cel), *needed(rule.cel, config).values()):
            _compiled(text)


@functools.cache
def _compiled(text: str) -> Any:
    return cel.compile(text)


def _execute(text: str, context: cel.Context) -> Any:
    try:
        return _compiled(text).execute(context)
    except (KeyError, RuntimeError, TypeError, ValueError) as error:
        raise CelError(f"cannot be evaluated, {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(below) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(below) for below in value]
    return _UNKNOWN_TEXT if value is UNKNOWN else value
