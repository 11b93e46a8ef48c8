"""The backend of a stack's state and its secrets provider, configured as in Pulumi itself.

The backend is ``PULUMI_BACKEND_URL``, or else ``backend.url`` in ``Pulumi.yaml``. The secrets provider is the key
``secretsprovider`` of the stack's file. By default, the state and the passphrase are on this machine, which is
sufficient only for a rehearsal.
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
"""Schemes of the engine's other secrets providers (``pulumi stack init --help``)."""


def provider_of(content: Mapping[str, Any]) -> str | None:
    """Return the secrets provider in the content of a stack's file; None if there is none."""
    named = content.get("secretsprovider")
    return None if named in (None, "", "default") else str(named)


def type_of(provider: str | None) -> str:
    """Return the type of a secrets provider as in a state: ``passphrase``, ``awskms`` and so on."""
    return provider.partition("://")[0] if provider else PASSPHRASE


def backend_of(root: Path, environment: Mapping[str, str]) -> str | None:
    """Return the URL of the configured backend; None if none is configured."""
    if named := environment.get("PULUMI_BACKEND_URL"):
        return named
    project = root / "Pulumi.yaml"
    content: dict[str, Any] = (yaml.safe_load(project.read_text()) if project.exists() else None) or {}
    return (content.get("backend") or {}).get("url")


def find_problems(stack: str, place: str, backend: str | None, provider: str | None) -> list[str]:
    """Return the reasons why a stack's backend or secrets provider is not allowed, each with its fix.

    A stack on AWS may use a file backend or a passphrase only if it is configured explicitly:
    ``PULUMI_BACKEND_URL=file://…`` and ``secretsprovider: passphrase``.

    Args:
        stack: name of the stack.
        place: where the program runs.
        backend: URL of the configured backend; None if none is configured.
        provider: secrets provider in the stack's file; None if there is none.
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
    """Raise an error if `find_problems` returned problems.

    Raises:
        UserError: the message contains all problems.
    """
    if problems:
        raise UserError(" ".join([*problems, "See docs/state.md."]))


def _has_region(url: str) -> bool:
    return bool(parse_qs(urlsplit(url).query).get("region"))


def _list(words: tuple[str, ...]) -> str:
    return ", ".join(words)
