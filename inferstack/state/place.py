"""Where a stack's state is kept and who encrypts its secrets, both in Pulumi's own words.

The backend is ``PULUMI_BACKEND_URL``, else ``backend.url`` in ``Pulumi.yaml``; the secrets provider is the key
``secretsprovider`` of the stack's file. Where none is named, state and passphrase lie on this machine, which will do
for a rehearsal only.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import yaml

from inferstack.errors import UserError

PASSPHRASE = "passphrase"  # noqa: S105  # the provider's name
_CLOUD = ("awskms", "azurekeyvault", "gcpkms", "hashivault")
"""Schemes of secrets providers that the engine knows besides (``pulumi stack init --help``)."""


def provider_of(content: Mapping[str, Any]) -> str | None:
    """Return what the content of a stack's file names as its secrets provider; None where it names none."""
    named = content.get("secretsprovider")
    return None if named in (None, "", "default") else str(named)


def type_of(provider: str | None) -> str:
    """Return the type of a secrets provider as a state names it: ``passphrase``, ``awskms`` and so on."""
    return provider.partition("://")[0] if provider else PASSPHRASE


def backend_of(root: Path, environment: Mapping[str, str]) -> str | None:
    """Return the URL of the backend that somebody has named; None where nobody has."""
    if named := environment.get("PULUMI_BACKEND_URL"):
        return named
    project = root / "Pulumi.yaml"
    content: dict[str, Any] = (yaml.safe_load(project.read_text()) if project.exists() else None) or {}
    return (content.get("backend") or {}).get("url")


def find_problems(stack: str, place: str, backend: str | None, provider: str | None) -> list[str]:
    """Return why a stack's state must not be kept where it would be; what to do is part of each sentence.

    A file backend or a passphrase that somebody has named for a stack on AWS is taken as meant: by
    ``PULUMI_BACKEND_URL=file://…`` and ``secretsprovider: passphrase``.

    Args:
        stack: name of the stack.
        place: where the program runs.
        backend: what is named, None where nothing is.
        provider: what the stack's file names, None where it names nothing.
    """
    problems = []
    if provider is not None and provider != PASSPHRASE and type_of(provider) not in _CLOUD:
        problems.append(f"secretsprovider: {provider} in Pulumi.{stack}.yaml is none of {PASSPHRASE}, {_list(_CLOUD)}.")
    if type_of(provider) == "awskms" and not _has_region(str(provider)):
        problems.append(f"secretsprovider: {provider} in Pulumi.{stack}.yaml lacks ?region=REGION.")
    if backend is not None and backend.startswith("s3://") and not _has_region(backend):
        problems.append(f"The backend {backend} lacks ?region=REGION&awssdk=v2.")
    if place != "aws":
        return problems
    if backend is None:
        problems.append(
            f"The state of stack {stack} would be kept in files on this machine. Set "
            "PULUMI_BACKEND_URL=s3://BUCKET?region=REGION&awssdk=v2, or to file://FOLDER if that is meant."
        )
    if provider is None:
        problems.append(
            f"The secrets of stack {stack} would be encrypted by a passphrase on this machine. Name a key in "
            f"Pulumi.{stack}.yaml, secretsprovider: awskms://alias/NAME?region=REGION, or passphrase if that is meant."
        )
    return problems


def refuse(problems: list[str]) -> None:
    """Raise what `find_problems` has found, if anything.

    Raises:
        UserError: with all of it.
    """
    if problems:
        raise UserError(" ".join([*problems, "See docs/state.md."]))


def _has_region(url: str) -> bool:
    return bool(parse_qs(urlsplit(url).query).get("region"))


def _list(words: tuple[str, ...]) -> str:
    return ", ".join(words)
