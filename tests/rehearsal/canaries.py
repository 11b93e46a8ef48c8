"""Values that are planted as secrets and looked for afterwards, in every form that they may take on their way."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MARK = f"Canary{secrets.token_hex(5)}"
"""What all canaries of this run begin with: it is looked for first, and finds one that was cut short as well."""
_TAIL = "\"'/+&%<é\\"
"""What URLs, JSON, YAML, HTML and shells write otherwise. The rest of a canary they all leave as it is."""


@dataclass(frozen=True)
class Canary:
    """A secret that is known here."""

    name: str
    core: str
    """Letters and digits, enough of them to be found nowhere by chance."""

    @property
    def value(self) -> str:
        """The secret itself."""
        return self.core + _TAIL

    @property
    def url_safe(self) -> str:
        """The secret where only letters and digits are allowed."""
        return self.core


@dataclass(frozen=True, order=True)
class Finding:
    """A canary where somebody has written it down."""

    place: str
    canary: str
    form: str


def plant(name: str) -> Canary:
    """Return a fresh canary that begins with `MARK`."""
    return Canary(name, MARK + secrets.token_hex(12))


def caught(name: str, text: str) -> Canary:
    """Return a canary of a secret that others have made."""
    assert len(text) >= 32, f"{name} is too short to be looked for"
    return Canary(name, text)


def forms(text: str) -> Iterator[tuple[str, bytes]]:
    """Yield what may be written of a text of letters and digits."""
    raw = text.encode()
    yield "plain", raw
    yield "hex", raw.hex().encode()
    yield "hex", raw.hex().upper().encode()
    # Base64 turns three bytes into four letters: where in such a group the text begins decides what it looks like. The
    # letters at either end depend on what stands beside it, and are left off.
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + raw)
        yield "base64", whole[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]


def find(place: str, content: bytes, canaries: list[Canary]) -> set[Finding]:
    """Return the canaries in a content.

    Args:
        place: to be named.
        content: to be searched.
        canaries: to be looked for.
    """
    findings = set()
    marked = {canary for canary in canaries if canary.core.startswith(MARK)}
    looked_for = [canary for canary in canaries if canary not in marked]
    if traces := {form for form, mark in forms(MARK) if mark in content}:
        looked_for += marked
    for canary in looked_for:
        for form, text in forms(canary.core):
            if text in content:
                findings.add(Finding(place, canary.name, form))
    whole = {finding.form for finding in findings}
    return findings | {Finding(place, "a part of a canary", form) for form in traces - whole}


def search(folder: Path, name: str, canaries: list[Canary]) -> set[Finding]:
    """Return the canaries in all files below a folder, their names included; each place begins with ``name``."""
    findings = set()
    for path in sorted(folder.rglob("*")):
        place = f"{name}/{path.relative_to(folder)}"
        findings |= find(f"{place} (its name)", path.name.encode(), canaries)
        if path.is_symlink():
            findings |= find(place, str(path.readlink()).encode(), canaries)
        elif path.is_file():
            # A database reserves space ahead.
            findings |= find(place, path.read_bytes().rstrip(b"\0"), canaries)
    return findings
