"""Validation of chart values against the chart's defaults: most charts have no schema, and Helm accepts any typo."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from components.settings import key_path
from inferstack.errors import hint

Path = tuple[str, ...]

_WRAPPERS = ("_internal_defaults_do_not_set", "defaults")
"""Keys under which Istio's charts nest their defaults."""
_FREE = frozenset(
    {
        "affinity",
        "annotations",
        "data",
        "env",
        "labels",
        "limits",
        "matchLabels",
        "nodeSelector",
        "podAnnotations",
        "podLabels",
        "requests",
        "resources",
        "securityContext",
        "selector",
        "serviceAnnotations",
    }
)
"""Keys with free-form content, whatever a chart's defaults contain."""
_KINDS = {bool: "true or false", int: "a number", float: "a number", str: "a string", list: "a list"}


def check(
    given: Mapping[str, Any], defaults: Mapping[str, Any], free: Sequence[str] = ()
) -> Iterator[tuple[Path, str]]:
    """Yield the path of each invalid value, with the reason.

    Args:
        given: values for the chart.
        defaults: the chart's ``values.yaml``, sub-charts included.
        free: dotted paths that are valid although the defaults lack them, and below which any key is valid.
    """
    yield from _check(given, unwrapped(defaults), (), frozenset(tuple(path.split(".")) for path in free))


def explain(problems: Iterator[tuple[Path, str]], prefix: str) -> str:
    """Return one line per invalid value, with its full key path."""
    return "\n".join(f"{key_path(prefix, path)}: {problem}" for path, problem in problems)


def unwrapped(defaults: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a chart's defaults without the key under which Istio's charts nest them."""
    for wrapper in _WRAPPERS:
        if isinstance(inside := defaults.get(wrapper), Mapping):
            return {**{key: value for key, value in defaults.items() if key != wrapper}, **inside}
    return defaults


def _check(
    given: Mapping[str, Any], defaults: Mapping[str, Any], at: Path, free: frozenset[Path]
) -> Iterator[tuple[Path, str]]:
    for key, value in given.items():
        path = (*at, key)
        if key not in defaults:
            if path in free:
                continue
            yield path, f"the chart has no such value; {hint(key, defaults, otherwise='it has')}"
            continue
        default = defaults[key]
        if isinstance(default, Mapping) and isinstance(value, Mapping):
            # An empty mapping as the default accepts any content.
            if default and key not in _FREE and path not in free:
                yield from _check(value, default, path, free)
        elif problem := _mismatch(default, value):
            yield path, problem


def _mismatch(default: Any, value: Any) -> str | None:
    """Return why the type of a value differs from its default's; null and empty defaults accept any type."""
    if default is None or default == "" or value is None:
        return None
    if isinstance(default, Mapping):
        return f"expected a mapping, got {_shown(value)}."
    kind = next((kind for kind in _KINDS if isinstance(default, kind)), None)
    if kind is None:
        return None
    number = {int, float}
    same = isinstance(value, kind) and isinstance(value, bool) == (kind is bool)
    if same or (kind in number and type(value) in number):
        return None
    return f"expected {_KINDS[kind]} like the default {_shown(default)}, got {_shown(value)}."


def _shown(value: Any) -> str:
    return json.dumps(value, default=str)[:60]
