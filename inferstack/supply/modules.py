"""The Go modules pinned in ``tools/*/go.mod``, with their hashes in ``go.sum``. Pure except for reading them."""

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
    """Hash of its content (h1:...) in go.sum; empty if there is none."""


def parse(mod: str, sums: str) -> list[Module]:
    """Return the modules that a go.mod requires, with their hashes.

    For a module with a ``replace`` directive the replacement is returned.
    """
    hashes = {(path, version): digest for path, version, digest in _sums(sums)}
    replaced = {
        match["old"]: (match["path"], match["version"]) for line in mod.splitlines() if (match := _REPLACE.match(line))
    }
    required = [(match["path"], match["version"]) for line in mod.splitlines() if (match := _REQUIRE.match(line))]
    pairs = [replaced.get(path, (path, version)) for path, version in required]
    return [Module(path, version, hashes.get((path, version), "")) for path, version in dict.fromkeys(pairs)]


def read(tools: Path) -> dict[str, list[Module]]:
    """Return the modules of each tool, by its folder below ``tools``."""
    return {
        path.parent.name: parse(path.read_text(), path.with_name("go.sum").read_text())
        for path in sorted(tools.glob("*/go.mod"))
    }


def of_crds(versions: dict[str, Any]) -> list[Module]:
    """Return the modules of ``versions.yaml`` that contain CRDs."""
    return [Module(entry["module"], entry["version"], entry["sum"]) for entry in versions["crds"].values()]


def built(mod: str) -> list[str]:
    """Return the package paths in the tool directives of a go.mod."""
    block = _TOOLS.search(mod)
    return [*_TOOL.findall(mod), *(block["paths"].split() if block else [])]


def holding(package: str, modules: Iterable[Module]) -> Module:
    """Return the module that contains a package: the one with the longest matching path.

    Raises:
        LookupError: there is none.
    """
    digest = [module for module in modules if package == module.path or package.startswith(f"{module.path}/")]
    if not digest:
        raise LookupError(f"no module of go.mod contains {package}")
    return max(digest, key=lambda module: len(module.path))


def _sums(text: str) -> Iterable[tuple[str, str, str]]:
    for line in text.splitlines():
        path, version, digest = line.split()
        if not version.endswith("/go.mod"):
            yield path, version, digest
