"""The images of ``versions.yaml``: references, and the digest of each or why none is known. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


@dataclass(frozen=True)
class Image:
    """One image."""

    name: str
    """Ours, the key in ``versions.yaml``."""
    repository: str
    """With the registry, without tag and digest."""
    tag: str
    digest: str
    """``sha256:...``; empty where none is known."""
    missing: str
    """Why there is no digest; empty where there is one."""


def images(versions: Mapping[str, Any]) -> list[Image]:
    """Return all images.

    Raises:
        ValueError: one has neither a digest nor a reason, or both, or ``digests`` names one that is not there.
    """
    digests = versions["digests"]
    if strange := sorted(digests.keys() - versions["images"].keys()):
        raise ValueError(f"digests.{strange[0]}: there is no such image")
    return [_image(name, reference, digests.get(name) or {}) for name, reference in versions["images"].items()]


def _image(name: str, reference: str, known: Mapping[str, str]) -> Image:
    bare, _, own = reference.partition("@")
    repository, colon, tag = bare.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = bare, ""
    digest, missing = own or known.get("digest", ""), known.get("missing", "")
    if bool(digest) == bool(missing):
        raise ValueError(f"digests.{name}: give digest or missing, one of them")
    if digest and not _DIGEST.fullmatch(digest):
        raise ValueError(f"digests.{name}: {digest} is no SHA-256 digest")
    return Image(name, repository, tag, digest, missing)
