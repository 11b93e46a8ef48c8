"""The Python lock files ``requirements/*.lock``. Pure except for reading them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PIN = re.compile(
    r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==(?P<version>[^\s;\\]+)\s*(?:;\s*(?P<marker>[^\\]*))?"
)
_HASH = re.compile(r"--hash=(?P<algorithm>[a-z0-9]+):(?P<digest>[0-9a-f]+)")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Package:
    """One pinned package."""

    name: str
    version: str
    marker: str
    """Environment marker; empty for all platforms."""
    hashes: tuple[str, ...]
    """SHA-256 of its files, in hexadecimal."""


def parse(text: str) -> list[Package]:
    """Return the packages of a lock file.

    Raises:
        ValueError: a line is neither a comment nor a pin with SHA-256 hashes; the message contains the line.
    """
    return [_package(line) for line in _logical(text)]


def read(folder: Path) -> dict[str, list[Package]]:
    """Return the packages of each lock file of a folder, by the file's name without suffix."""
    return {path.stem: parse(path.read_text()) for path in sorted(folder.glob("*.lock"))}


def direct(folder: Path) -> list[str]:
    """Return the names of the packages that the ``.in`` files request, sorted."""
    lines = [line.strip() for path in folder.glob("*.in") for line in path.read_text().splitlines()]
    matches = (_NAME.match(line) for line in lines if not line.startswith(("#", "-")))
    return sorted({match[0].lower() for match in matches if match})


def _logical(text: str) -> Iterator[str]:
    """Yield the logical lines of a file, with continuation lines joined and without comments."""
    held = ""
    for line in text.splitlines():
        content = line.strip()
        if not content or content.startswith("#"):
            continue
        held += content.removesuffix("\\") + " "
        if not content.endswith("\\"):
            yield held.strip()
            held = ""
    if held:
        yield held.strip()


def _package(line: str) -> Package:
    head, *options = line.split(" --")
    pin = _PIN.fullmatch(head.strip())
    hashes = [_HASH.fullmatch(f"--{option.strip()}") for option in options]
    matches = [match for match in hashes if match]
    if pin is None or not hashes or len(matches) != len(hashes):
        raise ValueError(f"not a pin with hashes: {line[:120]}")
    if others := {match["algorithm"] for match in matches} - {"sha256"}:
        raise ValueError(f"hash algorithm {', '.join(sorted(others))} instead of sha256: {line[:120]}")
    marker = (pin["marker"] or "").strip()
    return Package(pin["name"].lower(), pin["version"], marker, tuple(match["digest"] for match in matches))
