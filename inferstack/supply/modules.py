"""Go modules: what ``tools/*/go.mod`` pins and the hashes that ``go.sum`` holds for it. Pure but for reading them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_REQUIRE = re.compile(r"^\s*(?:require\s+)?(?P<path>[a-z0-9][^\s()]*\.[^\s()]*)\s+(?P<version>v\S+)")
_TOOL = re.compile(r"^tool\s+(?P<path>[^\s(]\S*)$", re.MULTILINE)
_REPLACE = re.compile(r"^\s*(?:replace\s+)?(?P<old>\S+)(?:\s+v\S+)?\s+=>\s+(?P<path>\S+)\s+(?P<version>v\S+)")
_TOOLS = re.compile(r"^tool\s+\(\n(?P<paths>.*?)^\)", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Module:
    """One Go module in one version."""

    path: str
    version: str
    sum: str
    """Hash of its content (h1:...), as go.sum has it; empty where it has none."""


def parse(mod: str, sums: str) -> list[Module]:
    """Return the modules that a go.mod requires, with their hashes.

    Where ``replace`` puts another module in place of one, the other is returned.
    """
    known = {(path, version): found for path, version, found in _sums(sums)}
    replaced = {
        match["old"]: (match["path"], match["version"]) for line in mod.splitlines() if (match := _REPLACE.match(line))
    }
    required = [(match["path"], match["version"]) for line in mod.splitlines() if (match := _REQUIRE.match(line))]
    pairs = [replaced.get(path, (path, version)) for path, version in required]
    return [Module(path, version, known.get((path, version), "")) for path, version in dict.fromkeys(pairs)]


def read(tools: Path) -> dict[str, list[Module]]:
    """Return the modules of each tool, by its folder below ``tools``."""
    return {
        path.parent.name: parse(path.read_text(), path.with_name("go.sum").read_text())
        for path in sorted(tools.glob("*/go.mod"))
    }


def of_crds(versions: dict[str, Any]) -> list[Module]:
    """Return the modules that the rehearsal takes CRDs from, as ``versions.yaml`` has them."""
    return [Module(entry["module"], entry["version"], entry["sum"]) for entry in versions["crds"].values()]


def built(mod: str) -> list[str]:
    """Return the paths of the packages that a go.mod calls tools."""
    block = _TOOLS.search(mod)
    return [*_TOOL.findall(mod), *(block["paths"].split() if block else [])]


def holding(package: str, modules: Iterable[Module]) -> Module:
    """Return the module that a package is in: the one with the longest path that leads to it.

    Raises:
        LookupError: none does.
    """
    found = [one for one in modules if package == one.path or package.startswith(f"{one.path}/")]
    if not found:
        raise LookupError(f"no module of go.mod holds {package}")
    return max(found, key=lambda one: len(one.path))


def _sums(text: str) -> Iterable[tuple[str, str, str]]:
    for line in text.splitlines():
        path, version, found = line.split()
        if not version.endswith("/go.mod"):
            yield path, version, found
