"""The source of each effective setting of a stack: the role's defaults, the stack file or ``--config``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from components.settings import PROJECT, defaults_file, key_path
from inferstack.apimachinery import yamltext
from inferstack.project import project_root

Keys = tuple[str, ...]


class Setting(NamedTuple):
    """An effective setting."""

    key: str
    """Full path as the user writes it: ``inferstack:gpu.mig.strategy``."""
    value: Any
    """Value as read from YAML; an encrypted value is masked."""
    source: str
    """File (relative to the project) and line, or ``--config``."""


class _Leaf(NamedTuple):
    value: Any
    source: str


def settings_of(role: str, stack_file: Path, over: Mapping[str, Any] | None = None) -> list[Setting]:
    """Return the effective settings of a role in the order of its defaults, followed by keys that the stack adds.

    Args:
        role: folder name below ``components``.
        stack_file: ``stacks/Pulumi.<stack>.yaml``.
        over: the role's object including the changes of ``--config``, if any.
    """
    leaves: dict[Keys, _Leaf] = {}
    _overlay(leaves, _leaves(_node(defaults_file(role)), _name(defaults_file(role)), ()))
    given = _below(_below(_node(stack_file), "config"), f"{PROJECT}:{role}")
    before = dict(leaves)
    _overlay(leaves, _leaves(given, _name(stack_file), ()))
    if over is not None:
        values = {path: leaf.value for path, leaf in leaves.items()}
        _overlay(leaves, ((path, leaf) for path, leaf in _plain(over, ()) if values.get(path, ...) != leaf.value))
    ordered = [*(path for path in before if path in leaves), *(path for path in leaves if path not in before)]
    return [Setting(key_path(f"{PROJECT}:{role}", path), leaves[path].value, leaves[path].source) for path in ordered]


def place_of(stack_file: Path) -> Setting:
    """Return ``inferstack:place``, the only setting outside a role."""
    node = _below(_below(_node(stack_file), "config"), f"{PROJECT}:place")
    value = None if node is None else yamltext.construct(node)
    source = _name(stack_file) if node is None else f"{_name(stack_file)}:{node.start_mark.line + 1}"
    return Setting(f"{PROJECT}:place", value, source)


def _overlay(leaves: dict[Keys, _Leaf], more: Iterator[tuple[Keys, _Leaf]]) -> None:
    """Merge leaves into others as `components.settings.merge` does with values."""
    for path, leaf in more:
        for depth in range(1, len(path)):
            leaves.pop(path[:depth], None)
        if not isinstance(leaf.value, dict):
            for other in [existing for existing in leaves if existing[: len(path)] == path]:
                del leaves[other]
        elif any(existing[: len(path)] == path and existing != path for existing in leaves):
            continue  # an empty mapping over one with keys removes none of them
        leaves[path] = leaf


def _leaves(node: yaml.Node | None, file: str, at: Keys) -> Iterator[tuple[Keys, _Leaf]]:
    """Yield the leaves of a YAML node: scalars, lists, empty mappings and encrypted values."""
    if isinstance(node, yaml.MappingNode) and node.value and not _is_secret(node):
        for key, below in node.value:
            yield from _leaves(below, file, (*at, str(key.value)))
    elif node is not None and at:
        shown = "[secret]" if _is_secret(node) else yamltext.construct(node)
        yield at, _Leaf(shown, f"{file}:{node.start_mark.line + 1}")


def _plain(value: Any, at: Keys) -> Iterator[tuple[Keys, _Leaf]]:
    if isinstance(value, Mapping) and value:
        for key, below in value.items():
            yield from _plain(below, (*at, str(key)))
    elif at:
        yield at, _Leaf(value, "--config")


def _is_secret(node: yaml.Node) -> bool:
    """Return whether Pulumi encrypted the value: a mapping with the single key ``secure``."""
    return isinstance(node, yaml.MappingNode) and [key.value for key, _ in node.value] == ["secure"]


def _node(file: Path) -> yaml.Node | None:
    return yamltext.compose(file.read_text())


def _below(node: yaml.Node | None, key: str) -> yaml.Node | None:
    entries = node.value if isinstance(node, yaml.MappingNode) else []
    return next((below for name, below in entries if name.value == key), None)


def _name(file: Path) -> str:
    return str(file.relative_to(project_root())) if file.is_relative_to(project_root()) else str(file)
