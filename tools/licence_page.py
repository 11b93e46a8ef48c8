"""Write docs/licences.md from the locks and go.mod files: ``python tools/licence_page.py [--check]``.

A licence that cannot be told here, of a package that is not installed or a module that Go's cache does not hold, is
kept as the page has it for that very version.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from inferstack.project import project_root
from inferstack.supply import licences, locks, modules
from inferstack.supply.licences import UNKNOWN
from inferstack.versions import load

Key = tuple[str, str]
"""Name and version."""
BEGIN, END = "<!-- licences: made by tools/licence_page.py -->", "<!-- end of licences -->"
_ROW = re.compile(r"^\| (?P<name>[^| ]+) \| (?P<version>[^| ]+) \| (?P<licence>[^|]+) \|", re.MULTILINE)


def main(arguments: list[str]) -> int:
    """Write the page, or with ``--check`` tell whether it is current and whether a licence is refused."""
    path = project_root() / "docs" / "licences.md"
    old = path.read_text()
    cache = Path(os.environ.get("GOMODCACHE") or Path(os.environ.get("GOPATH") or Path.home() / "go") / "pkg" / "mod")
    kept = read_page(old)
    packages, built = gather(project_root(), cache, kept)
    if "--check" in arguments:  # this machine may know more than the one that wrote the page
        for rows in (packages, built):
            rows |= {key: UNKNOWN for key in rows if kept.get(key) == UNKNOWN}
    new = filled(old, packages, built)
    if "--check" not in arguments:
        path.write_text(new)
    elif new != old:
        sys.stderr.write("docs/licences.md is not current; run `python tools/licence_page.py`\n")
        return 1
    names = {name: licence for (name, _), licence in {**packages, **built}.items()}
    wrong = licences.problems(names, licences.rules()["exceptions"], [name for name, _ in packages])
    sys.stderr.write("".join(f"{sentence}\n" for sentence in wrong))
    return int(bool(wrong))


def gather(root: Path, cache: Path, kept: dict[Key, str]) -> tuple[dict[Key, str], dict[Key, str]]:
    """Return the licences of all Python packages and of all Go modules."""
    pinned = {
        (package.name, package.version)
        for packages_of_file in locks.read(root / "requirements").values()
        for package in packages_of_file
    }
    used = {module for modules_of_tool in modules.read(root / "tools").values() for module in modules_of_tool} | set(
        modules.of_crds(load())
    )
    packages = {key: _or_kept(licences.of_package(key[0]), key, kept) for key in sorted(pinned)}
    built = {
        (module.path, module.version): _or_kept(licences.of_module(module, cache), (module.path, module.version), kept)
        for module in sorted(used, key=lambda module: (module.path, module.version))
    }
    return packages, built


def read_page(text: str) -> dict[Key, str]:
    """Return the licences that a page has."""
    return {(row["name"], row["version"]): row["licence"].strip() for row in _ROW.finditer(text)}


def filled(page: str, packages: dict[Key, str], built: dict[Key, str]) -> str:
    """Return a page with its tables made anew.

    Raises:
        ValueError: it has no marks.
    """
    head, mark, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not mark or not end:
        raise ValueError(f"no {BEGIN} ... {END}")
    reasons = licences.rules()["exceptions"]
    tables = [
        f"## {title}\n\n{_summary(rows)}\n\n| name | version | licence |\n|---|---|---|\n"
        + "".join(f"| {name} | {version} | {licence} |\n" for (name, version), licence in rows.items())
        for title, rows in (("Python packages", packages), ("Go modules", built))
    ]
    excepted = "".join(f"- `{name}`: {reason}.\n" for name, reason in reasons.items())
    return f"{head}{BEGIN}\n\n## Exceptions\n\n{excepted}\n" + "\n".join(tables) + f"\n{END}{tail}"


def _or_kept(licence: str, key: Key, kept: dict[Key, str]) -> str:
    return kept.get(key, UNKNOWN) if licence == UNKNOWN else licence


def _summary(rows: dict[Key, str]) -> str:
    known = sum(licence != UNKNOWN for licence in rows.values())
    return f"{len(rows)}, the licence of {known} is known."


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
