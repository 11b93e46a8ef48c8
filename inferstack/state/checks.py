"""Checks of an exported state, as pure functions. Each fault names its resource."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

Json = dict[str, Any]

KNOWN_VERSIONS = frozenset({3, 4})
"""Versions of the export format that the engine of ``versions.yaml`` reads (its apitype package)."""
SIGNATURE = "4dabf18193072939515e22adb298388d"
"""Key with which the engine marks special values, from its documentation of the wire format."""
SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105  # the mark, not a secret
"""The mark of a secret."""

_ALWAYS_SECRET = {"kubernetes:core/v1:Secret": ("data", "stringData")}
"""Properties that are always secret, whether or not the program marks them."""
_PROVIDER, _KUBECONFIG = "pulumi:providers:kubernetes", "kubeconfig"
_CREDENTIALS = frozenset({"token", "password", "client-key-data", "auth-provider"})
"""Keys of a kubeconfig's user that contain a credential; other keys name a file or a command that provides one."""
_LOOKS_SECRET = {
    "a private key": re.compile(r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----"),
    "an AWS access key": re.compile(r"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b"),
    "a client key of a kubeconfig": re.compile(r"client-key-data[\"']?\s*:\s*[\"']?[A-Za-z0-9+/]{16}"),
}
"""Patterns of values that must not be in plain text; matched against each plain string of the state."""
_PATHS = ("inputs", "outputs")


@dataclass(frozen=True)
class Fault:
    """One fault of a state."""

    resource: str
    """URN of the resource; ``(state)`` if the fault is in the state as a whole."""
    fault: str


WHOLE = "(state)"


def find_faults(content: Any, *, provider: str | None = None) -> list[Fault]:
    """Return all faults of an export.

    Args:
        content: parsed output of ``pulumi stack export``.
        provider: expected type of secrets provider: ``passphrase`` or a scheme such as ``awskms``; None accepts any.
    """
    if not isinstance(content, dict) or not isinstance(content.get("deployment"), dict):
        return [Fault(WHOLE, "is not an export of the engine: expected an object with version and deployment")]
    if content.get("version") not in KNOWN_VERSIONS:
        return [Fault(WHOLE, f"version {content.get('version')} of the format is unknown; upgrade this program")]
    deployment = content["deployment"]
    resources = deployment.get("resources") or []
    if not isinstance(resources, list) or not all(_is_resource(resource) for resource in resources):
        return [Fault(WHOLE, "resources must be a list of objects, each with urn and type")]
    return [
        *_provider_faults(deployment, resources, provider),
        *_order_faults(resources),
        *_pending_faults(deployment),
        *(fault for resource in resources for fault in _secret_faults(resource)),
    ]


def secrets_provider(deployment: Json) -> str:
    """Return the type of a state's secrets provider: ``passphrase``, a scheme such as ``awskms``, or empty."""
    providers = deployment.get("secrets_providers") or {}
    url = str((providers.get("state") or {}).get("url", ""))
    return url.partition("://")[0] if url else str(providers.get("type", ""))


def _is_resource(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("urn"), str) and isinstance(value.get("type"), str)


def _provider_faults(deployment: Json, resources: list[Json], provider: str | None) -> Iterator[Fault]:
    providers = secrets_provider(deployment)
    if not providers and resources:
        yield Fault(WHOLE, "has no secrets provider: secrets cannot be distinguished from plain values")
    elif provider is not None and providers and providers != provider:
        yield Fault(
            WHOLE, f"secrets are encrypted by {providers}, the stack is to use {provider}: `inferstack state rotate`"
        )


def _order_faults(resources: list[Json]) -> Iterator[Fault]:
    """Yield violations of the order: the engine reads top down, so references must point to resources above."""
    above: set[str] = set()
    ids: set[str] = set()
    for resource in resources:
        urn = resource["urn"]
        # During a replacement, the old resource stays in the list, marked with `delete`, until it is deleted.
        if urn in above and not resource.get("delete"):
            yield Fault(urn, "appears twice")
        yield from (Fault(urn, f"{how} {other} is not above it") for how, other in _references(resource, above, ids))
        if not resource.get("delete"):
            above.add(urn)
        ids.add(f"{urn}::{resource.get('id', '')}")


def _references(resource: Json, above: set[str], ids: set[str]) -> Iterator[tuple[str, str]]:
    parent = resource.get("parent")
    if parent and parent not in above:
        yield "parent", parent
    provider = resource.get("provider")
    if provider and provider not in ids:
        yield "provider", provider
    for other in resource.get("dependencies") or []:
        if other not in above:
            yield "dependency", other
    for name, others in (resource.get("propertyDependencies") or {}).items():
        for other in others or []:
            if other not in above:
                yield f"dependency of {name}", other


def _pending_faults(deployment: Json) -> Iterator[Fault]:
    for operation in deployment.get("pending_operations") or []:
        urn = (operation.get("resource") or {}).get("urn", WHOLE)
        yield Fault(
            urn, f"has a pending operation ({operation.get('type')}) of an interrupted run: the next up resolves it"
        )


def _secret_faults(resource: Json) -> Iterator[Fault]:
    urn = resource["urn"]
    secret = {*_ALWAYS_SECRET.get(resource["type"], ()), *(resource.get("additionalSecretOutputs") or [])}
    for path in _PATHS:
        properties = resource.get(path) or {}
        for name in sorted(secret & properties.keys()):
            if not is_encrypted(properties[name]) and not _is_empty(properties[name]):
                yield Fault(urn, f"{path}.{name} is secret and not encrypted")
        if resource["type"] == _PROVIDER and has_credential(properties.get(_KUBECONFIG)):
            yield Fault(urn, f"{path}.{_KUBECONFIG} holds a credential and is not encrypted")
        yield from (Fault(urn, f"{where}: {what}") for where, what in _plain_secrets(properties, path))


def has_credential(kubeconfig: Any) -> bool:
    """Return whether a provider's kubeconfig contains a credential in plain text.

    The value is the path of a file, which contains none, or the content of a kubeconfig. The kubeconfig of EKS only
    names the command that provides a token.
    """
    try:
        content = yaml.safe_load(kubeconfig) if isinstance(kubeconfig, str) else None
    except yaml.YAMLError:
        return True  # neither a path nor content that can be checked
    users = content.get("users") if isinstance(content, dict) else None
    providers = (
        [entry.get("user") for entry in users or [] if isinstance(entry, dict)] if isinstance(users, list) else []
    )
    return any(isinstance(user, dict) and (_CREDENTIALS & user.keys() or _has_variables(user)) for user in providers)


def _has_variables(user: Json) -> bool:
    """Return whether a user's command has environment variables, which may contain anything."""
    command = user.get("exec")
    return isinstance(command, dict) and bool(command.get("env"))


def is_encrypted(value: Any) -> bool:
    """Return whether a value is an encrypted secret, or a non-empty container of only such values."""
    if isinstance(value, dict):
        if value.get(SIGNATURE) == SECRET:
            return isinstance(value.get("ciphertext"), str) and "plaintext" not in value
        return bool(value) and all(map(is_encrypted, value.values()))
    return isinstance(value, list) and bool(value) and all(map(is_encrypted, value))


def _is_empty(value: Any) -> bool:
    return value is None or value in ("", {}, [])


def _plain_secrets(value: Any, where: str) -> Iterator[tuple[str, str]]:
    """Yield the paths of secrets in plain text: values with the secret mark, and strings that look like a secret."""
    if isinstance(value, dict):
        if value.get(SIGNATURE) == SECRET:
            if not is_encrypted(value):
                yield where, "a secret that is not encrypted"
            return
        for key, inner in value.items():
            yield from _plain_secrets(inner, f"{where}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _plain_secrets(inner, f"{where}[{index}]")
    elif isinstance(value, str):
        yield from ((where, f"{what} in plain") for what, form in _LOOKS_SECRET.items() if form.search(value))
