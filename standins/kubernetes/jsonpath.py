"""The subset of kubectl's JSONPath that ``pulumi.com/waitFor`` uses: names, indices, ``[*]`` and one-field filters."""

from __future__ import annotations

import re
from typing import Any

_STEP = re.compile(
    r"""\.(?P<name>(?:[^.\[\]'"\\]|\\.)+)"""
    r"""|\[(?P<index>-?\d+)\]"""
    r"""|(?P<all>\[\*\]|\.\*)"""
    r"""|\[(?P<quote>['"])(?P<key>.*?)(?P=quote)\]"""
    r"""|\[\?\(\s*@\.(?P<field>[\w.\-/]+)\s*==\s*(?P<value>"[^"]*"|'[^']*'|[\w.]+)\s*\)\]"""
)


class ExpressionError(ValueError):
    """An expression outside this subset of JSONPath; the message shows it."""


def find(expression: str, obj: Any) -> list[Any]:
    """Return all values that match an expression such as ``{.status.conditions[?(@.type=="Ready")].status}``.

    Raises:
        ExpressionError: the expression is malformed.
    """
    text = expression.strip()
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1].strip()
    text = text.removeprefix("$")
    if text and text[0] not in ".[":
        text = f".{text}"
    values, position = [obj], 0
    while position < len(text):
        step = _STEP.match(text, position)
        if step is None:
            raise ExpressionError(f"JSONPath {expression!r}: syntax error at {text[position:]!r}")
        values = [child for value in values for child in _take(step, value)]
        position = step.end()
    return values


def _take(step: re.Match[str], value: Any) -> list[Any]:
    if step["all"]:
        return list(value.values()) if isinstance(value, dict) else list(value) if isinstance(value, list) else []
    if step["index"] is not None:
        index = int(step["index"])
        return [value[index]] if isinstance(value, list) and -len(value) <= index < len(value) else []
    if step["field"]:
        expected = step["value"].strip("'\"")
        items = value if isinstance(value, list) else []
        return [item for item in items if _text(_dig(item, step["field"])) == expected]
    name = step["key"] if step["key"] is not None else step["name"].replace("\\", "")
    return [value[name]] if isinstance(value, dict) and name in value else []


def _dig(value: Any, path: str) -> Any:
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def matches(expression: str, obj: Any) -> bool:
    """Return whether any value at the path equals VALUE in ``EXPRESSION=VALUE``, or without VALUE whether any exists.

    Raises:
        ExpressionError: the expression is malformed.
    """
    end = expression.rfind("}")
    path, expected = (expression[: end + 1], expression[end + 1 :]) if end >= 0 else (expression, "")
    if end < 0 and "=" in expression and "==" not in expression:
        path, _, value = expression.partition("=")
        expected = f"={value}"
    values = find(path, obj)
    if not expected:
        return bool(values)
    if not expected.startswith("="):
        raise ExpressionError(f"JSONPath {expression!r}: expected {{path}}=value")
    return any(_text(value) == expected[1:].strip("'\"") for value in values)
