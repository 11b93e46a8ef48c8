"""The images of ``versions.yaml``, each with its digest or the reason why there is none. Pure."""

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
    """The key in ``versions.yaml``."""
    repository: str
    """With the registry, without tag and digest."""
    tag: str
    digest: str
    """``sha256:...``; empty if unknown."""
    missing: str
    """Why there is no digest; empty if there is one."""


def images(versions: Mapping[str, Any]) -> list[Image]:
    """Return all images.

    Raises:
        ValueError: an image has neither digest nor reason, or both, or ``digests`` contains an unknown image.
    """
    digests = versions["digests"]
    if strange := sorted(digests.keys() - versions["images"].keys()):
        raise ValueError(f"digests.{strange[0]}: no such image")
    return [_image(name, reference, digests.get(name) or {}) for name, reference in versions["images"].items()]


def _image(name: str, reference: str, known: Mapping[str, str]) -> Image:
    bare, _, own = reference.partition("@")
    repository, colon, tag = bare.rpartition(":")
    if not colon or "/" in tag:
        repository, tag = bare, ""
    digest, missing = own or known.get("digest", ""), known.get("missing", "")
    if bool(digest) == bool(missing):
        raise ValueError(f"digests.{name}: must have either digest or missing")
    if digest and not _DIGEST.fullmatch(digest):
        raise ValueError(f"digests.{name}: {digest} is not a SHA-256 digest")
    return Image(name, repository, tag, digest, missing)
