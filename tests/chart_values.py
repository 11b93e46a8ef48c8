"""Values of the pinned charts that the roles set, and the type of each: ``tests/data/chart_values/<add-on>.yaml``.

A test that holds a role's values against a chart uses these data, so that it needs no chart. A file has the chart's
keys as the chart nests them. Below each key stands the type of the chart's default: ``boolean``, ``number``,
``string``, ``list``, ``mapping`` (any key is accepted below) or ``any`` (the default is null or the empty string).

A role that sets a new key fails until the key is in the data. To add one, write it with any type, and run::

    INFERSTACK_REFERENCE=DIR python -m tests.chart_values

The command looks the types up in the charts' own ``values.yaml`` and rewrites the files; it fails on a key that a chart
does not have. A test marked ``reference`` compares both.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any, get_args

import yaml

from components.addon.catalogue import AddonName, load
from components.addon.values import check, unwrapped
from components.settings import merge
from inferstack.project import project_root
from inferstack.toolchain.charts import pins
from tests import reference

Types = dict[str, Any]
"""A type by key, or a mapping of the same form."""
ChartDefaults = Callable[[AddonName], dict[str, Any]]
ADDONS: tuple[AddonName, ...] = get_args(AddonName)
FOLDER = project_root() / "tests" / "data" / "chart_values"
_DEFAULTS: dict[str, Any] = {
    "boolean": False,
    "number": 0,
    "string": "text",
    "list": [],
    "mapping": {},
    "any": None,
}
"""A default of each type."""
_DEPENDENCIES: dict[str, tuple[str, ...]] = {
    "kube-prometheus-stack": ("grafana", "kube-state-metrics", "prometheus-node-exporter"),
    "gpu-operator": ("node-feature-discovery",),
}
"""Charts inside a chart. Their defaults are in files that INFERSTACK_REFERENCE does not have, so that keys below these
names are compared only where the outer chart's defaults have them."""
_HEADER = """\
# The values of a chart that the roles set, each with the type of the chart's default (tests/chart_values.py).
# Chart and version: versions.yaml, charts.{addon}. Source: values.yaml of that chart, and of the charts inside it.
"""


def types_of(addon: AddonName) -> Types:
    """Return what the data say of a chart."""
    return yaml.safe_load((FOLDER / f"{addon}.yaml").read_text()) or {}


def defaults_of(addon: AddonName) -> dict[str, Any]:
    """Return default values of the types that the data say."""
    return with_defaults(types_of(addon))


def reference_defaults_of(addon: AddonName) -> dict[str, Any]:
    """Return the real chart's default values, completed by the data for the charts inside it."""
    real = dict(unwrapped(reference.chart_values(pins()[addon])))
    ours = defaults_of(addon)
    for name in _DEPENDENCIES.get(addon, ()):
        real[name] = merge(ours.get(name) or {}, real.get(name) or {})
    return real


def describe(addon: AddonName, types: Types) -> Types:
    """Return the same keys with the types that the real chart's defaults have.

    Raises:
        ValueError: the chart lacks a key, or a key needs to be refined by those below it.
    """
    return dict(_describe(types, reference_defaults_of(addon), load()[addon].free, ()))


def with_defaults(types: Types) -> dict[str, Any]:
    """Return a default of its type for each key."""
    return {key: with_defaults(below) if isinstance(below, dict) else _DEFAULTS[below] for key, below in types.items()}


def _describe(
    types: Types, defaults: Mapping[str, Any], free: tuple[str, ...], at: tuple[str, ...]
) -> Iterator[tuple[str, Any]]:
    for key, below in types.items():
        path = (*at, key)
        if key not in defaults:
            raise ValueError(f"{'.'.join(path)}: the chart has no such value")
        default = defaults[key]
        if not isinstance(default, Mapping) or _is_open(key, default, ".".join(path) in free):
            yield key, _type_of(default)
        elif isinstance(below, dict):
            yield key, dict(_describe(below, default, free, path))
        else:
            raise ValueError(f"{'.'.join(path)}: name the keys below it that the roles set")


def _is_open(key: str, default: Mapping[str, Any], free: bool) -> bool:
    """Return whether any key is accepted below a mapping."""
    return free or not list(check({key: {"no such key": None}}, {key: default}))


def _type_of(default: Any) -> str:
    if default is None or default == "":
        return "any"
    if isinstance(default, Mapping):
        return "mapping"
    kinds = {bool: "boolean", int: "number", float: "number", str: "string", list: "list"}
    return next(name for kind, name in kinds.items() if isinstance(default, kind))


def write(addon: AddonName, types: Types) -> None:
    """Write the data of a chart."""
    text = yaml.safe_dump(types, default_flow_style=False, sort_keys=True)
    (FOLDER / f"{addon}.yaml").write_text(_HEADER.format(addon=addon) + text)


def main() -> int:
    """Rewrite all data with the types of the charts that INFERSTACK_REFERENCE names."""
    failed = 0
    for addon in ADDONS:
        try:
            write(addon, describe(addon, types_of(addon)))
        except (ValueError, FileNotFoundError) as error:
            sys.stderr.write(f"{addon}: {error}\n")
            failed = 1
    return failed


if __name__ == "__main__":
    sys.exit(main())
